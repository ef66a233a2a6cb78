"""How an object on the API server differs from what we want it to be. Pure.

Three questions, because server-side apply answers only one of them by itself:

- `missing`: what we want and the object lacks, or has otherwise. An apply writes it.
- `surplus`: what we wrote once and want no longer, or what somebody wrote in our name. An apply removes it.
- `editors`: who else owns fields of ``spec``. An apply leaves these fields alone; only after their ownership was taken
  over (`adopt_fields`) does it remove them.

What the API server fills in by itself (defaults, cluster IPs) belongs to nobody and is no difference. Objects may be
whole or trimmed by a store.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from bailiwick.api.quantities import amount
from bailiwick.cluster.api import FIELD_MANAGER
from bailiwick.cluster.trim import is_ours, owns_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bailiwick.cluster.api import Raw

_HEAD = frozenset({"apiVersion", "kind", "metadata", "status"})
_COMMON_LISTS = ("ownerReferences", "finalizers")
"""Lists of metadata that others may lengthen."""
_QUANTITIES = frozenset({"limits", "requests", "capacity", "hard"})
_QUANTITY = frozenset({"sizeLimit", "divisor", "storage"})
_DEFAULTS = {"protocol": "TCP", "apiVersion": "v1", "matchPolicy": "Equivalent", "divisor": "0", "operator": "Equal"}
"""What the API server adds inside of values that it otherwise treats as one."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The differences: paths such as ``spec.template.spec.containers[0].image``, and names of field managers."""

    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    editors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.surplus or self.editors)

    def __str__(self) -> str:
        parts = (("to write", self.missing), ("to remove", self.surplus), ("edited by", self.editors))
        return "; ".join(f"{what} {', '.join(which)}" for what, which in parts if which)


def drift(live: Raw, desired: Raw) -> Drift:
    """Everything in which an object differs from what we want."""
    return Drift(
        missing=tuple(missing(live, desired)),
        surplus=tuple(surplus(live, desired)),
        editors=tuple(editors(live["metadata"].get("managedFields") or ())),
    )


def missing(live: Raw, desired: Raw) -> list[str]:
    """Paths at which the object lacks or differs from what we want.

    Further keys of maps are no difference; lists must be as long and match one by one. An absent value is as good as
    an empty list or map or None, and quantities are compared as amounts. False, 0 and "" are not as good as absent:
    where the API server drops such a value, do not ask for it.
    """
    metadata, wanted = live["metadata"], desired["metadata"]
    found: list[str] = []
    for key in ("labels", "annotations"):
        _differ(metadata.get(key) or {}, wanted.get(key) or {}, ("metadata", key), found)
    for key in _COMMON_LISTS:
        present = metadata.get(key) or ()
        found += [f"metadata.{key}" for each in wanted.get(key) or () if each not in present]
    for key in desired.keys() - _HEAD:
        _differ(live.get(key), desired[key], (key,), found)
    return sorted(found)


def surplus(live: Raw, desired: Raw) -> list[str]:
    """Paths that the object has because we once applied them, and that we no longer want."""
    ours = next((entry for entry in live["metadata"].get("managedFields") or () if is_ours(entry)), None)
    if ours is None:
        return []
    found: list[str] = []
    for step, fields in ours["fieldsV1"].items():
        if step == "f:metadata":
            kept = {key: value for key, value in fields.items() if key in {"f:labels", "f:annotations"}}
            _owned(kept, desired["metadata"], live["metadata"], ("metadata",), found)
        else:
            _owned({step: fields}, desired, live, (), found)
    return sorted(found)


