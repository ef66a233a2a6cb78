"""What is known of one kind: trimmed objects as JSON bytes, fed by events, replaced by lists.

Events may come late, twice, or from a watch that lost some; lists may be older than events that came while they were
read. A store decides by resourceVersion, which since Kubernetes 1.35 are numbers that grow for all objects of a kind.
So whatever the order, it ends with the newest, and what a list no longer shows is gone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

    from bailiwick.cluster.api import Raw
    from bailiwick.cluster.resources import Resource

Key = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-scoped kinds."""

_SHARED_LIMIT = 4096
_GONE_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class _Entry:
    """One object. Its resourceVersion and the owners of its fields are kept apart from the rest.

    So the rest can be compared as bytes, and field owners, alike for all objects of one shape, are held once.
    ``indexed`` has the values of each index, in the store's order of indices.
    """

    version: int
    content: bytes
    owners: bytes
    indexed: tuple[tuple[Hashable, ...], ...]

    def object(self) -> Raw:
        manifest: Raw = orjson.loads(self.content)
        manifest["metadata"]["resourceVersion"] = str(self.version)
        if self.owners:
            manifest["metadata"]["managedFields"] = orjson.loads(self.owners)
        return manifest

    def same(self, other: _Entry) -> bool:
        return self.content == other.content and self.owners == other.owners


@dataclass(frozen=True, slots=True)
class Change:
    """One object differs from what the store held. Objects are parsed only when asked for."""

    key: Key
    _before: _Entry | None
    _after: _Entry | None
    _indices: tuple[str, ...]

    @property
    def before(self) -> Raw | None:
        """The object as it was; None when it is new."""
        return self._before.object() if self._before else None

    @property
    def after(self) -> Raw | None:
        """The object as it is; None when it is gone."""
        return self._after.object() if self._after else None

    def values(self, index: str) -> frozenset[Hashable]:
        """Under which values of an index the object was or is found: whom the change concerns."""
        position = self._indices.index(index)
        return frozenset(value for entry in (self._before, self._after) if entry for value in entry.indexed[position])


class Store:
    """The objects of one kind. It lives in one event loop, and no method waits.

    ``indices`` name functions from a trimmed object to the values under which `find` finds it.
    """

    def __init__(
        self,
        resource: Resource,
        *,
        trim: Callable[[Raw], Raw],
        indices: Mapping[str, Callable[[Raw], Iterable[Hashable]]] | None = None,
    ) -> None:
        self.resource = resource
        self.synced = False
        """Whether a whole list was taken in. Until then absence means nothing."""
        self.revision = 0
        """Grows with every change that is kept: what was derived from the store holds while this stays."""
        self.size = 0
        """Bytes of content held."""
        self._trim = trim
        self._index_names = tuple(indices or {})
        self._index_functions = tuple((indices or {}).values())
        self._found: tuple[dict[Hashable, set[Key]], ...] = tuple({} for _ in self._index_names)
        self._entries: dict[Key, _Entry] = {}
        self._shared: dict[bytes, bytes] = {}
        self._newest = 0  # the highest version seen of any object, also of deleted ones
        self._listed = 0  # the version of the last whole list: older events have nothing to tell
        self._gone: dict[str, int] = {}  # uid → version of the latest deletions: what was read before may come after
        self._confirmed = float("-inf")

    # Reading

    def get(self, key: Key) -> Raw | None:
        """A new copy of the trimmed object, or None."""
        entry = self._entries.get(key)
        return entry.object() if entry else None

    def keys(self) -> list[Key]:
        """All keys at this moment."""
        return list(self._entries)

    def items(self) -> Iterator[tuple[Key, Raw]]:
        """All objects of this moment, parsed one by one."""
        for key, entry in list(self._entries.items()):
            yield key, entry.object()

    def find(self, index: str, value: Hashable) -> list[Key]:
        """Keys of the objects that an index files under a value, sorted. Raises ValueError for an unknown index."""
        return sorted(self._found[self._index_names.index(index)].get(value, ()))

    def count(self, index: str, value: Hashable) -> int:
        """How many objects an index files under a value."""
        return len(self._found[self._index_names.index(index)].get(value, ()))

    def values(self, index: str) -> list[Hashable]:
        """Every value under which an index files something, at this moment, in any order."""
        return list(self._found[self._index_names.index(index)])

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    # Staleness

    def confirm(self, now: float) -> None:
        """The store is known to be current: a list was taken in, or a watch delivered something just now."""
        self._confirmed = max(self._confirmed, now)

    def age(self, now: float) -> float:
        """Seconds since the store was known to be current; infinite before the first list. `confirm`'s clock."""
        return now - self._confirmed if self.synced else float("inf")

    # Writing

    def apply_event(self, kind: str | None, manifest: Raw) -> Change | None:
        """Take in one event: ADDED, MODIFIED, DELETED, or None for the objects that Kopf lists at first.

        Returns None when nothing changed that we keep: the event is known or outdated, or about what is trimmed away.
        """
        version = _version(manifest)
        self._newest = max(self._newest, version)
        if kind == "DELETED":
            self._bury(manifest["metadata"]["uid"], version)
            return self._drop(_key(manifest), up_to=version)
        return self._put(manifest, version) if version > self._listed else None

    def apply_patch(self, patch: Raw, answer: Raw) -> None:
        """Take in what the API server answered to a merge patch of ours, so that our own write is no event for us.

        What somebody else changed in the same breath is in the answer, too. Then nothing is taken in: it must come as
        an event, or nobody would look at it.
        """
        before, version = self._entries.get(_key(answer)), _version(answer)
        if before:
            ours = self._entry(_merged(before.object(), patch), version)
            if ours.content == self._entry(answer, version).content:
                self.apply_event("MODIFIED", answer)

    def relist(self) -> Relist:
        """Begin to take in a whole list, before it is asked for."""
        return Relist(self)

    def replace(self, manifests: Iterable[Raw], resource_version: str) -> list[Change]:
        """Take in a whole list at once. Returns what changed, missed deletions among it."""
        relist = self.relist()
        return [*relist.add(manifests, resource_version), *relist.finish()]

    def _put(self, manifest: Raw, version: int) -> Change | None:
        key = _key(manifest)
        before = self._entries.get(key)
        if before and version <= before.version:
            return None
        if self._gone.get(manifest["metadata"]["uid"], -1) >= version:
            return None
        after = self._entry(manifest, version)
        self._file(key, before, after)
        if before and before.same(after):
            return None
        return self._changed(key, before, after)

    def _drop(self, key: Key, *, up_to: int) -> Change | None:
        before = self._entries.get(key)
        if before is None or before.version > up_to:  # made anew since
            return None
        self._file(key, before, None)
        return self._changed(key, before, None)

    def _bury(self, uid: str, version: int) -> None:
        if len(self._gone) >= _GONE_LIMIT:
            del self._gone[next(iter(self._gone))]
        self._gone[uid] = version

    def _changed(self, key: Key, before: _Entry | None, after: _Entry | None) -> Change:
        self.revision += 1
        return Change(key, before, after, self._index_names)

    def _entry(self, manifest: Raw, version: int) -> _Entry:
        trimmed = self._trim(manifest)
        metadata = dict(trimmed["metadata"])
        metadata.pop("resourceVersion", None)
        owners = metadata.pop("managedFields", None)
        indexed = tuple(tuple(function(trimmed)) for function in self._index_functions)
        # A copy: what orjson returns keeps the room that it reserved, more than twice of what it needed.
        content = bytes(memoryview(orjson.dumps({**trimmed, "metadata": metadata}, option=orjson.OPT_SORT_KEYS)))
        return _Entry(version, content, self._share(orjson.dumps(owners)) if owners else b"", indexed)

    def _share(self, owners: bytes) -> bytes:
        if len(self._shared) >= _SHARED_LIMIT:
            self._shared.clear()
        return self._shared.setdefault(owners, owners)

    def _file(self, key: Key, before: _Entry | None, after: _Entry | None) -> None:
        self.size += (len(after.content) if after else 0) - (len(before.content) if before else 0)
        for position, found in enumerate(self._found):
            old = before.indexed[position] if before else ()
            new = after.indexed[position] if after else ()
            if old != new:
                _refile(found, key, old, new)
        if after:
            self._entries[key] = after
        else:
            del self._entries[key]

    def _forget_versions(self) -> None:
        """The cluster's history was set back (a restored backup): what we hold is older than anything it says."""
        self._newest = self._listed = 0
        self._gone.clear()
        for key, entry in self._entries.items():
            self._entries[key] = _Entry(0, entry.content, entry.owners, entry.indexed)


