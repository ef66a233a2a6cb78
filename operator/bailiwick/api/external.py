"""What a model that is served outside the cluster may ask for, as rules over the spec of a SovereignModel.

The server loads its own weights on its own devices: what tunes an engine here would be ignored there.
"""

from collections.abc import Callable
from typing import Any

from bailiwick.api.acceleratorclass import EngineName
from bailiwick.api.markers import Rule

_NOBODY_SEES = (
    "nobody here sees the files that an endpoint outside serves, so nothing can be said of them; leave it out"
)
_ITS_OWN = "is the endpoint's own affair with the engine external; leave it out"


def _is_external(spec: Any) -> bool:
    return bool(spec.engine.name is EngineName.EXTERNAL)


def _none(field: str, cel: str, absent: Callable[[Any], bool], why: str) -> Rule:
    """The rule that an external model says nothing in a field; ``cel`` and ``absent`` hold where it does not."""
    return Rule(
        f"self.engine.name != 'external' || {cel}",
        f"spec.{field}: {why}",
        holds=lambda spec: not _is_external(spec) or absent(spec),
        path=f".{field}",
    )


RULES = (
    Rule(
        "(self.engine.name == 'external') == (has(self.model.source) && has(self.model.source.endpoint))",
        "the engine external serves from source.endpoint, and no other engine does: give both or neither",
        holds=lambda spec: _is_external(spec) == (spec.model.endpoint is not None),
        path=".model.source",
    ),
    Rule(
        "!has(self.adapters) || self.adapters.all(adapter, !has(adapter.source.endpoint))",
        "an adapter cannot come from an endpoint: give a source whose files can be loaded",
        holds=lambda spec: all(adapter.source.endpoint is None for adapter in spec.adapters),
        path=".adapters",
    ),
    Rule(
        "!has(self.model.variants) || self.model.variants.all(variant, !has(variant.source.endpoint))",
        "a variant cannot be an endpoint: give a source whose files can be loaded",
        holds=lambda spec: all(variant.source.endpoint is None for variant in spec.model.variants),
        path=".model.variants",
    ),
    _none("model.file", "!has(self.model.file)", lambda spec: spec.model.file is None, _NOBODY_SEES),
    _none("model.digest", "!has(self.model.digest)", lambda spec: spec.model.digest is None, _NOBODY_SEES),
    _none("model.manifest", "!has(self.model.manifest)", lambda spec: spec.model.manifest is None, _NOBODY_SEES),
    _none("model.signature", "!has(self.model.signature)", lambda spec: spec.model.signature is None, _NOBODY_SEES),
    _none("model.profile", "!has(self.model.profile)", lambda spec: spec.model.profile is None, _NOBODY_SEES),
    _none("engine.image", "!has(self.engine.image)", lambda spec: spec.engine.image is None, _ITS_OWN),
    _none(
        "engine.arguments",
        "!has(self.engine.arguments) || size(self.engine.arguments) == 0",
        lambda spec: not spec.engine.arguments,
        _ITS_OWN,
    ),
    _none(
        "accelerators",
        "(self.accelerators.classes == ['cpu'] && type(self.accelerators.perReplica) == string)",
        lambda spec: spec.accelerators.classes == ("cpu",) and spec.accelerators.per_replica == "auto",
        _ITS_OWN,
    ),
    _none(
        "context",
        "!has(self.context) || !(has(self.context.maxLength) || has(self.context.maxSequences) || "
        "has(self.context.kvCacheType) || has(self.context.quantization))",
        lambda spec: not spec.context.model_dump(exclude_none=True),
        _ITS_OWN,
    ),
    _none("parallelism", "!has(self.parallelism)", lambda spec: spec.parallelism is None, _ITS_OWN),
    _none("adapters", "!has(self.adapters) || size(self.adapters) == 0", lambda spec: not spec.adapters, _ITS_OWN),
    _none(
        "autoscaling",
        "!has(self.autoscaling)",
        lambda spec: spec.autoscaling is None,
        "what would scale is the endpoint, not the gates that lead to it; leave it out",
    ),
    _none("objective", "self.objective == 'Balanced'", lambda spec: spec.objective == "Balanced", _ITS_OWN),
)
