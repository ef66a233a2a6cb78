"""A list of files that does not end, or a page that is none, ends an import with a word about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from bailiwick.weights import remote
from bailiwick.weights.problems import WeightsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGES = 7
BUCKET = """<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<NextContinuationToken>more</NextContinuationToken></ListBucketResult>"""


class Endless:
    """A hub and a storage whose every page names a next one; ``page`` is what the hub says on each."""

    def __init__(self) -> None:
        self.asked, self.page, self.endpoint = 0, "[]", ""

    async def hub(self, request: web.Request) -> web.Response:
        """A page of a tree."""
        self.asked += 1
        return web.Response(text=self.page, headers={"link": f'<{request.url}>; rel="next"'})

    async def storage(self, _: web.Request) -> web.Response:
        """A page of objects."""
        self.asked += 1
        return web.Response(text=BUCKET)


@pytest.fixture
async def endless() -> AsyncIterator[Endless]:
    server, app = Endless(), web.Application()
    app.router.add_get("/api/models/a/b/tree/{revision}", server.hub)
    app.router.add_get("/models", server.storage)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def refusal(source: remote.Remote) -> WeightsError:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(WeightsError) as refused:
            [each async for each in source.list(session)]
    return refused.value


@pytest.mark.parametrize("kind", ["hub", "storage"])
async def test_a_list_without_an_end_is_left(endless: Endless, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MOST_PAGES", PAGES)
    hub = remote.Hub(endpoint=endless.endpoint, repository="a/b", revision="0" * 40)
    found = await refusal(hub if kind == "hub" else remote.Bucket(endpoint=endless.endpoint, bucket="models"))
    assert found.reason == "SourceNotUnderstood"
    assert f"its list of files does not end after {PAGES} pages" in str(found)
    assert endless.asked == PAGES


@pytest.mark.parametrize("page", ["[" * 100_000, f'[{{"type": "{"x" * 200_000}"}}]', "{", '["file"]'], ids=len)
async def test_a_page_that_is_none_is_left(endless: Endless, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested without an end, longer than a page may be, cut off, or of something else."""
    monkeypatch.setattr(remote, "_PAGE_BYTES", 100_000)
    endless.page = page
    found = await refusal(remote.Hub(endpoint=endless.endpoint, repository="a/b", revision="0" * 40))
    assert "its list of files is none" in str(found)
    assert endless.asked == 1
