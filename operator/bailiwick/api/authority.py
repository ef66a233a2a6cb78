"""Authority: whose signature counts, for which facts, and in which jurisdictions."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from bailiwick.api.codes import JurisdictionName
from bailiwick.api.markers import Atomic, MapSet, Rule
from bailiwick.api.names import whole
from bailiwick.api.resource import Assurance, Column, Kind, Part, Resource
from bailiwick.api.timestamps import Timestamp

# SubjectPublicKeyInfo in DER is the same up to the key itself for all keys of a kind, so that a schema can tell kinds
# apart: RFC 8410 for ed25519; RFC 5480 for an uncompressed point on P-256, which PEM breaks after 64 characters. Line
# ends are spelt as what is no printable ASCII, because a backslash would read differently in CEL and in Python.
_ED25519 = "MCowBQYDK2VwAyEA[A-Za-z0-9+/]{43}="
_P256 = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE[A-Za-z0-9+/]{28}[^!-~]{1,2}[A-Za-z0-9+/]{58}=="
_PEM = (
    f"^-----BEGIN PUBLIC KEY-----[^!-~]{{1,2}}({_ED25519}|{_P256})[^!-~]{{1,2}}-----END PUBLIC KEY-----[^!-~]{{0,2}}$"
)
_is_public_key = whole(_PEM)


class Question(StrEnum):
    """What is vouched for: a fact, by the part of a NodeStatement that states it, or the files of models."""

    PLACE = "place"
    CONTROL = "control"
    ORIGIN = "origin"
    MODELS = "models"


class PublicKey(Part):
    """A key that may have signed."""

    pem: str = Field(
        min_length=1,
        max_length=2048,
        description="The key in PEM, as `openssl pkey -pubout` writes it: ed25519 or ECDSA P-256.",
    )
    keyid: str = Field(default="", max_length=256, description="Name by which signatures may hint at the key.")
    not_after: Timestamp | None = Field(
        default=None, description="When everything that the key signed stops counting. Absent: while it is listed."
    )
    rules = (
        # Stands here and not on the field, so that the answer to somebody's private key does not repeat it.
        Rule(
            f"self.pem.matches('{_PEM}')",
            "must be a public key, ed25519 or ECDSA P-256, in PEM: -----BEGIN PUBLIC KEY----- and so on",
            holds=lambda self: _is_public_key(self.pem),
            path=".pem",
        ),
    )


class AuthoritySpec(Part):
    """Keys, and what their signatures are worth."""

    description: str = Field(default="", max_length=256, description="Who it is, and how the keys were obtained.")
    public_keys: Annotated[tuple[PublicKey, ...], Atomic] = Field(
        min_length=1, max_length=16, description="The keys. Remove one, and nothing that it signed counts any more."
    )
    may_vouch_for: Annotated[tuple[Question, ...], MapSet] = Field(
        min_length=1,
        max_length=4,
        description="The questions whose answers it may sign; models: the files of models (OpenSSF Model Signing).",
    )
    jurisdictions: Annotated[tuple[JurisdictionName, ...], MapSet] = Field(
        min_length=1,
        max_length=300,
        description='The only answers that it may sign: countries, subdivisions or named jurisdictions. Quote "NO".',
    )
    assurance: Assurance = Field(
        default=Assurance.VERIFIED,
        description="The highest assurance that it can give. A signature alone never gives more than Verified.",
    )


class Authority(Resource):
    """A key that may vouch for certain facts in certain jurisdictions."""

    presents: ClassVar[Kind] = Kind(
        plural="authorities",
        singular="authority",
        short_names=("auth",),
        columns=(
            Column("Vouches for", ".spec.mayVouchFor"),
            Column("Jurisdictions", ".spec.jurisdictions"),
            Column("Assurance", ".spec.assurance"),
            Column("Description", ".spec.description", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: AuthoritySpec = Field(description="Keys, and what their signatures are worth.")
