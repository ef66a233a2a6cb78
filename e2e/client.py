"""A small synchronous client for suites that talk to an API server: raw objects in, raw objects out, clear errors.

It exists so that tests need neither kubectl nor the code under test. `Client.from_kubeconfig` works for any cluster
whose kubeconfig carries certificates or a token; `e2e.cluster.apiserver.ApiServer` hands out clients for any identity.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Manifest = dict[str, Any]
Manifests = list[Manifest]
Validation = Literal["Strict", "Warn", "Ignore"]
PatchType = Literal["apply", "merge", "json", "strategic"]
T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
PATIENCE = 120.0
"""Seconds that a wait may last where nobody promised a time: a machine with more to do than cores stands still for half
a minute, and that tells nothing. Who measures a promise asserts what it took."""
PROMPT = 45.0
"""Seconds within which whatever a watch or timer tells of has been acted on, however busy the machine. The operator
looks at everything each minute: who waits longer would not see that the watch is broken."""
LOCAL = httpx.Client(trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # noqa: S501
"""Asks programs on loopback, where nobody vouches for anybody. `httpx.get` would read all authorities of the world
first, which costs more than most of what tests ask."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml
CONTENT_TYPES: Mapping[PatchType, str] = {
    "apply": "application/apply-patch+yaml",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}

OWNERS: Mapping[str, tuple[str, str]] = {
    "binding": ("v1", "Pod"),
    "eviction": ("v1", "Pod"),
    "token": ("v1", "ServiceAccount"),
}
"""Subresources whose manifests are of another kind than the object that they are posted to."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One of the reasons of a refusal: the field (dotted path), the word for programs, the sentence for people."""

    field: str
    reason: str
    message: str


class ApiError(Exception):
    """An answer of 400 or above. ``message`` is what a user of kubectl reads."""

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message", ""))
        self.causes = tuple(
            Cause(cause.get("field", ""), cause.get("reason", ""), cause.get("message", ""))
            for cause in (status.get("details") or {}).get("causes") or ()
        )
        super().__init__(f"{code} {self.reason}: {self.message}")


