"""Traces of the real operator, as a collector takes them; and the operator without one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from e2e.client import eventually
from e2e.cluster.apiserver import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.apiserver.realm import Realm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


@dataclass
class Collector:
    """What takes traces over OTLP, and what it was sent."""

    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its URL, while it listens."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in sent.resource_spans:
                    told = {each.key: each.value.string_value for each in resource.resource.attributes}
                    collector.services.add(told["service.name"])
                    collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def named(self, name: str, key: str) -> list[Span]:
        """Spans of a name, about a key."""
        return [span for span in self.spans if span.name == name and attributes(span).get("bailiwick.key") == key]


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes}


def test_a_reconcile_is_a_span_and_its_calls_are_within(realm: Realm) -> None:
    collector = Collector()
    with collector.listening() as url:
        operator = realm.operator(OTEL_EXPORTER_OTLP_ENDPOINT=url, **OFTEN).until_leading()
        try:
            realm.node(FRANKFURT)
            policy = realm.policy("DE")
            policy.in_force()
            whole = eventually(
                lambda: [
                    (span, within)
                    for span in collector.named("reconcile territory", policy.name)
                    if (within := [each for each in collector.spans if each.parent_span_id == span.span_id])
                ],
                what="a reconcile that called the API server",
            )
        finally:
            operator.stop()
    assert collector.services == {"bailiwick-operator"}
    span, within = whole[0]
    assert not span.parent_span_id, "each reconcile is a trace of its own"
    for each in within:
        assert each.trace_id == span.trace_id
        assert span.start_time_unix_nano <= each.start_time_unix_nano <= each.end_time_unix_nano
        assert each.end_time_unix_nano <= span.end_time_unix_nano
        assert attributes(each)["http.response.status_code"].startswith("2")
    assert not [each for each in collector.spans if each.name.startswith("watch ")], "a watch is nobody's"


def test_a_collector_that_is_not_there_holds_up_nothing(realm: Realm) -> None:
    (port,) = free_ports(1)
    operator = realm.operator(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", **OFTEN).until_leading()
    try:
        realm.node(FRANKFURT)
        realm.policy("DE").in_force()
    finally:
        code = operator.stop()
    assert code == 0
