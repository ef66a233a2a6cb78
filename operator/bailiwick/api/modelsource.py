"""Where the weights of a model or adapter come from, and how they are recognised."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from bailiwick.api.markers import Atomic, Rule, list_map
from bailiwick.api.names import Digest, FolderOfObjects, ObjectName, ServerUrl, named
from bailiwick.api.quantities import PositiveNumber, Quantity
from bailiwick.api.resource import Part

_RelativePath = Annotated[
    str,
    Field(max_length=1024),
    Rule(
        "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
        "must be a relative path with no .. in it",
        holds=lambda path: not path.startswith("/") and ".." not in path.split("/"),
    ),
]
# The grammar of the distribution project (reference/regexp.go), without empty parts and "..", because policies judge an
# image by how its name begins.
_COMPONENT = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
_IMAGE = (
    "^([A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?"
    f"{_COMPONENT}(/{_COMPONENT})*(:[A-Za-z0-9_][-.A-Za-z0-9_]{{0,127}})?(@sha256:[0-9a-f]{{64}})?$"
)
ImageReference = Annotated[
    str,
    Field(min_length=1, max_length=512),
    named(_IMAGE, "must be an image such as registry.example/name:tag or registry.example/name@sha256:<64 digits>"),
]
"""The name of an image, by tag or by the 64 lower-case hexadecimal digits of its digest."""


class OciSource(Part):
    """An OCI image or artifact with the model's files at its root, mounted as an image volume, or copied."""

    image: ImageReference = Field(
        description="Reference, best by digest: registry.example/models/name@sha256:(64 digits)."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When the node asks the registry. Never: only what the node already has."
    )
    pull_secrets: Annotated[tuple[ObjectName, ...], Atomic] = Field(
        default=(), max_length=8, description="Secrets of the namespace with credentials of the registry."
    )
    mount: Literal["Volume", "Copy"] | None = Field(
        default=None,
        description="Volume: an image volume. Copy: the files are copied out of the image when a pod starts, for nodes "
        "that mount no images. Absent: Volume, which Kubernetes can from 1.36 on.",
    )
    size: Quantity | None = Field(
        default=None,
        description="What a copy takes on the node's disk at most, such as 20Gi: kept free there, and its limit.",
    )
    rules = (
        Rule(
            "!has(self.size) || (has(self.mount) && self.mount == 'Copy')",
            "is for mount Copy: an image volume takes no room of its own",
            holds=lambda self: self.size is None or self.mount == "Copy",
            path=".size",
        ),
    )


class ClaimSource(Part):
    """A PersistentVolumeClaim of the namespace that holds the model's files."""

    claim_name: ObjectName = Field(description="Name of the claim.")
    path: _RelativePath = Field(default="", description="Folder in the volume. Empty: its root.")


class S3Source(Part):
    """A prefix in S3-compatible object storage."""

    endpoint: ServerUrl = Field(description="URL of the storage; no default.")
    bucket: Annotated[
        str,
        Field(min_length=3, max_length=63),
        named(
            "^[a-z0-9][-.a-z0-9]*[a-z0-9]$", "must be the name of a bucket: lower-case letters, digits, dashes and dots"
        ),
    ] = Field(description="Name of the bucket.")
    prefix: FolderOfObjects = Field(default="", description="Folder in the bucket: how the names of the objects begin.")
    region: str = Field(default="", max_length=64, description="Region that requests are signed for.")
    credentials_secret: ObjectName | None = Field(
        default=None, description="Secret with accessKeyId, secretAccessKey, or ca.crt to trust. Absent: anonymous."
    )
    into: ClaimSource | None = Field(
        default=None, description="The claim that keeps the imported files. Needed: an engine never fetches."
    )


class HuggingFaceSource(Part):
    """A repository of a Hugging Face compatible hub. It is imported once, never read while serving."""

    repository: Annotated[
        str,
        Field(max_length=192),
        named("^[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*$", "must be organisation/name"),
    ] = Field(description="Repository, as organisation/name.")
    revision: Annotated[
        str,
        Field(max_length=64),
        named("^[0-9a-f]{40}$", "must be a commit: 40 lower-case hexadecimal digits; a branch can change under you"),
    ] = Field(description="Commit: 40 hexadecimal digits.")
    endpoint: ServerUrl | None = Field(default=None, description="URL of a mirror of the hub. Absent: huggingface.co.")
    token_secret: ObjectName | None = Field(default=None, description="Secret with the key token, or ca.crt to trust.")
    into: ClaimSource | None = Field(
        default=None, description="The claim that keeps the imported files. Needed: an engine never fetches."
    )

    @property
    def hub(self) -> str:
        """URL of the hub that is asked."""
        return self.endpoint or "https://huggingface.co"