def editors(managed_fields: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the field managers, other than us, that own something of ``spec``.

    The scale subresource, status, and the mark of a rollout restart are theirs to write and do not count.
    """
    return sorted({str(entry.get("manager", "")) for entry in managed_fields if _foreign(entry)})


def adopt_fields(managed_fields: Sequence[Raw], manager: str = FIELD_MANAGER) -> list[Raw]:
    """``managedFields`` in which others' part of ``spec`` is ``manager``'s: its next apply removes the unwanted.

    The technique of client-go's csaupgrade. Others keep their metadata, and what they own through subresources.
    Returns equal entries when there is nothing to take over.
    """
    adopted: Raw = {}
    kept: list[Raw] = []
    for entry in managed_fields:
        if not _foreign(entry, manager):
            kept.append(entry)
            continue
        fields = dict(entry["fieldsV1"])
        _merge(adopted, {"f:spec": fields.pop("f:spec")})
        if fields:
            kept.append({**entry, "fieldsV1": fields})
    if not adopted:
        return kept
    ours = next((entry for entry in kept if is_ours(entry, manager)), None)
    if ours is None:
        version = next(entry["apiVersion"] for entry in managed_fields if _foreign(entry, manager))
        new = {"manager": manager, "operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1"}
        return [{**new, "fieldsV1": adopted}, *kept]
    merged = copy.deepcopy(ours["fieldsV1"])
    _merge(merged, adopted)
    return [{**entry, "fieldsV1": merged} if entry is ours else entry for entry in kept]


def _foreign(entry: Mapping[str, Any], manager: str = FIELD_MANAGER) -> bool:
    return not entry.get("subresource") and not is_ours(entry, manager) and owns_spec(entry.get("fieldsV1") or {})


def _merge(into: Raw, fields: Raw) -> None:
    for key, value in fields.items():
        _merge(into.setdefault(key, {}), value)


def _empty(value: Any) -> bool:
    return value is None or value in ({}, [])


def _differ(live: Any, desired: Any, path: tuple[str, ...], found: list[str]) -> None:
    """Add to ``found`` the paths at which ``desired`` is not contained in ``live``."""
    if live == desired or (_empty(desired) and (_empty(live) or isinstance(desired, dict))):
        return
    if isinstance(desired, dict) and isinstance(live, dict):
        for key, value in desired.items():
            _differ(live.get(key), value, (*path, key), found)
    elif isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        for index, value in enumerate(desired):
            _differ(live[index], value, (*path[:-1], f"{path[-1]}[{index}]"), found)
    elif not _same_amount(live, desired, path):
        found.append(".".join(path))


def _same_amount(live: Any, desired: Any, path: tuple[str, ...]) -> bool:
    """Whether two quantities are the same: the API server writes 1024Mi as 1Gi. Elsewhere texts are texts."""
    if path[-1] not in _QUANTITY and not _QUANTITIES.intersection(path[-2:-1]):
        return False
    try:
        return amount(str(live)) == amount(str(desired))
    except ValueError:
        return False


def _owned(fields: Mapping[str, Any], desired: Any, live: Any, path: tuple[str, ...], found: list[str]) -> None:
    """Add to ``found`` the paths that a field set names and ``live`` has, but ``desired`` has not, or not so much.

    Inside of values that are owned as a whole (node selectors, label selectors, rules of network policies) everything
    counts: nobody else may have put it there.
    """
    for step, below in fields.items():
        if step == ".":
            continue
        how, what = _read(step)
        have, want = _descend(live, how, what), _descend(desired, how, what)
        if have == want or _empty(have):
            continue
        if want is None:
            found.append(_shown((*path, step)))
        elif below and (len(below) > 1 or "." not in below):
            _owned(below, want, have, (*path, step), found)
        elif not _empty(want) or step.endswith("elector"):
            _exceed(have, want, _shown((*path, step)), found)


def _exceed(live: Any, desired: Any, path: str, found: list[str]) -> None:
    """Add to ``found`` the paths inside of one value that ``live`` has and ``desired`` has not."""
    if isinstance(live, dict) and isinstance(desired, dict):
        for key, value in live.items():
            if key in desired:
                _exceed(value, desired[key], f"{path}.{key}", found)
            elif not _empty(value) and value != _DEFAULTS.get(key):
                found.append(f"{path}.{key}")
    elif isinstance(live, list) and isinstance(desired, list) and len(live) == len(desired):
        for index, (have, want) in enumerate(zip(live, desired, strict=True)):
            _exceed(have, want, f"{path}[{index}]", found)


@lru_cache(4096)
def _read(step: str) -> tuple[str, Any]:
    """A step of a field set: ``f:`` and a field, ``k:`` and keys, ``v:`` and a value, ``i:`` and an index.

    Cached: a thousand objects of one shape have the same few hundred steps.
    """
    how, _, what = step.partition(":")
    return how, what if how == "f" else orjson.loads(what)


def _descend(value: Any, how: str, what: Any) -> Any:
    """What a step leads to, or None."""
    if how == "f":
        return value.get(what) if isinstance(value, dict) else None
    if not isinstance(value, list):
        return None
    if how == "v":
        return what if what in value else None
    if how == "i":
        return value[what] if what < len(value) else None
    # A key may be one that the API server filled in (a port's protocol), so an absent one fits.
    fitting = [each for each in value if isinstance(each, dict)]
    for key, known in what.items():
        fitting = [each for each in fitting if each.get(key, known) == known]
    return fitting[0] if fitting else None


def _shown(steps: tuple[str, ...]) -> str:
    path = ""
    for step in steps:
        how, _, what = step.partition(":")
        match how:
            case "f":
                path += f".{what}"
            case "k" | "v" | "i":
                path += f"[{what}]"
            case _:
                path += f".{step}"
    return path.removeprefix(".")
