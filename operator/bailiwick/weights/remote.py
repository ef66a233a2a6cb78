"""Where files of weights are fetched from: S3-compatible storage, and hubs that speak Hugging Face's protocol.

Both list what there is first, with sizes and what identifies the content, and then give single files by ranges.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote
from xml.etree import ElementTree as ET

from yarl import URL

from bailiwick.weights import sigv4
from bailiwick.weights.manifest import is_path
from bailiwick.weights.problems import WeightsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    import aiohttp

MOST_LISTED: Final = 100_000
MOST_PAGES: Final = 1_000
"""Of one list. Storage and hubs put a thousand files on a page."""
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_PAGE_BYTES = 16 * 2**20
_ERROR_BYTES = 4096
_REFUSALS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "XAdminUserNotFound"})
"""Codes of S3, some of which come with other statuses than 403; the last is versitygw's for a key it does not know."""
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. ``identity`` is the same as long as its content is; ``algorithm`` says whether it is its hash.

    ``algorithm`` is ``sha256``, ``git`` (SHA-1 over a blob's header and content), or empty.
    """

    path: str
    size: int
    identity: str
    algorithm: str = ""

    def hasher(self) -> Any:
        """What to feed the content to, so that its hexdigest is the identity; None when that says nothing of it."""
        if self.algorithm == "sha256":
            return hashlib.sha256()
        if self.algorithm == "git":
            return hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        return None


class Remote(Protocol):
    """A place that weights are fetched from."""

    def list(self, session: aiohttp.ClientSession) -> AsyncIterator[Entry]:
        """All files below it. Raises WeightsError, and what aiohttp raises for a broken connection."""

    def get(self, session: aiohttp.ClientSession, entry: Entry, offset: int) -> Any:
        """The response to a request for a file from a byte on, as a context manager."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A prefix in S3-compatible storage. Without keys it is asked anonymously."""

    endpoint: str
    bucket: str
    prefix: str = ""
    region: str = ""
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    clock: Callable[[], datetime] = _now

    async def list(self, session: aiohttp.ClientSession) -> AsyncIterator[Entry]:
        """Objects by ListObjectsV2, a page at a time."""
        start = f"{self.prefix.rstrip('/')}/" if self.prefix else ""
        token: str | None = None
        for _ in range(MOST_PAGES):
            more = {"continuation-token": token} if token else {}
            url = f"{self._url()}?{sigv4.query({'list-type': '2', 'prefix': start, **more})}"
            async with session.get(
                URL(url, encoded=True), headers=self._headers(url, {}), allow_redirects=False
            ) as response:
                await refuse_status(response, self._named())
                page = _page(await _limited(response), self._named())
            for found in page.iter(f"{_NAMESPACE}Contents"):
                key, size, etag = (found.findtext(f"{_NAMESPACE}{name}", "") for name in ("Key", "Size", "ETag"))
                if not key.endswith("/"):
                    yield _entry(key.removeprefix(start), size, etag, "", self._named())
            token = page.findtext(f"{_NAMESPACE}NextContinuationToken")
            if not token:
                return
        raise _endless(self._named())

    def get(self, session: aiohttp.ClientSession, entry: Entry, offset: int) -> Any:
        """The object as it was listed, or an answer that it changed."""
        start = f"{self.prefix.rstrip('/')}/" if self.prefix else ""
        url = f"{self._url()}/{sigv4.encoded(start + entry.path, safe='/')}"
        headers = {"if-match": entry.identity} | ({"range": f"bytes={offset}-"} if offset else {})
        return session.get(URL(url, encoded=True), headers=self._headers(url, headers), allow_redirects=False)

    def _url(self) -> str:
        return f"{self.endpoint.rstrip('/')}/{self.bucket}"

    def _named(self) -> str:
        return f"bucket {self.bucket} at {self.endpoint}"

    def _headers(self, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        if not (self.access_key and self.secret_key):
            return dict(headers)
        return sigv4.authorised(
            url, headers, access_key=self.access_key, secret_key=self.secret_key,
            region=self.region or _DEFAULT_REGION, now=self.clock(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A repository of a hub, at one commit."""

    endpoint: str
    repository: str
    revision: str
    token: str | None = field(default=None, repr=False)

    async def list(self, session: aiohttp.ClientSession) -> AsyncIterator[Entry]:
        """Files of the tree; those in large file storage are known by their SHA-256, the others by their git blob."""
        base = URL(self.endpoint)
        url = URL(f"{self._url('api/models/')}/tree/{self.revision}?recursive=true")
        for _ in range(MOST_PAGES):
            async with session.get(url, headers=self._headers(), allow_redirects=False) as response:
                await refuse_status(response, self._named())
                try:
                    page = json.loads(await _limited(response))
                    files = [each for each in page if each["type"] == "file"]
                except (ValueError, TypeError, KeyError, RecursionError):
                    raise _strange(self._named(), "its list of files is none") from None
                link = response.links.get("next")
            for each in files:
                large: dict[str, Any] = each.get("lfs") or {}
                identity, algorithm = (large.get("oid"), "sha256") if large else (each.get("oid"), "git")
                yield _entry(each.get("path"), large.get("size", each.get("size")), identity, algorithm, self._named())
            if link is None:
                return
            url = URL(str(link["url"]))
            if url.origin() != base.origin():
                raise _strange(self._named(), f"its list of files goes on at {url.origin()}")
        raise _endless(self._named())

    def get(self, session: aiohttp.ClientSession, entry: Entry, offset: int) -> Any:
        """The file; hubs send elsewhere for large ones, and the token does not go there."""
        url = f"{self._url()}/resolve/{self.revision}/{quote(entry.path)}"
        headers = self._headers() | ({"range": f"bytes={offset}-"} if offset else {})
        return session.get(URL(url, encoded=True), headers=headers, max_redirects=5)

    def _url(self, under: str = "") -> str:
        return f"{self.endpoint.rstrip('/')}/{under}{self.repository}"

    def _named(self) -> str:
        return f"revision {self.revision} of {self.repository} at {self.endpoint}"

    def _headers(self) -> dict[str, str]:
        # Compressed on the way, a range would be one of the compressed bytes.
        return {"accept-encoding": "identity"} | ({"authorization": f"Bearer {self.token}"} if self.token else {})


async def _code(response: aiohttp.ClientResponse) -> str:
    """The word for an error that S3 puts into its body; empty where there is none."""
    found = re.search(rb"<Code>([A-Za-z]{1,64})</Code>", await response.content.read(_ERROR_BYTES))
    return found[1].decode() if found else ""


async def refuse_status(response: aiohttp.ClientResponse, what: str) -> None:
    """Raises WeightsError for an answer that asking again will not change, aiohttp's error for one that it may."""
    code = await _code(response) if response.status >= HTTPStatus.BAD_REQUEST else ""
    if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} or code in _REFUSALS:
        raise WeightsError(
            "CredentialsRefused",
            f"{what} answers {response.status} {code}; put credentials that may read it into the Secret that the "
            f"source names, or name one",
        )
    if response.status == HTTPStatus.NOT_FOUND:
        raise WeightsError("SourceNotFound", f"{what} is not there (404 {code}); correct its names and revision")
    if response.status == HTTPStatus.PRECONDITION_FAILED:
        raise WeightsError("SourceChanged", f"{what} changed while it was imported; the import begins anew")
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.TOO_MANY_REQUESTS:
        response.raise_for_status()
    if response.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
        raise _strange(what, f"it answers {response.status}")


def unreachable(error: Exception) -> WeightsError:
    """What is said when the source does not answer, after some tries."""
    why = "it answers too slowly" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
    return WeightsError(
        "SourceUnreachable",
        f"the source cannot be reached: {why}; check its endpoint, and that spec.network.egress of every policy of the "
        f"namespace lists its address and port",
    )


def _strange(what: str, why: str) -> WeightsError:
    return WeightsError("SourceNotUnderstood", f"{what} speaks another protocol: {why}; check endpoint and region")


def _endless(what: str) -> WeightsError:
    return _strange(what, f"its list of files does not end after {MOST_PAGES} pages")


def _entry(path: Any, size: Any, identity: Any, algorithm: str, what: str) -> Entry:
    try:
        entry = Entry(str(path), int(size), str(identity), algorithm)
    except (TypeError, ValueError):
        raise _strange(what, "its list of files has no sizes") from None
    if not is_path(entry.path) or entry.size < 0 or not identity:
        raise WeightsError("ForbiddenFile", f"{what} lists {entry.path!r}, which is no path below a folder; rename it")
    return entry


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    content = await response.content.read(_PAGE_BYTES)
    while (more := await response.content.read(_PAGE_BYTES)) and len(content) <= _PAGE_BYTES:
        content += more
    return content


def _page(content: bytes, what: str) -> ET.Element:
    try:
        return ET.fromstring(content)  # noqa: S314 - expat limits what entities may grow to
    except ET.ParseError as error:
        raise _strange(what, f"its list of objects is no XML ({error})") from error
