"""``python -m e2e.dashboards``: every dashboard of the chart as a picture, in .run/dashboards.

The queries are answered by a real Prometheus with recorded series, and drawn by the panels of Perses, of which npm
brings the parts: Grafana itself is in no registry of packages. Needs node with npm, and Chromium.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import places
from e2e.cluster.keys import key_of
from e2e.cluster.prerequisites import FOR_PAGES, require
from e2e.cluster.steps import ClusterError, run, say, step
from e2e.dashboards import perses, recorded
from tests.chart.queries import DASHBOARDS, of_panel, panels

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent / "page"
PICTURES = places.RUN / "dashboards"
WIDTH, ROW, HEAD = 1600, 38, 80
_DRAWN_MILLISECONDS = 30_000


def main() -> int:
    """Draw them, and say where they are."""
    require(FOR_PAGES)
    script = page()
    PICTURES.mkdir(parents=True, exist_ok=True)
    shutil.copy(script, PICTURES / "page.js")
    (PICTURES / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><body style="margin:16px"><div id="root"></div>'
        '<script type="module" src="page.js"></script>'
    )
    with recorded.prometheus() as prometheus, _served(PICTURES) as url:
        for file in DASHBOARDS:
            with step(f"drawing {file.stem}"):
                asked = [of_panel(panel) for panel in panels(file)]
                drawn = perses.dashboard(json.loads(file.read_text()), queries=asked, prometheus=prometheus)
                (PICTURES / f"{file.stem}.json").write_text(json.dumps(drawn))
                _draw(f"{url}/index.html?dashboard={file.stem}", PICTURES / f"{file.stem}.png", _height(file))
    say(f"pictures of {len(DASHBOARDS)} dashboards: {PICTURES}")
    return 0


def page() -> Path:
    """The page's program; built once for each change of what it is made from."""
    made_from = [PAGE / name for name in (".npmrc", "package.json", "package-lock.json", "page.jsx")]
    built = places.cache() / "page" / key_of(*(file.read_bytes() for file in made_from))
    if not (built / "page.js").exists():
        with step("building the page that draws dashboards"):
            built.mkdir(parents=True, exist_ok=True)
            for file in made_from:
                shutil.copy(file, built)
            run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=built)
            run("npm", "run", "build", folder=built)
    return built / "page.js"


def _height(file: Path) -> int:
    rows: int = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels(file))
    return HEAD + ROW * rows


def _draw(url: str, picture: Path, height: int) -> None:
    picture.unlink(missing_ok=True)
    said = run(
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--window-size={WIDTH},{height}", f"--virtual-time-budget={_DRAWN_MILLISECONDS}",
        f"--screenshot={picture}", url,
    )  # fmt: skip
    if not picture.exists():
        raise ClusterError(f"Chromium drew nothing of {url}: {said}")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody wants to read each file that the page asks for."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
