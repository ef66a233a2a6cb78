"""`python -m handbook build | serve`: the site, from docs/ to .run/site."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from handbook.building import SiteError, build

SITE = Path(".run/site")


def main() -> int:
    """Command line; 1 when something is wrong with the pages."""
    parser = argparse.ArgumentParser(prog="python -m handbook", description=__doc__)
    parser.add_argument("what", choices=("build", "serve"), help="serve builds, too, and shows it on loopback")
    parser.add_argument("--port", type=int, default=8000, help="of serve (default: 8000)")
    options = parser.parse_args()
    try:
        build(Path.cwd(), SITE.resolve())
    except SiteError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.what == "serve":
        handler = partial(SimpleHTTPRequestHandler, directory=str(SITE))
        with ThreadingHTTPServer(("127.0.0.1", options.port), handler) as server:
            sys.stdout.write(f"http://127.0.0.1:{options.port}/ until Ctrl-C\n")
            sys.stdout.flush()
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
