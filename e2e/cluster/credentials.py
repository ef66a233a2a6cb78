"""Certificates and kubeconfigs of an API server that runs for a test, made by the openssl command in milliseconds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from e2e.cluster.steps import ClusterError, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DAYS = "2"
SERVER_NAMES = "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder of its own; what it signs lies there too."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            raise ClusterError("openssl is missing: it makes certificates. Install the package openssl.")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.pair = Pair(folder / "ca.crt", folder / "ca.key")
        run("openssl", "req", "-x509", *_new_key(self.pair.key), "-subj", "/CN=bailiwick-test-ca", "-days", DAYS,
            "-out", self.pair.certificate)  # fmt: skip

    def server(self) -> Pair:
        """The serving certificate for loopback."""
        return self._sign(
            "server", "/CN=kube-apiserver", f"extendedKeyUsage=serverAuth\nsubjectAltName={SERVER_NAMES}\n"
        )

    def client(self, file: str, user: str, groups: Sequence[str]) -> Pair:
        """A client certificate: Kubernetes takes the common name for the user and organisations for groups."""
        subject = "".join(f"/O={_escaped(group)}" for group in groups) + f"/CN={_escaped(user)}"
        return self._sign(file, subject, "extendedKeyUsage=clientAuth\n")

    def signing_key(self) -> Pair:
        """Key and public key that sign service account tokens (RSA, which every API server takes)."""
        pair = Pair(self._folder / "service-accounts.pub", self._folder / "service-accounts.key")
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pair.key)
        run("openssl", "pkey", "-in", pair.key, "-pubout", "-out", pair.certificate)
        return pair

    def _sign(self, file: str, subject: str, extensions: str) -> Pair:
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        request, extra = self._folder / f"{file}.csr", self._folder / f"{file}.ext"
        extra.write_text(extensions)
        run("openssl", "req", *_new_key(pair.key), "-subj", subject, "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-extfile", extra, "-days", DAYS, "-CAcreateserial",
            "-CA", self.pair.certificate, "-CAkey", self.pair.key, "-out", pair.certificate)  # fmt: skip
        return pair


def write_kubeconfig(file: Path, *, url: str, authority: Path, user: str, pair: Pair) -> Path:
    """A kubeconfig with one context, whose certificates are files beside it."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": user, "user": {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}}],
        "contexts": [{"name": user, "context": {"cluster": "test", "user": user}}],
        "current-context": user,
    }
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    file.chmod(0o600)
    return file


def _new_key(key: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)


def _escaped(name: str) -> str:
    """A name inside openssl's ``-subj``, where a slash begins the next part."""
    return name.replace("\\", "\\\\").replace("/", "\\/")
