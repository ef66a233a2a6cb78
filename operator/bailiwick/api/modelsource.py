"""Where the weights of a model or adapter come from, and how they are recognised."""

from typing import Annotated, Literal

from pydantic import Field

from bailiwick.api.markers import Atomic, Rule
from bailiwick.api.names import Digest, HttpUrl, ObjectName, named
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
    """An OCI image or artifact with the model's files at its root, mounted as an image volume."""

    image: ImageReference = Field(
        description="Reference, best by digest: registry.example/models/name@sha256:(64 digits)."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When the node asks the registry. Never: only what the node already has."
    )
    pull_secrets: Annotated[tuple[ObjectName, ...], Atomic] = Field(
        default=(), max_length=8, description="Secrets of the namespace with credentials of the registry."
    )


class ClaimSource(Part):
    """A PersistentVolumeClaim of the namespace that holds the model's files."""

    claim_name: ObjectName = Field(description="Name of the claim.")
    path: _RelativePath = Field(default="", description="Folder in the volume. Empty: its root.")


class S3Source(Part):
    """A prefix in S3-compatible object storage."""

    endpoint: HttpUrl = Field(description="URL of the storage; no default.")
    bucket: Annotated[
        str,
        Field(min_length=3, max_length=63),
        named(
            "^[a-z0-9][-.a-z0-9]*[a-z0-9]$", "must be the name of a bucket: lower-case letters, digits, dashes and dots"
        ),
    ] = Field(description="Name of the bucket.")
    prefix: str = Field(default="", max_length=1024, description="Prefix of the objects.")
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
    endpoint: HttpUrl | None = Field(default=None, description="URL of a mirror of the hub. Absent: huggingface.co.")
    token_secret: ObjectName | None = Field(default=None, description="Secret with the key token, or ca.crt to trust.")
    into: ClaimSource | None = Field(
        default=None, description="The claim that keeps the imported files. Needed: an engine never fetches."
    )


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


class Model(Part):
    """The model and where its weights come from."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=253),
        named("^[A-Za-z0-9][-A-Za-z0-9._/:]*$", "must be a name such as organisation/model"),
    ] = Field(description="The name that clients ask for, such as skt/A.X-K1.")
    source: Source = Field(description="Where the weights come from.")
    file: _File | None = Field(
        default=None,
        description="File of the source that is loaded, for engines that load one (llama.cpp). Absent: model.gguf.",
    )
    digest: Digest | None = Field(
        default=None, description="SHA-256 of the manifest of files, as `bailiwick weights digest` writes it."
    )
    manifest: Manifest | None = Field(default=None, description="The files and their digests.")
    signature: ModelSignature | None = Field(default=None, description="Signature over the files.")
    profile: ProfileReference | None = Field(
        default=None,
        description="What sizing needs to know of the model, as `bailiwick plan --write-profile` writes it.",
    )
    licence: str | None = Field(default=None, max_length=64, description="SPDX identifier of the model's licence.")
    rules = (
        Rule(
            "!(has(self.digest) && has(self.manifest))",
            "give digest or manifest, not both",
            holds=lambda self: self.digest is None or self.manifest is None,
            path=".digest",
        ),
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