class Relist:
    """One whole list on its way into a store, page by page, so that the list is never in memory at once.

    Without `finish`, when reading the list failed, nothing is taken for deleted.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = store._newest  # noqa: SLF001 - the other half of Store
        self._seen: set[Key] = set()
        self._version = 0

    def add(self, manifests: Iterable[Raw], resource_version: str) -> list[Change]:
        """Take in some of the list's objects; ``resource_version`` is the list's own. Returns what changed."""
        self._version = int(resource_version)
        if self._version < self._known:
            # A consistent list is never older than what was seen before it was asked for.
            self._store._forget_versions()  # noqa: SLF001
            self._known = 0
        changes = []
        for manifest in manifests:
            self._seen.add(_key(manifest))
            changes.append(self._store._put(manifest, _version(manifest)))  # noqa: SLF001
        return [change for change in changes if change]

    def finish(self) -> list[Change]:
        """The list was read to its end: what it did not show is gone. Returns what was lost."""
        store = self._store
        gone = [key for key in store.keys() if key not in self._seen]  # noqa: SIM118 - a snapshot
        changes = [store._drop(key, up_to=self._version) for key in gone]  # noqa: SLF001
        store._listed = max(store._listed, self._version)  # noqa: SLF001
        store._newest = max(store._newest, self._version)  # noqa: SLF001
        store.synced = True
        return [change for change in changes if change]


def _key(manifest: Raw) -> Key:
    metadata = manifest["metadata"]
    # Children bear their model's name in its namespace: interned, these strings are held once for all stores.
    return sys.intern(metadata.get("namespace", "")), sys.intern(metadata["name"])


def _version(manifest: Raw) -> int:
    return int(manifest["metadata"]["resourceVersion"])


def _refile(found: dict[Hashable, set[Key]], key: Key, old: Iterable[Hashable], new: Iterable[Hashable]) -> None:
    for value in old:
        found[value].discard(key)
        if not found[value]:
            del found[value]
    for value in new:
        found.setdefault(value, set()).add(key)


def _merged(manifest: Raw, patch: Raw) -> Raw:
    """The manifest after a merge patch (RFC 7386)."""
    merged = dict(manifest)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key) or {}, value) if isinstance(value, dict) else value
    return merged