class Client:
    """One identity on one API server. Thread-safe; close it, or use it as a context manager.

    Methods take ``api_version`` and ``kind`` as manifests spell them; plural and scope come from discovery. Every
    method raises ApiError for a refusal, httpx.HTTPError when the server cannot be reached.
    """

    def __init__(self, url: str, tls: ssl.SSLContext, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.url = url
        self.warnings: list[str] = []
        """What the server said in Warning headers, oldest first; callers clear it."""
        self._tls = tls
        self._headers = tuple(headers)
        # No proxy of the environment may stand between a test and its server.
        self._http = httpx.Client(
            base_url=url, verify=tls, headers=list(headers), timeout=TIMEOUT_SECONDS, trust_env=False
        )
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str | None = None) -> Self:
        """A client for a context (absent: the current one) of a kubeconfig file."""
        config = yaml.safe_load(path.read_text())
        chosen = _named(config["contexts"], context or config["current-context"])["context"]
        cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
        user = _named(config["users"], chosen["user"])["user"]
        with tempfile.TemporaryDirectory() as folder:  # the ssl module reads certificates from files only
            tls = ssl.create_default_context(cafile=_as_file(cluster, "certificate-authority", path, Path(folder)))
            if certificate := _as_file(user, "client-certificate", path, Path(folder)):
                tls.load_cert_chain(certificate, _as_file(user, "client-key", path, Path(folder)))
        token = user.get("token")
        return cls(cluster["server"], tls, [("Authorization", f"Bearer {token}")] if token else ())

    def impersonate(self, user: str, groups: Sequence[str] = ()) -> Self:
        """The same connection settings, acting as somebody else; needs the right to impersonate."""
        return type(self)(
            self.url,
            self._tls,
            [*self._headers, ("Impersonate-User", user), *(("Impersonate-Group", g) for g in groups)],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections."""
        self._http.close()

    # One object

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, subresource: str = ""
    ) -> Manifest:
        """One object; ApiError 404 when it is not there."""
        return self._json("GET", self.path(api_version, kind, namespace, name, subresource))

    def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        """One object, or None when it is not there."""
        try:
            return self.get(api_version, kind, name, namespace)
        except ApiError as error:
            if error.code == httpx.codes.NOT_FOUND:
                return None
            raise

    def create(
        self,
        manifest: Manifest,
        *,
        namespace: str | None = None,
        subresource: str = "",
        dry_run: bool = False,
        validation: Validation = "Strict",
    ) -> Manifest:
        """POST. With a subresource (binding, eviction, token) the manifest's own name says of which object."""
        version, kind = OWNERS.get(subresource, (manifest["apiVersion"], manifest["kind"]))
        metadata = manifest.get("metadata", {})
        name = metadata.get("name", "") if subresource else ""
        path = self.path(version, kind, namespace or metadata.get("namespace"), name, subresource)
        return self._json("POST", path, manifest, params=_params(dry_run=dry_run, validation=validation))

    def replace(
        self, manifest: Manifest, *, subresource: str = "", dry_run: bool = False, validation: Validation = "Strict"
    ) -> Manifest:
        """PUT; the manifest's resourceVersion, when it has one, must be current."""
        return self._json(
            "PUT",
            self._own_path(manifest, subresource),
            manifest,
            params=_params(dry_run=dry_run, validation=validation),
        )

    def apply(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        manifest: Manifest,
        *,
        manager: str = "test",
        force: bool = True,
        subresource: str = "",
        dry_run: bool = False,
        validation: Validation = "Strict",
    ) -> Manifest:
        """Server-side apply."""
        params = _params(dry_run=dry_run, validation=validation) | {
            "fieldManager": manager,
            "force": str(force).lower(),
        }
        return self._json(
            "PATCH", self._own_path(manifest, subresource), manifest, params=params, content_type=CONTENT_TYPES["apply"]
        )

    def patch(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        api_version: str,
        kind: str,
        name: str,
        patch: Manifest | list[Manifest],
        namespace: str | None = None,
        *,
        how: PatchType = "merge",
        subresource: str = "",
        dry_run: bool = False,
        validation: Validation = "Strict",
    ) -> Manifest:
        """PATCH by merge, JSON or strategic merge."""
        return self._json(
            "PATCH",
            self.path(api_version, kind, namespace, name, subresource),
            patch,
            params=_params(dry_run=dry_run, validation=validation),
            content_type=CONTENT_TYPES[how],
        )

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, grace_seconds: int | None = None
    ) -> None:
        """DELETE in the background; an object that is not there is fine."""
        params = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            params["gracePeriodSeconds"] = str(grace_seconds)
        try:
            self._json("DELETE", self.path(api_version, kind, namespace, name), params=params)
        except ApiError as error:
            if error.code != httpx.codes.NOT_FOUND:
                raise

    # Many objects

    def list(self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = "") -> Manifests:
        """All objects of a kind (of a namespace), by label selector; each carries its apiVersion and kind."""
        answer = self._json("GET", self.path(api_version, kind, namespace), params={"labelSelector": labels})
        return [{"apiVersion": api_version, "kind": kind} | item for item in answer["items"]]

    def delete_all(self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = "") -> None:
        """Delete every object of a kind (of a namespace)."""
        self._json("DELETE", self.path(api_version, kind, namespace), params={"labelSelector": labels})

    def apply_file(self, path: Path, *, manager: str = "test") -> Manifests:
        """Apply every document of a YAML file, in its order."""
        return [self.apply(document, manager=manager) for document in documents(path)]

    # Anything else

    def request(  # noqa: PLR0913 - the API's own parameters, by keyword
        self,
        method: str,
        path: str,
        body: Manifest | Sequence[Manifest] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> httpx.Response:
        """Any request; raises ApiError for 400 and above, keeps the server's warnings."""
        headers = {"Accept": accept} | ({"Content-Type": content_type} if body is not None else {})
        content = json.dumps(body).encode() if body is not None else None
        response = self._http.request(method, path, content=content, params=params, headers=headers)
        self.warnings.extend(_warning_text(value) for value in response.headers.get_list("Warning"))
        if response.is_error:
            raise ApiError(response.status_code, _status_of(response))
        return response

    def lines(self, path: str, params: Mapping[str, str]) -> Iterator[str]:
        """The lines of an answer as they come: of a watch, one event each."""
        with self._http.stream("GET", path, params=params) as response:
            yield from response.iter_lines()

    def path(
        self, api_version: str, kind: str, namespace: str | None = None, name: str = "", subresource: str = ""
    ) -> str:
        """URL path of a collection, an object or a subresource. LookupError when the server does not serve the kind."""
        plural, namespaced = self._resource(api_version, kind)
        parts = [_root(api_version)]
        if namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.extend(part for part in (plural, name, subresource) if part)
        return "/".join(parts)

    def resources(self, api_version: str) -> dict[str, tuple[str, bool]]:
        """Kinds of an API version as the server lists them now: kind → (plural, namespaced)."""
        found = self._json("GET", _root(api_version)).get("resources", ())
        self._resources[api_version] = {
            resource["kind"]: (resource["name"], resource["namespaced"])
            for resource in found
            if "/" not in resource["name"]
        }
        return self._resources[api_version]

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        known = self._resources.get(api_version, {}).get(kind)
        if known is None:
            known = self.resources(api_version).get(kind)
        if known is None:
            raise LookupError(f"{self.url} serves no {kind} in {api_version}")
        return known

    def _own_path(self, manifest: Manifest, subresource: str) -> str:
        metadata = manifest["metadata"]
        return self.path(
            manifest["apiVersion"], manifest["kind"], metadata.get("namespace"), metadata["name"], subresource
        )

    def _json(self, method: str, path: str, body: Any = None, **options: Any) -> Manifest:
        answer: Manifest = self.request(method, path, body, **options).json()
        return answer


def documents(path: Path) -> Iterator[Manifest]:
    """The documents of a YAML file, without empty ones."""
    return parsed(path.read_text())


def parsed(text: str) -> Iterator[Manifest]:
    """The documents of a YAML text, without empty ones."""
    return (document for document in yaml.load_all(text, Loader=_Loader) if document)


def eventually(look: Callable[[], T], *, what: str, seconds: float = PATIENCE, every: float = 0.1) -> T:
    """What ``look`` returns once it is truthy. An AssertionError or ApiError inside counts as "not yet".

    It looks again after ``every`` seconds, and less often the longer it lasts, because each look costs those it waits
    for. Raises AssertionError, with what was seen last, when the time is over.
    """
    begun = time.monotonic()
    while True:
        try:
            seen = look()
            last: object = seen
            if seen:
                return seen
        except (AssertionError, ApiError) as error:
            last = error
        waited = time.monotonic() - begun
        if waited >= seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {last!r}")
        time.sleep(pause_after(waited, every, longest=0.5))


def pause_after(waited: float, every: float, *, longest: float) -> float:
    """Seconds until the next look: ``every`` at first, then a tenth of what was waited, up to ``longest``."""
    return max(every, min(waited / 10, longest))


def _params(*, dry_run: bool, validation: Validation) -> dict[str, str]:
    return {"fieldValidation": validation} | ({"dryRun": "All"} if dry_run else {})


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _warning_text(header: str) -> str:
    """The text of ``299 - "text"``."""
    quoted = header.partition('"')[2].rpartition('"')[0]
    return quoted.replace('\\"', '"').replace("\\\\", "\\")


def _status_of(response: httpx.Response) -> Mapping[str, Any]:
    if response.headers.get("Content-Type", "").startswith("application/json"):
        status: Mapping[str, Any] = response.json()
        return status
    return {"reason": response.reason_phrase, "message": response.text}


def _named(entries: Sequence[Manifest], name: str) -> Manifest:
    return next(entry for entry in entries if entry["name"] == name)


def _as_file(entry: Mapping[str, Any], key: str, kubeconfig: Path, folder: Path) -> str | None:
    """The path of a certificate or key that a kubeconfig names or carries; None when it has none."""
    if carried := entry.get(f"{key}-data"):
        file = folder / key
        file.write_bytes(base64.b64decode(carried))
        return str(file)
    named = entry.get(key)
    return str(kubeconfig.parent / named) if named else None
