"""What an installation and its models need from outside: the content of a bundle. Decided as the operator decides."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.authority import Authority
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.resource import API_VERSION, GROUP, Resource
from bailiwick.api.schema import KINDS
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cli.files.chart import checked
from bailiwick.cli.files.manifests import UnusableError, read
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy, exempt_namespaces, governing
from bailiwick.residency.verdict import Reason
from bailiwick.workload import images, verification
from bailiwick.workload.plan import NO_PROFILES
from bailiwick.workload.sizing.profile import LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bailiwick.api.modelsource import ProfileReference
    from bailiwick.cli.files.chart import Installation
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.plan import WorkloadPlan
    from bailiwick.workload.verification import Item

Raw = dict[str, Any]

_READ: Final[Mapping[str, type[SovereignModel | AcceleratorClass | ResidencyPolicy | Authority]]] = {
    each.__name__: each for each in (SovereignModel, AcceleratorClass, ResidencyPolicy, Authority)
}
_KNOWN: Final[Mapping[str, type[Resource]]] = {each.__name__: each for each in KINDS}
_OWN = "bailiwick-system"
_OTHERS: Final[Mapping[str, str]] = {
    "LeaderWorkerSet": "LeaderWorkerSet",
    "ScaledObject": "KEDA, and the Prometheus that it asks",
    "HorizontalPodAutoscaler": "an adapter that serves custom.metrics.k8s.io",
    "HTTPRoute": "a controller of the Gateway API",
    "InferencePool": "the endpoint picker of the Gateway API's inference extension",
}
"""By a kind that the operator writes for a model: what must be in the cluster for it, of other projects."""


@dataclass(slots=True)
class Given:
    """Objects from files, by kind, each as a cluster would read it."""

    models: dict[tuple[str | None, str], SovereignModel] = field(default_factory=dict)
    classes: dict[str, AcceleratorClass] = field(default_factory=dict)
    policies: dict[str, ResidencyPolicy] = field(default_factory=dict)
    authorities: dict[str, Authority] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels by name."""
    profiles: dict[tuple[str | None, str], Mapping[str, str]] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    """Objects of kinds that nothing here follows from."""

    def add(self, raw: Any, where: str) -> None:
        """One object, which ``where`` holds, or a List of some. Raises UnusableError."""
        if not isinstance(raw, dict) or not all(isinstance(raw.get(key), str) for key in ("apiVersion", "kind")):
            raise UnusableError(f"{where} holds something without apiVersion and kind, so it is no manifest")
        kind, version, items = raw["kind"], raw["apiVersion"], raw.get("items")
        if kind == "List" and isinstance(items, list):
            for item in items:
                self.add(item, where)
            return
        if version.partition("/")[0] == GROUP and version != API_VERSION:
            raise UnusableError(f"{where}: {kind} is of {version}, and this release reads {API_VERSION}")
        metadata = raw.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            raise UnusableError(f"{where}: {kind} has no metadata.name")
        if not isinstance(metadata.get("namespace"), str | None):
            raise UnusableError(f"{where}: metadata.namespace of {kind} {metadata['name']} is no text")
        if version == API_VERSION and kind not in _KNOWN:
            raise UnusableError(f"{where}: {version} has no kind {kind}; kinds: {', '.join(sorted(_KNOWN))}")
        named = f"{where} ({kind} {metadata['name']})"
        if version == API_VERSION and kind in _READ:
            self._keep(read(_READ[kind], raw, named), where)
        elif version == API_VERSION:
            read(_KNOWN[kind], raw, named)  # nothing follows from it here, but a cluster must take it, too
        else:
            self._notice(f"{version} {kind}", raw, metadata)

    def _notice(self, what: str, raw: Raw, metadata: Raw) -> None:
        """An object that is not ours: what it says of a namespace or of a model's size, else that it is there."""
        labels = _texts(metadata.get("labels"))
        if what == "v1 Namespace":
            self.namespaces[metadata["name"]] = labels
        elif what == "v1 ConfigMap":
            if labels.get(LABEL) == "true":
                self.profiles[metadata.get("namespace"), metadata["name"]] = _texts(raw.get("data"))
        else:
            self.others[raw["kind"]] += 1

    def _keep(self, found: SovereignModel | AcceleratorClass | ResidencyPolicy | Authority, where: str) -> None:
        name, twice = found.metadata.name, False
        match found:
            case SovereignModel():
                key = found.metadata.namespace, name
                twice = self.models.setdefault(key, found) is not found
            case AcceleratorClass():
                twice = self.classes.setdefault(name, checked(found, where)) is not found
            case ResidencyPolicy():
                twice = self.policies.setdefault(name, found) is not found
            case Authority():
                twice = self.authorities.setdefault(name, found) is not found
        if twice:
            raise UnusableError(f"{where}: {type(found).__name__} {name} is given twice; which of them counts?")


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """Who needs an image: a kind and a name, ``clinic/assistant`` where there is a namespace; and what for."""

    kind: str
    name: str
    use: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of a model or adapter, as the model tells of them."""

    model: str
    item: Item

    @property
    def recognised(self) -> bool:
        """Whether something stated tells them from others: a digest, manifest or signature."""
        return self.item.told or self.item.pinned


@dataclass(frozen=True, slots=True, order=True)
class Objection:
    """Why the list is not complete: what a model could not be served for."""

    model: str
    reason: str
    message: str
    accelerator_class: str | None = None
    variant: str | None = None

    @property
    def named(self) -> str:
        """Which variant on which class, as the end of a sentence; empty where it is about the model."""
        words = {"as": self.variant, "on": self.accelerator_class}
        return "".join(f" {word} {name}" for word, name in words.items() if name)


@dataclass(slots=True)
class Contents:
    """What is needed. ``images`` tells of each need on which accelerator classes, none where that does not matter."""

    images: defaultdict[str, defaultdict[Need, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    weights: list[Weights] = field(default_factory=list)
    others: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """What must be in the cluster of other projects, and the models that need it."""
    objections: list[Objection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def collect(installation: Installation, given: Given, *, all_classes: bool = False) -> Contents:
    """What the installation and the given models need; with ``all_classes`` or without models, each engine's image."""
    found = Contents()
    for value, reference in installation.images.items():
        found.images[reference].setdefault(Need("Chart", "bailiwick", value), set())
    if installation.certificates != "chart":
        found.others["cert-manager"].add("the chart")
    classes = {**installation.classes, **given.classes}
    for accelerator in classes.values() if all_classes or not given.models else ():
        for serving in accelerator.spec.engines:
            need = Need("AcceleratorClass", accelerator.metadata.name, f"engine {serving.name}")
            found.images[serving.image][need].add(accelerator.metadata.name)
    for model in given.models.values():
        _add(found, model, installation, given, classes)
    if given.others:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(given.others.items()))
        found.notes.append(f"not looked at, because Bailiwick does not make pods of them: {told}")
    found.objections.sort(key=lambda each: (each.model, each.variant or "", each.accelerator_class or "", each.message))
    return found


