"""The certificate by which the webhook is recognised: made here when nobody else makes it, and renewed in time.

All replicas do the same without a leader. What there is lies in one Secret, and every write of it names the version
that was read, so the first one wins and the others take what it wrote. A new certificate is first only shown to the API
server, in the caBundle beside the old one; some time later, when every API server knows it, the replicas serve it.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bailiwick.cluster.resources import SECRETS, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bailiwick.cluster.api import Api, Raw

CONFIGURATIONS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
NAME = "bailiwick-admission"
"""Of the Secret and of the webhook configuration, which the chart both makes: roles name them."""
LIFETIME = timedelta(days=90)
_SKEW = timedelta(minutes=5)
_SETTLE = timedelta(seconds=60)
_SHOWN = "bailiwick.dev/next-shown-at"

_NO_NEXT = {"next.crt": None, "next.key": None}

logger = logging.getLogger(__name__)


class Pair(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    @property
    def until(self) -> datetime:
        """When the certificate ends."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc


def make_pair(names: Sequence[str], *, now: datetime, lifetime: timedelta) -> Pair:
    """A self-signed certificate for some DNS names, which can sign nothing: no key of a CA lies about."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the Secret holds: the pair that is served, and the one that will be, since when the caBundle has both."""

    version: str
    current: Pair | None
    next: Pair | None
    shown_at: datetime | None

    @classmethod
    def read(cls, secret: Raw) -> Kept:
        """From the Secret; whatever cannot be read is not there, and will be made anew."""
        data, annotations = secret.get("data") or {}, secret["metadata"].get("annotations") or {}
        return cls(
            version=secret["metadata"]["resourceVersion"],
            current=_pair(data, "tls"),
            next=_pair(data, "next"),
            shown_at=_moment(annotations.get(_SHOWN)),
        )


class Certificates:
    """Keeps the Secret and the caBundle right. `keep` is called now and again, and after any error."""

    def __init__(
        self,
        *,
        api: Api,
        namespace: str,
        names: Sequence[str],
        now: Callable[[], datetime],
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._names = names
        self._now = now
        self._lifetime = lifetime
        self._settle = min(_SETTLE, lifetime / 6)

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return min(30.0, self._lifetime.total_seconds() / 30)

    async def keep(self) -> Pair:
        """Do the one step that is due, and return the pair to serve. Raises ApiError; Conflict: look again at once."""
        kept = Kept.read(await self._api.get(SECRETS, NAME, self._namespace))
        now = self._now()
        if kept.current is None or kept.current.until <= now:
            pair = self._make(now)
            await self._write(kept, {**_data("tls", pair), **_NO_NEXT}, shown_at=None)
            await self._show([pair])
            return pair
        if kept.next is None:
            await self._show([kept.current])
            if now >= kept.current.until - self._lifetime / 3:
                await self._write(kept, _data("next", self._make(now)), shown_at=None)
            return kept.current
        changed = await self._show([kept.current, kept.next])
        if changed or kept.shown_at is None:
            # The time to settle counts from here: whoever wrote the caBundle, it has both now.
            await self._write(kept, {}, shown_at=now)
            return kept.current
        if now < kept.shown_at + self._settle:
            return kept.current
        await self._write(kept, {**_data("tls", kept.next), **_NO_NEXT}, shown_at=None)
        logger.info("the next certificate is served now; it ends on %s", kept.next.until)
        return kept.next

    def _make(self, now: datetime) -> Pair:
        pair = make_pair(self._names, now=now, lifetime=self._lifetime)
        logger.info("made a certificate that ends on %s", pair.until)
        return pair

    async def _write(self, kept: Kept, data: Mapping[str, str | None], *, shown_at: datetime | None) -> None:
        shown = shown_at.isoformat() if shown_at else None
        metadata = {"resourceVersion": kept.version, "annotations": {_SHOWN: shown}}
        await self._api.patch_merge(SECRETS, NAME, self._namespace, {"metadata": metadata, "data": dict(data)})

    async def _show(self, pairs: Sequence[Pair]) -> bool:
        """Let the API server trust these; whether that changed anything. Raises NotFound: nobody would call us.

        What it trusted before stays until it ends: a replica may still serve it.
        """
        configuration = await self._api.get(CONFIGURATIONS, NAME)
        operations: list[Raw] = []
        for position, webhook in enumerate(configuration.get("webhooks") or []):
            shown = base64.b64decode(webhook["clientConfig"].get("caBundle") or "")
            wanted = bundle([pair.certificate for pair in pairs], shown, self._now())
            if shown != wanted:
                path = f"/webhooks/{position}/clientConfig/caBundle"
                operations.append({"op": "add", "path": path, "value": base64.b64encode(wanted).decode()})
        if operations:
            version = configuration["metadata"]["resourceVersion"]
            guard = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
            await self._api.patch_json(CONFIGURATIONS, NAME, None, [guard, *operations])
        return bool(operations)


def bundle(certificates: Sequence[bytes], shown: bytes, now: datetime) -> bytes:
    """These certificates, and of those shown before the ones that still hold; each once, in a stable order."""
    try:
        known = x509.load_pem_x509_certificates(shown) if shown.strip() else []
    except ValueError:
        known = []
    kept = [each for each in known if each.not_valid_after_utc > now]
    wanted = [x509.load_pem_x509_certificate(each) for each in certificates]
    every = dict.fromkeys([*kept, *wanted])
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in every)


def _data(stem: str, pair: Pair) -> dict[str, str | None]:
    encoded = [base64.b64encode(part).decode() for part in pair]
    return {f"{stem}.crt": encoded[0], f"{stem}.key": encoded[1]}


def _pair(data: Mapping[str, str], stem: str) -> Pair | None:
    try:
        pair = Pair(base64.b64decode(data[f"{stem}.crt"]), base64.b64decode(data[f"{stem}.key"]))
        key = serialization.load_pem_private_key(pair.key, None)
        certificate = x509.load_pem_x509_certificate(pair.certificate)
    except (KeyError, ValueError, TypeError):
        return None
    return pair if certificate.public_key() == key.public_key() else None


def _moment(written: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(written).astimezone(UTC) if written else None
    except ValueError:
        return None
