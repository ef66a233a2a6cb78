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

from bailiwick.cluster.errors import NotFound
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
_STAGED = "bailiwick.dev/staged-at"

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
    """What the Secret holds: the pair that is served, and the one that will be, since when it is shown."""

    version: str
    current: Pair | None
    staged: Pair | None
    staged_at: datetime | None

    @classmethod
    def read(cls, secret: Raw) -> Kept:
        """From the Secret; whatever cannot be read is not there, and will be made anew."""
        data, annotations = secret.get("data") or {}, secret["metadata"].get("annotations") or {}
        return cls(
            version=secret["metadata"]["resourceVersion"],
            current=_pair(data, "tls"),
            staged=_pair(data, "next"),
            staged_at=_moment(annotations.get(_STAGED)),
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
            pair = make_pair(self._names, now=now, lifetime=self._lifetime)
            await self._write(kept, {**_data("tls", pair), "next.crt": None, "next.key": None}, staged_at=None)
            logger.info("made a certificate that ends on %s", pair.until)
            await self._show([pair])
            return pair
        if kept.staged is None:
            if now >= kept.current.until - self._lifetime / 3:
                pair = make_pair(self._names, now=now, lifetime=self._lifetime)
                await self._write(kept, _data("next", pair), staged_at=now)
                logger.info("the certificate ends on %s; the next one is shown now", kept.current.until)
                await self._show([kept.current, pair])
            else:
                await self._show([kept.current])
            return kept.current
        await self._show([kept.current, kept.staged])
        if kept.staged_at is None or now < kept.staged_at + self._settle:
            if kept.staged_at is None:
                await self._write(kept, {}, staged_at=now)
            return kept.current
        await self._write(kept, {**_data("tls", kept.staged), "next.crt": None, "next.key": None}, staged_at=None)
        logger.info("the next certificate is served now; it ends on %s", kept.staged.until)
        return kept.staged

    async def _write(self, kept: Kept, data: Mapping[str, str | None], *, staged_at: datetime | None) -> None:
        staged = staged_at.isoformat() if staged_at else None
        metadata = {"resourceVersion": kept.version, "annotations": {_STAGED: staged}}
        await self._api.patch_merge(SECRETS, NAME, self._namespace, {"metadata": metadata, "data": dict(data)})

    async def _show(self, pairs: Sequence[Pair]) -> None:
        """Let the API server trust these. What it trusted before stays until it ends: a replica may still serve it."""
        try:
            configuration = await self._api.get(CONFIGURATIONS, NAME)
        except NotFound:
            return  # Helm makes it last, and with --wait only once we are ready
        metadata = configuration["metadata"]
        operations: list[Raw] = []
        for position, webhook in enumerate(configuration.get("webhooks") or []):
            shown = webhook["clientConfig"].get("caBundle") or ""
            wanted = bundle([pair.certificate for pair in pairs], base64.b64decode(shown), self._now())
            if base64.b64decode(shown) != wanted:
                path = f"/webhooks/{position}/clientConfig/caBundle"
                operations.append({"op": "add", "path": path, "value": base64.b64encode(wanted).decode()})
        if operations:
            version = {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
            await self._api.patch_json(CONFIGURATIONS, NAME, None, [version, *operations])


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