class HostPathSource(Part):
    """A folder that is on every eligible node. Needs a namespace whose Pod Security level admits host paths."""

    path: Annotated[
        str,
        Field(max_length=1024),
        Rule(
            "self.startsWith('/') && self != '/' && !self.split('/').exists(part, part == '..')",
            "must be an absolute path with no .. in it, and not the root",
            holds=lambda path: path.startswith("/") and path != "/" and ".." not in path.split("/"),
        ),
    ] = Field(description="Absolute path on the node.")


class EndpointSource(Part):
    """A server outside the cluster that has the model already: its weights are its own, and nobody here sees them."""

    statement: ObjectName = Field(
        description="The EndpointStatement that says which server it is, and where it stands."
    )


class Source(Part):
    """Where the weights come from: exactly one."""

    oci: OciSource | None = Field(default=None, description="OCI image or artifact.")
    persistent_volume_claim: ClaimSource | None = Field(default=None, description="PersistentVolumeClaim.")
    s3: S3Source | None = Field(default=None, description="S3-compatible object storage.")
    hugging_face: HuggingFaceSource | None = Field(default=None, description="Hugging Face compatible hub.")
    host_path: HostPathSource | None = Field(default=None, description="Folder on the node.")
    endpoint: EndpointSource | None = Field(
        default=None, description="Server outside the cluster, for the engine external."
    )
    rules = (
        Rule(
            "[has(self.oci), has(self.persistentVolumeClaim), has(self.s3), has(self.huggingFace), has(self.hostPath), "
            "has(self.endpoint)].filter(given, given).size() == 1",
            "give exactly one of oci, persistentVolumeClaim, s3, huggingFace, hostPath, endpoint",
            holds=lambda self: (
                [
                    self.oci,
                    self.persistent_volume_claim,
                    self.s3,
                    self.hugging_face,
                    self.host_path,
                    self.endpoint,
                ].count(None)
                == len(type(self).model_fields) - 1
            ),
        ),
    )


_File = Annotated[
    str,
    Field(min_length=1, max_length=512),
    named(
        "^[A-Za-z0-9_][-A-Za-z0-9._]*(/[A-Za-z0-9_][-A-Za-z0-9._]*)*$",
        "must be the path of a file inside the source, such as model-Q4_K_M.gguf",
    ),
]


class Manifest(Part):
    """A list of files with their SHA-256, in the format of sha256sum."""

    config_map: ObjectName = Field(description="ConfigMap of the namespace that holds the list.")
    key: str = Field(default="SHA256SUMS", min_length=1, max_length=253, description="Key in the ConfigMap.")


class ProfileReference(Part):
    """A profile of the model, so that the operator can size it without its weights."""

    config_map: ObjectName = Field(
        description='ConfigMap of the namespace, with the label bailiwick.dev/profile: "true".'
    )
    key: str = Field(default="profile.json", min_length=1, max_length=253, description="Key in the ConfigMap.")


class ModelSignature(Part):
    """A signature over the model's files (OpenSSF Model Signing)."""

    authority: ObjectName = Field(description="The Authority whose key must have signed.")
    config_map: ObjectName | None = Field(
        default=None, description="ConfigMap with model.sig. Absent: the file lies beside the weights."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights that a model is served with, and all that is said of them. ``where`` is the field that says it.

    ``variant`` is None for those of a model without variants, ``adapter`` for all that are no adapter's: its position.
    """

    where: str
    source: Source
    file: str | None
    digest: str | None
    signature: ModelSignature | None
    variant: str | None = None
    adapter: int | None = None
    manifest: Manifest | None = None
    profile: ProfileReference | None = None
    read_speed: str | None = None
    licence: str | None = None
    quality: str | None = None


_ReadSpeed = Annotated[
    str,
    Field(max_length=18),
    # No quantity of Kubernetes', whose exponents let a short text take the API server minutes: tenants write this.
    named("^[1-9][0-9]{0,14}([kMGT]|[KMGT]i)?$", "must be whole bytes per second above 0, such as 300Mi or 7G"),
]
_READ_SPEED = (
    "Bytes per second at which a node reads these weights while it starts, such as 300Mi. With a profile it says how "
    "long an engine may take to start. Absent: 100Mi are assumed, and an hour at least."
)
_DIGEST = "SHA-256 of the manifest of files, as `bailiwick weights digest` writes it."
_PROFILE = "What sizing needs to know of the model, as `bailiwick plan --write-profile` writes it."
_ONE_DIGEST = Rule(
    "!(has(self.digest) && has(self.manifest))",
    "give digest or manifest, not both",
    holds=lambda self: self.digest is None or self.manifest is None,
    path=".digest",
)


class Variant(Part):
    """One of several forms of a model, such as a quantized one. Which is served is planned."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=63),
        named("^[A-Za-z0-9][-A-Za-z0-9._]*$", "must be a name: letters, digits, dashes, dots and underscores"),
    ] = Field(description="Its name, such as fp8. Clients ask for the model's.")
    quality: PositiveNumber | None = Field(
        default=None,
        description="What an evaluation of yours found, such as 0.82: on one scale for all variants, more is better. "
        "Needed by objective Energy.",
    )
    source: Source = Field(description="Where its weights come from.")
    digest: Digest | None = Field(default=None, description=_DIGEST)
    manifest: Manifest | None = Field(default=None, description="The files and their digests.")
    signature: ModelSignature | None = Field(default=None, description="Signature over the files.")
    profile: ProfileReference = Field(description=f"{_PROFILE} Needed: variants are chosen by it.")
    read_speed: _ReadSpeed | None = Field(default=None, description=_READ_SPEED)
    licence: str | None = Field(
        default=None, max_length=64, description="SPDX identifier of its licence. Absent: the model's."
    )
    rules = (_ONE_DIGEST,)


