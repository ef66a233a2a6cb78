"""Objects that must be refused, each by changing the complete object of its kind, and what the user reads.

Every rule of every kind is broken here at least once. The API server's own checks (bounds, enumerations, required
fields) are broken one by one in tests/apiserver/test_api_bounds.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.unit.api.objects import (
    ABSENT,
    CERTIFICATE,
    DIGEST,
    PUBLIC_KEY,
    SOURCES,
    VARIANTS,
    Manifest,
    changed,
    varied,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CODES = (
    "a country such as DE or GB (the United Kingdom is GB, not UK), a subdivision such as DE-BY, "
    "in the upper-case codes of ISO 3166"
)
PLACE = f"must be {_CODES}; EU is a group of countries, not one of them"
JURISDICTION = f"must be {_CODES}, or the name of a Jurisdiction object such as EU or GDPR-ADEQUATE"
DURATION = "must be a duration such as 90s, 15m, 720h or 1h30m: whole hours, minutes and seconds, in this order"
ONE_SOURCE = "give exactly one of oci, persistentVolumeClaim, s3, huggingFace, hostPath, endpoint"
IMAGE = "must be an image such as registry.example/name:tag or registry.example/name@sha256:<64 digits>"
SHA256 = "must be sha256: and 64 lower-case hexadecimal digits"
OBJECT_NAME = "must be the name of an object: lower-case letters, digits, dashes and dots"
LABEL_KEY = "must be a label key such as team or example.com/team"
LABEL_VALUE = "must be a label value: at most 63 letters, digits, dashes, dots and underscores"
BUCKET = "must be the name of a bucket: lower-case letters, digits, dashes and dots"
REVISION = "must be a commit: 40 lower-case hexadecimal digits; a branch can change under you"
RELATIVE = "must be a relative path with no .. in it"
ABSOLUTE = "must be an absolute path with no .. in it, and not the root"
DEVICES = "must be auto, or a number from 0 to 1024"
AUTHENTICATION = "give apiKeysSecret, tokenIssuer or both; leave authentication out to let in whoever the network lets"
FILE = "must be the path of a file inside the source, such as model-Q4_K_M.gguf"
ADAPTER_NAME = "must be a name: letters, digits, dashes, dots and underscores"
HOST_NAME = "must be a host name such as models.example or *.models.example"
ENGINE_WORD = "must be one word of the engine's, such as fp8"
VARIABLE = "must be the name of an environment variable: letters, digits, underscores"
CIDR = "must be an address range such as 10.20.0.0/16 or 2001:db8::/48, with no bits set behind its prefix"
URL = "must be a URL such as https://storage.example"
SERVER = (
    "must be a URL such as https://storage.example:9000 or https://hub.example/mirror: its host in lower case, without "
    "user, query, %, .. or a slash at the end"
)
FOLDER = "must be a folder such as models/tiny: no slash before it, no empty part, . or .., no %, ?, # or backslash"
ALLOWED_SOURCE = (
    "must begin as oci://, s3://HOST, s3+http://HOST, hf://HOST, hf+http://HOST, pvc://, hostpath:// or endpoint://"
)
QUANTITY = "must be a quantity such as 80Gi, 500m or 4, and not negative"
ARGUMENT = (
    "is not for a model to give: Bailiwick sets it, or it might run foreign code, call out or log prompts; "
    "the platform team can give it in the AcceleratorClass"
)
POLICY_NAME = "the name becomes a node label: at most 63 lower-case letters, digits and dashes, without dots"
MODEL_NAME = "the name becomes a Service: at most 52 lower-case letters, digits and dashes, beginning with a letter"
GROUP_NAME = "two letters, or two letters and a dash, are ISO codes: name a group eu, eea, gdpr-adequate or alike"
TIME = "must be a time after the year 1969"
STATEMENT = "a statement must state place, control or origin"
KEY = "must be a public key, ed25519 or ECDSA P-256, in PEM: -----BEGIN PUBLIC KEY----- and so on"
ONE_CERTIFICATE = "must be one X.509 certificate in PEM: -----BEGIN CERTIFICATE----- and so on, and no key"
SIGNER = "give exactly one of subject, email, uri"
COPY_ONLY = "is for mount Copy: an image volume takes no room of its own"
SOME_KEY = "give publicKeys, certificates or both: without them nothing can be signed"
STATED_BY_KEY = (
    "give publicKeys: place, control and origin are stated by NodeStatements, which are signed by key; "
    "certificates vouch for models alone"
)
MACHINE = "name the machine by its machineID, systemUUID or providerID: the name of a node can be taken over"
WAIVER_ENDS = "expiresAt must be after notBefore"
BOTH = "authority and envelope belong together: give both or neither"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One broken rule: the field that is blamed, and the sentence."""

    kind: str
    why: str
    changes: Mapping[str, Any]
    field: str
    message: str

    @property
    def manifest(self) -> Manifest:
        """The object that must be refused."""
        return changed(self.kind, self.changes)

    def __str__(self) -> str:
        return f"{self.kind} {self.field}: {self.why}"


