"""What a collector that does not answer may cost: the end of the process never waits for it for long."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from bailiwick.control.traces import FLUSH_SECONDS, Traces

if TYPE_CHECKING:
    import pytest


def test_a_collector_that_never_answers_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        traces = Traces("pod-0")
        traces.started("model", 0.0)
        traces.finished("model", 0.1, None)
        begin = time.monotonic()
        traces.close()
        lasted = time.monotonic() - begin
    # The exporter's own patience is ten seconds a batch.
    assert FLUSH_SECONDS <= lasted < FLUSH_SECONDS + 4