class Model(Part):
    """The model and where its weights come from."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=253),
        named("^[A-Za-z0-9][-A-Za-z0-9._/:]*$", "must be a name such as organisation/model"),
    ] = Field(description="The name that clients ask for, such as skt/A.X-K1.")
    source: Source | None = Field(default=None, description="Where the weights come from. Absent: variants say it.")
    file: _File | None = Field(
        default=None,
        description="File of the source that is loaded, for engines that load one (llama.cpp). Absent: model.gguf.",
    )
    digest: Digest | None = Field(default=None, description=_DIGEST)
    manifest: Manifest | None = Field(default=None, description="The files and their digests.")
    signature: ModelSignature | None = Field(default=None, description="Signature over the files.")
    profile: ProfileReference | None = Field(default=None, description=_PROFILE)
    read_speed: _ReadSpeed | None = Field(default=None, description=_READ_SPEED)
    licence: str | None = Field(default=None, max_length=64, description="SPDX identifier of the model's licence.")
    variants: Annotated[tuple[Variant, ...], list_map("name")] = Field(
        default=(),
        max_length=16,
        description="Forms of the model in order of preference, instead of source; the plan chooses one of them.",
    )
    rules = (
        _ONE_DIGEST,
        Rule(
            "has(self.source) != (has(self.variants) && self.variants.size() > 0)",
            "give source, or variants that have one each",
            holds=lambda self: (self.source is None) == bool(self.variants),
            path=".source",
        ),
        Rule(
            "!has(self.variants) || self.variants.size() == 0 || ![has(self.file), has(self.digest), "
            "has(self.manifest), has(self.signature), has(self.profile), has(self.readSpeed)].exists(given, given)",
            "digest, manifest, signature, profile and readSpeed belong to each variant, file to none; move them",
            holds=lambda self: (
                not self.variants
                or not (self.file or self.digest or self.manifest or self.signature or self.profile or self.read_speed)
            ),
            path=".variants",
        ),
    )

    @property
    def every(self) -> tuple[Weights, ...]:
        """All weights that the model may be served from, in order of preference: whoever judges it judges each."""
        if self.source is None:
            return tuple(
                _weights(f"spec.model.variants[{each.name}]", each, each.source, each.licence or self.licence)
                for each in self.variants
            )
        return (_weights("spec.model", self, self.source, self.licence),)

    @property
    def endpoint(self) -> EndpointSource | None:
        """The server outside the cluster that serves it; None where an engine inside does."""
        return self.source.endpoint if self.source else None

    @property
    def weights(self) -> Weights:
        """Those that it is served from. Raises ValueError while several variants are left to choose from."""
        (chosen,) = self.every
        return chosen


def _weights(where: str, told: Model | Variant, source: Source, licence: str | None) -> Weights:
    variant = told if isinstance(told, Variant) else None
    return Weights(
        where=where,
        variant=variant.name if variant else None,
        source=source,
        file=None if isinstance(told, Variant) else told.file,
        digest=told.digest,
        manifest=told.manifest,
        signature=told.signature,
        profile=told.profile,
        read_speed=told.read_speed,
        licence=licence,
        quality=variant.quality if variant else None,
    )


class Adapter(Part):
    """A LoRA adapter that is loaded at start."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=63),
        named("^[A-Za-z0-9][-A-Za-z0-9._]*$", "must be a name: letters, digits, dashes, dots and underscores"),
    ] = Field(description="The name that clients ask for.")
    source: Source = Field(description="Where its files come from.")
    file: _File | None = Field(
        default=None,
        description="File of the source that is loaded, for engines that load one (llama.cpp). Absent: adapter.gguf.",
    )
    digest: Digest | None = Field(default=None, description="SHA-256 of the manifest of files.")
    signature: ModelSignature | None = Field(default=None, description="Signature over the files.")