def _add(
    found: Contents,
    model: SovereignModel,
    installation: Installation,
    given: Given,
    classes: Mapping[str, AcceleratorClass],
) -> None:
    told = f"{model.metadata.namespace}/{model.metadata.name}" if model.metadata.namespace else model.metadata.name
    found.objections += _unknown(told, model, classes)
    if model.spec.model.endpoint:
        gate = installation.settings.gate_image
        found.images[gate].setdefault(Need("SovereignModel", told, "gate"), set())
        found.notes.append(f"{told} is served outside the cluster, by weights and programs of which nothing is listed")
        return
    policies, unsure = _governing(told, model, given)
    found.notes += unsure
    found.weights += [Weights(model=told, item=item) for item in verification.items(model)]
    made: list[tuple[str | None, str, WorkloadPlan]] = []
    for weights, form in zip(model.spec.model.every, images.forms(model), strict=True):
        sized, profiles, notes = _sized_by(told, form, given)
        found.notes += [note for note in notes if note not in found.notes]
        plans = images.plans(
            sized, classes=classes, settings=installation.settings, policies=policies, profiles=profiles,
            authorities=given.authorities,
        )  # fmt: skip
        made += [(weights.variant, name, plan) for name, plan in plans.items()]
    refused = [
        Objection(told, plan.verdict.reason, plan.verdict.message, name, variant)
        for variant, name, plan in made
        if not plan.verdict.allowed
    ]
    if len(refused) == len(made):
        found.objections += refused
    else:
        found.notes += [f"{told} is not served{each.named}: {each.message}" for each in refused]
    for _, name, plan in made:
        _add_plan(found, told, classes[name], plan)


