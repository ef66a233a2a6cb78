"""A Prometheus of its own on loopback that holds the recorded series, and what the chart's rules make of them."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster.apiserver import free_ports
from e2e.cluster.binaries import binaries
from e2e.cluster.places import ROOT
from e2e.cluster.steps import ClusterError, run, tail
from e2e.dashboards import series

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = ROOT / "charts/bailiwick/rules/bailiwick-use.yaml"
LEVELS = 4
"""Rules that follow from rules: promtool records only what follows from what a Prometheus holds already."""
_START_SECONDS = 120.0


@contextmanager
def prometheus() -> Iterator[str]:
    """The URL of a Prometheus that holds everything, while the context lasts. Raises ClusterError."""
    programs = binaries(["prometheus", "promtool"])
    with tempfile.TemporaryDirectory(prefix="bailiwick-series-") as folder:
        home = Path(folder)
        series.write(home / "series.txt")
        data = home / "data"
        run(programs["promtool"], "tsdb", "create-blocks-from", "openmetrics", home / "series.txt", data)
        for _ in range(LEVELS):
            with _running(programs["prometheus"], home) as url:
                run(
                    programs["promtool"], "tsdb", "create-blocks-from", "rules", f"--start={series.START}",
                    f"--end={series.END}", f"--url={url}", f"--output-dir={data}", "--eval-interval=1m", RULES,
                )  # fmt: skip
        with _running(programs["prometheus"], home) as url:
            yield url


@contextmanager
def _running(program: Path, home: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    (home / "prometheus.yml").write_text("{}")
    log = home / "prometheus.log"
    command: list[str | Path] = [
        program, f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}", "--storage.tsdb.retention.time=100y",
        "--log.level=warn",
    ]  # fmt: skip
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            _wait(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError), _get(f"{url}/-/ready"):
            return
        time.sleep(0.1)
    raise ClusterError(f"Prometheus did not get ready:\n{tail(log)}")


def ask(url: str, expression: str, *, step: int = 300) -> list[Any]:
    """The series that an expression has over the recorded time, each with `metric` and `values`."""
    asked = urllib.parse.urlencode({"query": expression, "start": series.START, "end": series.END, "step": step})
    with _get(f"{url}/api/v1/query_range?{asked}") as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
    return found


def _get(url: str) -> Any:
    return urllib.request.urlopen(url, timeout=60)  # noqa: S310 - a process of ours, on loopback
