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

# What every X.509 certificate of version 3 begins with (RFC 5280, 4.1), and no key does: two sequences with their
# lengths, the version and the tag of a serial number; the second length takes one byte or two.
_X509 = "MII[A-Za-z0-9+/]{3}(CC[A-Za-z0-9+/]{3}gAwIBAg|CB[A-Za-z0-9+/]{2}ADAgECAg)"
_CERTIFICATE = (
    f"^-----BEGIN CERTIFICATE-----[^!-~]{{1,2}}{_X509}[A-Za-z0-9+/]{{0,64}}"
    "([^!-~]{1,2}[A-Za-z0-9+/]{1,76})*={0,2}[^!-~]{1,2}-----END CERTIFICATE-----[^!-~]{0,2}$"
)
_is_certificate = whole(_CERTIFICATE)


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


class Signer(Part):
    """One identity that a certificate may have: exactly one of its names."""

    subject: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Its whole subject, as `openssl x509 -noout -subject -nameopt RFC2253` writes it.",
    )
    email: str | None = Field(
        default=None, min_length=1, max_length=320, description="An address among its subject alternative names."
    )
    uri: str | None = Field(
        default=None, min_length=1, max_length=512, description="A URI among its subject alternative names."
    )
    rules = (
        Rule(
            "[has(self.subject), has(self.email), has(self.uri)].filter(given, given).size() == 1",
            "give exactly one of subject, email, uri",
            holds=lambda self: [self.subject, self.email, self.uri].count(None) == 2,  # noqa: PLR2004 - of three
        ),
    )


class RootCertificate(Part):
    """A certificate whose holder says by certificates who may sign models."""

    pem: str = Field(min_length=1, max_length=8192, description="The certificate in PEM: one, of a CA.")
    signers: Annotated[tuple[Signer, ...], Atomic] = Field(
        default=(),
        max_length=16,
        description="Whose signatures count. Absent: of everybody whom the CA gave a certificate for signing code.",
    )
    rules = (
        # Stands here and not on the field, so that the answer to somebody's private key does not repeat it.
        Rule(
            f"self.pem.matches('{_CERTIFICATE}')",
            "must be one X.509 certificate in PEM: -----BEGIN CERTIFICATE----- and so on, and no key",
            holds=lambda self: _is_certificate(self.pem),
            path=".pem",
        ),
    )


_STATED = frozenset({Question.PLACE, Question.CONTROL, Question.ORIGIN})


class AuthoritySpec(Part):
    """Keys and certificates, and what signatures by them are worth."""

    description: str = Field(default="", max_length=256, description="Who it is, and how the keys were obtained.")
    public_keys: Annotated[tuple[PublicKey, ...], Atomic] = Field(
        default=(), max_length=16, description="The keys. Remove one, and nothing that it signed counts any more."
    )
    certificates: Annotated[tuple[RootCertificate, ...], Atomic] = Field(
        default=(),
        max_length=8,
        description="Certificates of CAs, for models that are signed by certificate. Remove one, and nothing that was "
        "signed by its certificates counts any more.",
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
    rules = (
        Rule(
            "(has(self.publicKeys) && size(self.publicKeys) > 0) || "
            "(has(self.certificates) && size(self.certificates) > 0)",
            "give publicKeys, certificates or both: without them nothing can be signed",
            holds=lambda self: bool(self.public_keys or self.certificates),
            path=".publicKeys",
        ),
        Rule(
            "(has(self.publicKeys) && size(self.publicKeys) > 0) || self.mayVouchFor.all(each, each == 'models')",
            "give publicKeys: place, control and origin are stated by NodeStatements, which are signed by key; "
            "certificates vouch for models alone",
            holds=lambda self: bool(self.public_keys) or not _STATED & set(self.may_vouch_for),
            path=".publicKeys",
        ),
    )


class Authority(Resource):
    """Keys and certificates that may vouch for certain facts in certain jurisdictions."""

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

    spec: AuthoritySpec = Field(description="Keys and certificates, and what signatures by them are worth.")