def _add_plan(found: Contents, told: str, accelerator: AcceleratorClass, plan: WorkloadPlan) -> None:
    for use in images.uses(plan.objects):
        found.images[use.reference][Need("SovereignModel", told, use.what)].add(accelerator.metadata.name)
    kinds = {each["kind"] for each in plan.objects}
    for kind in kinds & _OTHERS.keys():
        found.others[_OTHERS[kind]].add(told)
    if not kinds:
        return
    spec, name = accelerator.spec, accelerator.metadata.name
    if plan.plan and plan.plan.device:
        claimed = plan.plan.device in spec.device_classes
        driver = (
            f"the driver of DeviceClass {plan.plan.device}" if claimed else f"a device plug-in for {plan.plan.device}"
        )
        found.others[f"{driver} (class {name})"].add(told)
    if spec.scheduler_name:
        found.others[f"the scheduler {spec.scheduler_name} (class {name})"].add(told)
    if spec.runtime_class_name:
        found.others[f"the RuntimeClass {spec.runtime_class_name} (class {name})"].add(told)


def _unknown(told: str, model: SovereignModel, classes: Mapping[str, AcceleratorClass]) -> Iterator[Objection]:
    """A class that is not given may be there, and its image would be missing behind the gap."""
    for name in model.spec.accelerators.classes:
        if name not in classes:
            yield Objection(
                told,
                Reason.NO_ACCELERATOR,
                f"spec.accelerators.classes names {name}, which neither the chart installs with these values "
                f"(acceleratorClasses.families) nor a file describes, so the image of its engine is not listed; name "
                f"its family in the values, give its AcceleratorClass, or leave it out of the model",
                name,
            )


def _sized_by(
    told: str, model: SovereignModel, given: Given
) -> tuple[SovereignModel, Mapping[ProfileReference, str], Sequence[str]]:
    """The model, the text of its profile, and what to know. Without the profile every class counts that it lists."""
    where = model.spec.model.profile
    if where is None:
        return model, NO_PROFILES, ()
    text = given.profiles.get((model.metadata.namespace, where.config_map), {}).get(where.key)
    if text is not None:
        return model, {where: text}, ()
    named = model.spec.model.model_copy(update={"profile": None})
    unsized = model.model_copy(update={"spec": model.spec.model_copy(update={"model": named})})
    note = f"{told}: its profile, ConfigMap {where.config_map}, is not given, so every class counts that it lists"
    return unsized, NO_PROFILES, (note,)


def _governing(told: str, model: SovereignModel, given: Given) -> tuple[Sequence[CompiledPolicy], Sequence[str]]:
    """The policies of its namespace, as far as that is known."""
    if not given.policies:
        return (), ()
    namespace = model.metadata.namespace or ""
    if namespace not in given.namespaces:
        note = f"{told}: its Namespace is not given, so no policy was asked whether the model may be served"
        return (), (note,)
    # Only what policies say of models is asked, for which no jurisdiction is looked up.
    compiled: Iterable[CompiledPolicy] = (compile_policy(each, Atlas(())) for each in given.policies.values())
    return governing(compiled, namespace, given.namespaces[namespace], exempt=exempt_namespaces(_OWN)), ()


def _texts(found: Any) -> Mapping[str, str]:
    pairs = found.items() if isinstance(found, dict) else ()
    return {key: value for key, value in pairs if isinstance(key, str) and isinstance(value, str)}
