"""The chart's values with every image of ours by digest: `python -m e2e.cluster.digests REPOSITORY > digests.yaml`.

A digest is of the image and not of the registry: what is pushed unchanged has it there, too. `helm install -f` takes
the file as it is, and refuses any image that is not in it, because it sets `requireDigests`.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster import images, oci_archive
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINES = ("vllm-cpu", "llama-cpp")
NAMES = ("operator", "gate", *ENGINES)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.digests", description="Values with digests of images.")
    parser.add_argument("repository", help="where the images are, such as registry.example/bailiwick")
    parser.add_argument(
        "--architecture", choices=[images.NATIVE, images.EVERY], default=images.NATIVE,
        help="images for this machine's processor (the default), or for each that they are made for",
    )  # fmt: skip
    parser.add_argument("--without-engines", action="store_true", help="do not install the class of plain CPUs")
    chosen = parser.parse_args()
    names = [name for name in NAMES if name not in ENGINES or not chosen.without_engines]
    try:
        archive = images.for_every if chosen.architecture == images.EVERY else images.archive
        with redirect_stdout(sys.stderr):  # what is still to be made tells of itself
            found = {name: oci_archive.digest(archive(name)) for name in names}
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(yaml.safe_dump(values(chosen.repository.rstrip("/"), found), sort_keys=False), end="")
    return 0


def values(repository: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Values of the chart that name these images there by digest, and no other."""
    named = {name: f"{repository}/{name}@{digest}" for name, digest in digests.items()}
    engines = {"image": named["vllm-cpu"], "llamaCpp": {"image": named["llama-cpp"]}} if "vllm-cpu" in named else None
    return {
        "image": {"repository": f"{repository}/operator", "digest": digests["operator"]},
        "gate": {"image": named["gate"]},
        "weights": {"image": named["operator"]},
        "acceleratorClasses": {"cpu": engines or {"install": False}},
        "requireDigests": True,
    }


if __name__ == "__main__":
    sys.exit(main())
