"""Traces of OpenTelemetry, where somebody asks for them: reconciles, and the calls to the API server that each makes.

Where they go and how many is said by the variables that every program of OpenTelemetry reads, first of all
OTEL_EXPORTER_OTLP_ENDPOINT; without that one nothing of OpenTelemetry is even imported.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from threading import Thread
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bailiwick import __version__
from bailiwick.control.metrics import Metrics
from bailiwick.control.queue import CURRENT

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context

FLUSH_SECONDS = 2.0
_NANOSECONDS = 1_000_000_000

_ENTERED: ContextVar[Token[Context] | None] = ContextVar("bailiwick_span", default=None)


class Traces(Metrics):
    """The operator's metrics, which tell what they are told of as spans, too."""

    def __init__(self, instance: str) -> None:
        super().__init__()
        told = {"service.name": "bailiwick-operator", "service.version": __version__, "service.instance.id": instance}
        self._provider = TracerProvider(resource=Resource.create(told), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("bailiwick")

    def started(self, loop: str, waited: float) -> None:
        """A reconcile begins: whatever this task and those that it starts do is part of its span."""
        super().started(loop, waited)
        item = CURRENT.get()
        span = self._tracer.start_span(
            f"reconcile {loop}",
            attributes={"bailiwick.key": str(item.key) if item else "", "bailiwick.waited_seconds": waited},
        )
        _ENTERED.set(context.attach(trace.set_span_in_context(span)))

    def finished(self, loop: str, seconds: float, error: str | None) -> None:
        """It is over."""
        super().finished(loop, seconds, error)
        span = trace.get_current_span()
        if error:
            span.set_status(trace.StatusCode.ERROR, error)
        span.end()
        if entered := _ENTERED.get():
            context.detach(entered)

    def called(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """A call that a reconcile made is a span below its own; lists, watches and the lease are nobody's."""
        super().called(verb, resource, code, seconds)
        if not trace.get_current_span().is_recording():
            return
        end = time.time_ns()
        span = self._tracer.start_span(
            f"{verb} {resource}", kind=trace.SpanKind.CLIENT, start_time=end - int(seconds * _NANOSECONDS),
            attributes={"http.response.status_code": int(code)} if code.isdigit() else {"error.type": code},
        )  # fmt: skip
        span.end(end)

    def close(self) -> None:
        """Send what is not sent yet, if that is quick.

        The SDK's own flush ignores the time that it is given (opentelemetry-python, issue 4568): while the collector is
        away, each batch would hold up the end of the process for ten seconds.
        """
        flush = Thread(target=self._provider.force_flush, daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