def _broken(
    kind: str, path: str, message: str, values: Mapping[str, Any], *, blamed: str | None = None
) -> Iterator[Refusal]:
    """One row for each value (by what is wrong with it) of the field at ``path``."""
    field = re.sub(r"\.(\d+)", r"[\1]", path) if blamed is None else blamed
    for why, value in values.items():
        yield Refusal(kind, why, {path: value}, field, message)


def _policy(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("ResidencyPolicy", path, message, values, **blamed)


def _model(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("SovereignModel", path, message, values, **blamed)


def _statement(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("NodeStatement", path, message, values, **blamed)


def _group(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("Jurisdiction", path, message, values, **blamed)


def _class(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("AcceleratorClass", path, message, values, **blamed)


def _authority(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("Authority", path, message, values, **blamed)


def _waiver(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("ResidencyWaiver", path, message, values, **blamed)


def _territory(path: str, message: str, values: Mapping[str, Any], **blamed: str) -> Iterator[Refusal]:
    return _broken("Territory", path, message, values, **blamed)


_NOT_PLACES = {
    "UK": "UK",
    "EU is no country": "EU",
    "a group is no place": "GDPR-ADEQUATE",
    "lower case": "de",
    "full-width letters": "\uff24\uff25",
    "a newline": "DE\n",
    "the name of a country": "Germany",
    "a subdivision in lower case": "DE-by",
}
_NOT_JURISDICTIONS = {
    "UK is not the code of the United Kingdom": "UK",
    "lower case": "de",
    "full-width letters": "\uff24\uff25",
    "a Cyrillic letter that looks Latin": "\u0421H",
    "a blank": "DE ",
    "a newline": "DE\n",
    "a subdivision of no country": "XX-BY",
    "a subdivision that is too long": "DE-BAYERN",
    "a country that is gone": "SU",
    "a country by name": "Germany",
}
PLACES = (
    *_policy("spec.place.allow.0", JURISDICTION, _NOT_JURISDICTIONS),
    *_policy("spec.control.deny.0", JURISDICTION, {"UK": "UK"}),
    *_policy("spec.origin.brand.allow.0", JURISDICTION, {"UK": "UK"}),
    *_model("spec.residency.place.allow.0", JURISDICTION, {"UK": "UK"}),
    *_group("spec.members.0", JURISDICTION, {"UK": "UK", "lower case": "eu"}),
    *_statement("spec.place.jurisdiction", PLACE, _NOT_PLACES),
    *_statement("spec.control.jurisdiction", PLACE, {"EU is no country": "EU"}),
    *_statement("spec.origin.design.0", PLACE, {"EU is no country": "EU"}),
    *_class("spec.provenance.brand.jurisdictions.0", PLACE, {"EU is no country": "EU"}),
    *_model("status.jurisdictions.0", PLACE, {"EU is no country": "EU"}),
    *_territory(
        "spec.nodes.worker-de",
        "must be a place such as DE or DE-BY",
        {"lower case": "de", "a group": "DE-BY-"},
        blamed="spec.nodes[worker-de]",
    ),
)

NAMES = (
    *_policy("metadata.name", POLICY_NAME, {"a dot": "health.data", "too long for a label": "h" * 64}),
    *_model("metadata.name", MODEL_NAME, {"too long for labels of pods": "m" * 53, "a digit first": "7b"}),
    *_group("metadata.name", GROUP_NAME, {"a country's code": "fr", "a subdivision's code": "de-by"}),
    *_group("metadata.name", "the name may have at most 63 characters", {"too long": "g" * 64}),
    *_group("spec.members.0", "a jurisdiction cannot be a member of itself", {"itself": "DACH"}, blamed="spec.members"),
    *_group("spec.asOf", "must be a day after the year 1899", {"before there were such lists": "1899-12-31"}),
    *_territory("spec.policy", "a territory carries the name of its policy", {"another policy": "other"}),
    *_territory("spec.nodes", "every key must be the name of a node", {"a long name": {"n" * 254: "DE"}}),
    *_territory("spec.nodeSelector", f"every key {LABEL_KEY}", {"a blank": {"a b": "c"}}),
)

_REQUIREMENT = "spec.namespaceSelector.matchExpressions.0"
_NO_VALUES = "In and NotIn need values; Exists and DoesNotExist take none"
POLICIES = (
    *_policy(
        _REQUIREMENT,
        _NO_VALUES,
        {
            "In without values": {"key": "a", "operator": "In"},
            "Exists with values": {"key": "a", "operator": "Exists", "values": ["b"]},
        },
        blamed="spec.namespaceSelector.matchExpressions[0].values",
    ),
    *_policy(f"{_REQUIREMENT}.key", LABEL_KEY, {"a blank": "a b", "two slashes": "a/b/c"}),
    *_policy(f"{_REQUIREMENT}.values.0", LABEL_VALUE, {"a slash": "a/b"}),
    *_policy("spec.namespaceSelector.matchLabels", f"every key {LABEL_KEY}", {"a blank": {"a b": ""}}),
    *_policy(
        "spec.namespaceSelector.matchLabels.data",
        LABEL_VALUE,
        {"a slash": "a/b"},
        blamed="spec.namespaceSelector.matchLabels[data]",
    ),
    *_policy("spec.place.allow", "Required value", {"only what is denied": ABSENT}),
    *_policy("spec.control", "Required value", {"neither allowed nor denied": {}}, blamed="spec.control.allow"),
    *_policy("spec.place.maxAge", DURATION, {"negative": "-5m", "days": "30d", "no unit": "90", "zero": "0"}),
    *_policy("spec.waivers.maxDuration", DURATION, {"words": "2 weeks"}),
    *_policy("spec.violation.after", DURATION, {"a fraction": "1.5h", "backwards": "1s1h"}),
    *_policy("spec.network.egress.0.ports.0.endPort", "endPort must not be below port", {"below": 7999}),
    *_policy(
        "spec.network.egress.0.cidr",
        CIDR,
        {
            "an address": "10.20.0.1",
            "bits of a host": "10.20.0.1/16",
            "a netmask": "10.20.0.0/255.255.0.0",
            "more bits than there are": "10.20.0.0/33",
            "leading zeros": "010.20.0.0/16",
            "an IPv4 address in IPv6": "::ffff:10.20.0.0/112",
            "a zone": "fe80::%eth0/64",
            "a name": "archive.example",
        },
    ),
    *_policy("spec.basis.0.uri", URL, {"no scheme": "eur-lex.example", "no host": "https://"}),
    *_policy(
        "spec.models.sources.0",
        ALLOWED_SOURCE,
        {
            "no scheme": "registry.example/models/",
            "another scheme": "https://storage.example/models/",
            "no host": "s3://",
            "no host before a path": "hf:///clinic/",
            "a user": "s3://good@storage.example/models/",
            "another protocol": "s3+ftp://storage.example/",
        },
    ),
    *_policy("spec.storage.classes.0", OBJECT_NAME, {"a blank and capitals": "Fast SSD"}),
)

_SOURCE = "spec.model.source"


def _claim(**fields: str) -> Manifest:
    return {"persistentVolumeClaim": {"claimName": "weights", **fields}}


def _s3(**fields: str) -> Manifest:
    return {"s3": {**SOURCES["s3"], **fields}}


def _hub(**fields: str) -> Manifest:
    return {"huggingFace": {**SOURCES["huggingFace"], **fields}}


WEIGHTS = (
    *_model(
        f"{_SOURCE}.oci.mount",
        COPY_ONLY,
        {"a size of a volume": "Volume", "of whatever it is": ABSENT},
        blamed=f"{_SOURCE}.oci.size",
    ),
    *_model(f"{_SOURCE}.oci.size", QUANTITY, {"words": "much", "less than nothing": "-1"}),
    *_model(_SOURCE, ONE_SOURCE, {"none": {}, "two": {name: SOURCES[name] for name in ("oci", "s3")}}),
    *_model("spec.adapters.0.source", ONE_SOURCE, {"none": {}}),
    *_model(
        f"{_SOURCE}.oci.image",
        IMAGE,
        {
            "a digest in capitals": f"registry.example/m@{DIGEST.upper()}",
            "a digest that is too short": "registry.example/m@sha256:0123",
            "a digest of another kind": f"registry.example/m@md5:{'0' * 32}",
            "a query": "registry.example/m?x",
            "a way up": "registry.example/models/../other",
            "an empty part": "registry.example//m",
            "capitals": "registry.example/Models/m",
        },
    ),
    *_model("spec.engine.image", IMAGE, {"a blank": "registry.example/v llm"}),
    *_model("spec.adapters.0.digest", SHA256, {"broken": "sha256:xyz", "of another kind": "md5:" + "0" * 32}),
    *_model("spec.model.digest", "give digest or manifest, not both", {"both": DIGEST}),
    *_model(
        _SOURCE,
        RELATIVE,
        {"leaves the volume": _claim(path="../other"), "absolute": _claim(path="/models")},
        blamed=f"{_SOURCE}.persistentVolumeClaim.path",
    ),
    *_model(
        _SOURCE,
        OBJECT_NAME,
        {"a capital": _claim(claimName="Weights")},
        blamed=f"{_SOURCE}.persistentVolumeClaim.claimName",
    ),
    *_model(
        _SOURCE,
        ABSOLUTE,
        {"the root": {"hostPath": {"path": "/"}}, "a way up": {"hostPath": {"path": "/srv/../etc"}}},
        blamed=f"{_SOURCE}.hostPath.path",
    ),
    *_model(
        _SOURCE,
        SERVER,
        {
            what: _s3(endpoint=endpoint)
            for what, endpoint in {
                "no scheme": "storage.example",
                "another protocol": "ftp://storage.example",
                "no host": "https:///models",
                "a user that looks like a host": "https://storage.example@other.example",
                "a user with a word": "https://user:storage.example@other.example",
                "a backslash": "https://storage.example\\@other.example",
                "a query": "https://storage.example?x=/",
                "a fragment": "https://storage.example#/",
                "a way up": "https://storage.example/models/..",
                "a way up, encoded": "https://storage.example/models/%2e%2e",
                "nowhere": "https://storage.example/./x",
                "an empty part": "https://storage.example//other",
                "a slash at the end": "https://storage.example/",
                "a colon without a port": "https://storage.example:",
                "a port that is none": "https://storage.example:65536",
                "a host in capitals": "https://Storage.example",
                "a host that ends in a dot": "https://storage.example.",
                "letters that look like others": "https://st\u043erage.example",
                "a line end": "https://storage.example\n",
                "no address": "https://[zz]",
                "an IPv4 address in brackets": "https://[192.0.2.7]",
                "an address that has a shorter form": "https://[2001:db8:0::7]",
                "an IPv4 address in IPv6": "https://[::ffff:192.0.2.7]",
                "two addresses": "https://[::1]x[::2]",
            }.items()
        },
        blamed=f"{_SOURCE}.s3.endpoint",
    ),
    *_model(
        _SOURCE,
        SERVER,
        {"a user": _hub(endpoint="https://huggingface.co@hub.example")},
        blamed=f"{_SOURCE}.huggingFace.endpoint",
    ),
    *_model(
        _SOURCE,
        FOLDER,
        {
            what: _s3(prefix=prefix)
            for what, prefix in {
                "a way up": "models/../../other",
                "only a way up": "..",
                "nowhere": "./models",
                "an empty part": "models//tiny",
                "a slash before it": "/models",
                "only a slash": "/",
                "a way up, encoded": "models/%2e%2e/other",
                "a query": "models?versions",
                "a fragment": "models#x",
                "a backslash": "models\\..\\other",
                "a line end": "models\n",
            }.items()
        },
        blamed=f"{_SOURCE}.s3.prefix",
    ),
    *_model(_SOURCE, BUCKET, {"a path": _s3(bucket="models/../other")}, blamed=f"{_SOURCE}.s3.bucket"),
    *_model(_SOURCE, REVISION, {"a branch": _hub(revision="main")}, blamed=f"{_SOURCE}.huggingFace.revision"),
    *_model(
        _SOURCE,
        "must be organisation/name",
        {"no organisation": _hub(repository="model")},
        blamed=f"{_SOURCE}.huggingFace.repository",
    ),
)

_SAME_SOURCE = "give source, or variants that have one each"
_OF_EACH = "digest, manifest, signature, profile and readSpeed belong to each variant, file to none; move them"
_SPEED = "must be whole bytes per second above 0, such as 300Mi or 7G"
_QUALITY = "must be a positive decimal number such as 0.35"

VARIED = (
    *_model("spec.model.source", _SAME_SOURCE, {"no weights at all": ABSENT}),
    *_model(
        "spec.model",
        _SAME_SOURCE,
        {
            "a source beside variants": {**VARIANTS, "source": {"oci": SOURCES["oci"]}},
            "an empty list of variants": {"name": "m", "variants": []},
        },
        blamed="spec.model.source",
    ),
    *_model(
        "spec.model",
        _OF_EACH,
        {
            f"{field} of them all": {**VARIANTS, field: value}
            for field, value in {
                "file": "m.gguf",
                "digest": DIGEST,
                "manifest": {"configMap": "files"},
                "readSpeed": "1Gi",
                "signature": {"authority": "a"},
                "profile": {"configMap": "shape"},
            }.items()
        },
        blamed="spec.model.variants",
    ),
    *_model(
        "spec.model",
        "a variant cannot be an endpoint: give a source whose files can be loaded",
        {"a variant outside": varied(source={"endpoint": {"statement": "mac-1"}})},
        blamed="spec.model.variants",
    ),
    *_model(
        "spec.model",
        "give digest or manifest, not both",
        {"a variant with both": varied(digest=DIGEST)},
        blamed="spec.model.variants[0].digest",
    ),
    *_model(
        "spec.model", ONE_SOURCE, {"a variant of nothing": varied(source={})}, blamed="spec.model.variants[0].source"
    ),
    *_model(
        "spec.model", ADAPTER_NAME, {"a variant with a colon": varied(name="a:b")}, blamed="spec.model.variants[0].name"
    ),
    *_model(
        "spec.model",
        _QUALITY,
        {why: varied(quality=value) for why, value in {"nothing": "0", "words": "good", "negative": "-1"}.items()},
        blamed="spec.model.variants[0].quality",
    ),
    *_model("spec.model.readSpeed", _SPEED, {"nothing": "0", "thousandths": "999m", "no end": "1e99999"}),
    *_model("spec.model.readSpeed", _SPEED, {"a unit of time": "300Mi/s", "an exponent": "1e9"}),
    *_model(
        "spec.model", _SPEED, {"a variant without": varied(readSpeed="0")}, blamed="spec.model.variants[0].readSpeed"
    ),
)

MODELS = (
    *_model("spec.model.name", "must be a name such as organisation/model", {"a blank": "my model"}),
    *_model("spec.adapters.0.name", ADAPTER_NAME, {"a slash": "a/b"}),
    *_model("spec.model.file", FILE, {"a folder above": "../m.gguf", "the root": "/m.gguf", "an option": "-m.gguf"}),
    *_model("spec.adapters.0.file", FILE, {"a folder above": "a/../m.gguf"}),
    *_model("spec.replicas", "spec.replicas in body should be greater than or equal to 0", {"a negative number": -1}),
    *_model("spec.accelerators.perReplica", DEVICES, {"words": "many", "negative": -1, "digits as text": "4"}),
    *_model(
        "spec.autoscaling.minReplicas",
        "maxReplicas must not be below minReplicas",
        {"at least more than at most": 5},
        blamed="spec.autoscaling.maxReplicas",
    ),
    *_model("spec.context.quantization", ENGINE_WORD, {"an option": "--trust-remote-code", "two words": "awq fp8"}),
    *_model("spec.serving.authentication", AUTHENTICATION, {"nothing": {}}),
    *_model("spec.serving.gateway.hostnames.0", HOST_NAME, {"a blank": "a b", "a star inside": "a.*.example"}),
    *_model(
        "spec.engine.arguments.0",
        ARGUMENT,
        {
            argument: argument
            for argument in (
                "--trust-remote-code",
                "--trust_remote_code",
                "--trust",
                "--no-trust-remote-code",
                "--hf-overrides.auto_map=x",
                "--middleware=evil.Module",
                "--tool-server",
                "--enable-log-requests",
                "--host=0.0.0.0",
                "--enforce",
                "--Enforce-Eager",
                "-ac={}",
                "-cc.backend=evil",
                "--",
            )
        },
    ),
)

_ENDS_FIRST = "expiresAt must be after issuedAt"
STATEMENTS = (
    *_statement(
        "spec.expiresAt",
        _ENDS_FIRST,
        {"before its beginning": "2026-10-31T00:00:00Z", "at its beginning, elsewhere": "2026-11-01T01:00:00+01:00"},
    ),
    *_statement("spec.issuedAt", TIME, {"the year 0": "0000-01-01T00:00:00Z", "1969": "1970-01-01T00:00:00+00:01"}),
    *_statement(
        "spec.issuedAt",
        'spec.issuedAt in body must be of type date-time: "2026-11-01T00:00:00"',
        {"no zone": "2026-11-01T00:00:00"},
    ),
    *_statement("spec.authority", BOTH, {"signed by nobody": ABSENT}),
    *_statement("spec.envelope", BOTH, {"an authority without its signature": ABSENT}, blamed="spec.authority"),
    Refusal(
        "NodeStatement",
        "nothing",
        dict.fromkeys(("spec.place", "spec.control", "spec.origin"), ABSENT),
        "spec",
        STATEMENT,
    ),
)


def _outside(path: str, message: str, value: Any, *, blamed: str = "") -> Refusal:
    """A model that is served outside the cluster, and asks for one thing that means nothing there."""
    source = {"endpoint": {"statement": "mac-1"}}
    plain: dict[str, Any] = {
        "spec.model": {"name": "m", "source": source},
        "spec.engine": {"name": "external"},
        **dict.fromkeys(("spec.accelerators", "spec.context", "spec.parallelism"), ABSENT),
        **dict.fromkeys(("spec.autoscaling", "spec.adapters"), ABSENT),
    }
    return Refusal("SovereignModel", "outside", {**plain, path: value}, blamed or path, message)


_TOGETHER = "the engine external serves from source.endpoint, and no other engine does: give both or neither"
_UNSEEN = "nobody here sees the files that an endpoint outside serves, so nothing can be said of them; leave it out"
_ELSEWHERE = "is the endpoint's own affair with the engine external; leave it out"
_ADAPTER = {"name": "legal", "source": {"persistentVolumeClaim": {"claimName": "legal"}}}
OUTSIDE = (
    _outside("spec.engine", _TOGETHER, {"name": "vllm"}, blamed="spec.model.source"),
    _outside("spec.model.source", _TOGETHER, {"oci": SOURCES["oci"]}),
    *_model(
        "spec.adapters.0.source",
        "an adapter cannot come from an endpoint: give a source whose files can be loaded",
        {"a server": {"endpoint": {"statement": "mac-1"}}},
        blamed="spec.adapters",
    ),
    *(
        _outside(f"spec.model.{name}", f"spec.model.{name}: {_UNSEEN}", value)
        for name, value in {
            "file": "m.gguf",
            "digest": DIGEST,
            "manifest": {"configMap": "files"},
            "signature": {"authority": "model-authority"},
            "profile": {"configMap": "profile"},
        }.items()
    ),
    *(
        _outside(f"spec.{path}", f"spec.{blamed or path}: {_ELSEWHERE}", value, blamed=f"spec.{blamed or path}")
        for path, blamed, value in (
            ("engine.image", "", "registry.example/vllm:1"),
            ("engine.arguments", "", ["--enforce-eager"]),
            ("accelerators", "", {"classes": ["nvidia-h100"]}),
            ("accelerators", "", {"perReplica": 1}),
            ("context", "", {"maxLength": 8192}),
            ("context", "", {"quantization": "awq"}),
            ("parallelism", "", {"tensor": 2}),
            ("adapters", "", [_ADAPTER]),
            ("objective", "", "Energy"),
        )
    ),
    _outside(
        "spec.autoscaling",
        "spec.autoscaling: what would scale is the endpoint, not the gates that lead to it; leave it out",
        {"maxReplicas": 2},
    ),
)

_ENDPOINT = "EndpointStatement"
_ADDRESS = "must be one address such as 192.0.2.7 or 2001:db8::7, spelt as usual, of no loopback, link or group"
_CERTIFICATES = "must be certificates in PEM and nothing else: -----BEGIN CERTIFICATE----- and so on"
ENDPOINTS = (
    *_broken(
        _ENDPOINT,
        "spec.endpoint.address",
        _ADDRESS,
        {
            "a name": "mac-1.example",
            "loopback": "127.0.0.1",
            "loopback of IPv6": "::1",
            "what clouds tell of machines": "169.254.169.254",
            "anything": "0.0.0.0",  # noqa: S104 - nothing is bound
            "a group": "224.0.0.1",
            "everybody": "255.255.255.255",
            "a range": "192.0.2.0/24",
            "another spelling": "2001:db8:0::7",
            "upper case": "2001:DB8::7",
            "IPv4 in disguise": "::ffff:192.0.2.7",
            "a zone": "fe80::1%eth0",
        },
    ),
    *_broken(
        _ENDPOINT,
        "spec.endpoint.serverName",
        "must be a host name such as mac-1.models.example",
        {"any server": "*.models.example", "upper case": "Mac-1", "a blank": "a b"},
    ),
    *_broken(
        _ENDPOINT,
        "spec.endpoint.certificateAuthority",
        _CERTIFICATES,
        {
            "no PEM": "MIIB",
            "a key": CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY"),
            "a key behind it": CERTIFICATE + CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY"),
            "words": CERTIFICATE + "x",
        },
    ),
    *_broken(
        _ENDPOINT,
        "spec.endpoint.healthPath",
        "must be a path such as /health",
        {"no path": "health", "a query": "/health?a=b", "a reference": "/$(HOME)"},
    ),
    *_broken(_ENDPOINT, "spec.expiresAt", _ENDS_FIRST, {"before it begins": "2026-10-31T00:00:00Z"}),
    *_broken(_ENDPOINT, "spec.issuedAt", TIME, {"1969": "1969-12-31T00:00:00Z"}),
    *_broken(_ENDPOINT, "spec.authority", BOTH, {"signed by nobody": ABSENT}),
    Refusal(
        _ENDPOINT, "nothing", dict.fromkeys(("spec.place", "spec.control", "spec.origin"), ABSENT), "spec", STATEMENT
    ),
    *_broken(_ENDPOINT, "spec.place.jurisdiction", PLACE, {"UK": "UK"}),
    *_broken(_ENDPOINT, "spec.authority", OBJECT_NAME, {"upper case": "Site"}),
)

_REQUESTS = "spec.engines.0.requests"
CLASSES = (
    *_class("spec.resources.0", "an extended resource is named vendor.example/device", {"no vendor": "gpu"}),
    *_class("spec.memory", QUANTITY, {"words": "much", "negative": "-1Gi", "another unit": "80GB", "empty": ""}),
    *_class(f"{_REQUESTS}.cpu", QUANTITY, {"negative": -1}, blamed="spec.engines[0].requests[cpu]"),
    *_class(_REQUESTS, f"every key {LABEL_KEY}", {"a blank": {"c pu": 1}}),
    *_class("spec.engines.0.environment.0.name", VARIABLE, {"a dash": "NCCL-DEBUG"}),
    *_class(
        "spec.tolerations.0.operator", "Exists takes no value", {"Exists": "Exists"}, blamed="spec.tolerations[0].value"
    ),
    *_class("spec.resources", "Resource needs the name of one in resources", {"none": ABSENT}, blamed="spec.requestBy"),
    *_class(
        "spec.deviceClasses",
        "Claim needs the name of a DeviceClass in deviceClasses",
        {"none": ABSENT},
        blamed="spec.requestBy",
    ),
    *_class(
        "spec.measurements.0.joulesPerToken",
        "must be a positive decimal number such as 0.35",
        {"words": "little", "nothing": "0.0", "less": "-1"},
    ),
    *_class("spec.powerMetric.scale", "must be a decimal number such as 1, 0.001 or 1000", {"words": "milli"}),
)

WAIVERS = (
    *_waiver(
        "spec.expiresAt", WAIVER_ENDS, {"at its beginning": "2026-11-01T00:00:00Z", "before it": "2026-10-31T00:00:00Z"}
    ),
    *_waiver("spec.notBefore", TIME, {"1969": "1969-12-31T00:00:00Z"}),
    *_waiver("spec.jurisdictions.0", JURISDICTION, {"UK": "UK"}),
    *_waiver("spec.policy", OBJECT_NAME, {"upper case": "Health"}),
    *_waiver("spec.node", MACHINE, {"a name": {"name": "n"}, "a registration": {"name": "n", "uid": "u"}}),
    *_broken("WaiverApproval", "spec.waiver", OBJECT_NAME, {"upper case": "Failover"}),
)

_BODY = PUBLIC_KEY.splitlines()[1]
_HELD = CERTIFICATE.splitlines()[1]
AUTHORITIES = (
    *_authority(
        "spec.publicKeys.0.pem",
        KEY,
        {
            "no PEM": _BODY,
            "another header": PUBLIC_KEY.replace("PUBLIC", "SECRET"),
            "another kind of key": PUBLIC_KEY.replace("MCowBQYDK2Vw", "MCowBQYDK2Vu"),
            "a key that is too long": PUBLIC_KEY.replace(_BODY, "A" + _BODY),
            "two keys": PUBLIC_KEY + PUBLIC_KEY,
            "a word behind it": PUBLIC_KEY + "x",
            "line ends that were lost": PUBLIC_KEY.replace("\n", ""),
        },
    ),
    *_authority(
        "spec.certificates.0.pem",
        ONE_CERTIFICATE,
        {
            "no PEM": _HELD,
            "a key": PUBLIC_KEY,
            "another header": CERTIFICATE.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            # The beginning of a private key, which a header alone would let pass.
            "a private key that is called a certificate": CERTIFICATE.replace(_HELD[:20], "MIIEvgIBADANBgkqhkiG"),
            "two": CERTIFICATE + CERTIFICATE,
            "a word behind it": CERTIFICATE + "x",
            "line ends that were lost": CERTIFICATE.replace("\n", ""),
        },
    ),
    *_authority(
        "spec.certificates.0.signers.0", SIGNER, {"nobody": {}, "two at once": {"email": "a@b.example", "uri": "x:y"}}
    ),
    *_authority(
        "spec",
        SOME_KEY,
        {"nothing to sign with": {"mayVouchFor": ["models"], "jurisdictions": ["DE"]}},
        blamed="spec.publicKeys",
    ),
    *_authority("spec.publicKeys", STATED_BY_KEY, {"no keys": [], "absent keys": ABSENT}),
    *_authority("spec.publicKeys.0.notAfter", TIME, {"1969": "1969-12-31T00:00:00Z"}),
    *_authority("spec.jurisdictions.0", JURISDICTION, {"UK": "UK"}),
)

REFUSALS: tuple[Refusal, ...] = (
    *PLACES,
    *NAMES,
    *POLICIES,
    *WEIGHTS,
    *VARIED,
    *MODELS,
    *STATEMENTS,
    *ENDPOINTS,
    *OUTSIDE,
    *CLASSES,
    *AUTHORITIES,
    *WAIVERS,
)
