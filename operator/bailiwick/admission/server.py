"""The webhook itself: POST /validate with an AdmissionReview. Health and metrics are asked on another port."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import ValidationError

from bailiwick.admission import claims, jurisdictions, models, policies
from bailiwick.admission.judgement import Judgement, refused
from bailiwick.admission.known import AGAIN, LookupFailedError
from bailiwick.admission.review import MOST_BYTES, MalformedError, Review, answer, parse
from bailiwick.api.resource import GROUP, first_problem
from bailiwick.residency.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bailiwick.admission.judgement import Check
    from bailiwick.admission.known import Known

PATH = "/validate"
CHECK_SECONDS = 2.5
"""The API server waits for three seconds, and an answer of ours says more than its own."""
READ_SECONDS = 2.0
MOST_AT_ONCE = 32
"""Reviews that are read or judged at one moment. Together with the size of each it bounds the memory of a flood."""
MOST_CONNECTIONS = 256
IDLE_SECONDS = 30.0
"""A connection without a whole request for so long is closed; the API server opens another when it has one."""
CHECKS: Mapping[tuple[str, str], Check] = {
    (GROUP, "ResidencyPolicy"): policies.check,
    (GROUP, "Jurisdiction"): jurisdictions.check,
    (GROUP, "SovereignModel"): models.check,
    ("", "PersistentVolumeClaim"): claims.check,
}

logger = logging.getLogger(__name__)


class Metrics:
    """What Prometheus is told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reviews = Counter(
            "bailiwick_admission_reviews", "Reviews by kind and outcome.", ("kind", "outcome"), registry=self.registry
        )
        self._seconds = Histogram(
            "bailiwick_admission_review_seconds", "Time to answer a review.", ("kind",), registry=self.registry,
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5),
        )  # fmt: skip

    def answered(self, kind: str, outcome: str, seconds: float) -> None:
        """One review is done. ``kind`` must be one of ours: what callers invent would fill the memory."""
        self._reviews.labels(kind, outcome).inc()
        self._seconds.labels(kind).observe(seconds)


async def judge(review: Review, known: Known) -> Judgement:
    """The judgement on one review. Never raises, and whatever cannot be known or understood is refused."""
    check = CHECKS.get((review.group, review.kind))
    if check is None or review.subresource or review.operation == "CONNECT":
        about = "/".join(part for part in (review.group, review.kind, review.subresource) if part)
        return refused(Reason.UNKNOWN_REQUEST, f"nobody judges {review.operation} of {about} here; correct the webhook")
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check(review, known)
    except LookupFailedError as error:
        return refused(error.reason, f"{error}; {error.cure}")
    except TimeoutError:
        return refused(Reason.LOOKUP_FAILED, f"no answer was found within {CHECK_SECONDS:g} s; {AGAIN}")
    except ValidationError as error:
        return refused(Reason.LOOKUP_FAILED, f"the {review.kind} cannot be read: {first_problem(error)}; correct it")
    except Exception:
        logger.exception("a check failed on %s %s/%s", review.kind, review.namespace, review.name)
        return refused(Reason.LOOKUP_FAILED, "a check failed, so nobody knows; see the log of bailiwick-admission")


def webhook(known: Known, metrics: Metrics, leaving: Callable[[], bool] = lambda: False) -> web.Application:
    """The application that the API server calls. It writes nothing anywhere, so a dry run is like any other request.

    While it is ``leaving``, every answer asks the caller for another connection: one that is closed while it is idle
    may be closed just as a request comes, and the API server sends no request twice.
    """
    under_way = 0

    async def validate(request: web.Request) -> web.Response:
        nonlocal under_way
        if under_way >= MOST_AT_ONCE:
            metrics.answered("none", "busy", 0)
            raise web.HTTPServiceUnavailable(text="too many reviews at once; try again")
        under_way += 1
        try:
            response = await answered(request)
            if leaving():
                response.force_close()
            return response
        finally:
            under_way -= 1

    async def answered(request: web.Request) -> web.Response:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await request.read()
            review = parse(body)
        except TimeoutError as error:
            metrics.answered("none", "slow", time.monotonic() - begun)
            raise web.HTTPRequestTimeout(text=f"no whole request within {READ_SECONDS:g} s") from error
        except MalformedError as error:
            metrics.answered("none", "malformed", time.monotonic() - begun)
            raise web.HTTPBadRequest(text=str(error)) from error
        judgement = await judge(review, known)
        ours = (review.group, review.kind) in CHECKS
        outcome = "allowed" if judgement.verdict.allowed else str(judgement.verdict.reason)
        metrics.answered(review.kind if ours else "none", outcome, time.monotonic() - begun)
        return web.Response(body=answer(review.uid, judgement), content_type="application/json")

    application = web.Application(client_max_size=MOST_BYTES)
    application.router.add_post(PATH, validate)
    return application


def health(unready: Callable[[], list[str]], metrics: Metrics) -> web.Application:
    """`/healthz`, `/readyz` and `/metrics`. ``unready`` tells what is missing before reviews can be answered."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def readyz(_: web.Request) -> web.Response:
        missing = unready()
        return web.json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", measured)
    return application
