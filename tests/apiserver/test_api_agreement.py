"""Server and models agree on every kind of value: what one accepts the other reads, and nothing else.

An object that the server has let in and reconcile cannot read would be a policy, or a revocation, that nobody sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bailiwick.api.schema import KINDS
from e2e.client import ApiError, Client
from tests.unit.api.objects import CERTIFICATE, DIGEST, PUBLIC_KEY, TIME, changed
from tests.unit.evidence.keys import P256, pem_of

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.apiserver

READ = {kind.__name__: kind for kind in KINDS}
EXAMPLES = 80
POINT = pem_of(P256)
BAD_REQUEST, UNPROCESSABLE = 400, 422


def values(alphabet: str, *seeds: Any) -> st.SearchStrategy[Any]:
    """The seeds, the seeds with one character changed, and strings from an alphabet."""
    texts = [seed for seed in seeds if isinstance(seed, str) and seed]
    characters = st.sampled_from(alphabet + " \n-/.\uff21\u0130")
    mutated = st.builds(
        lambda text, at, character: text[: at % len(text)] + character + text[at % len(text) + 1 :],
        st.sampled_from(texts),
        st.integers(0, 200),
        characters,
    )
    return st.one_of(st.sampled_from(seeds), mutated, st.text(characters, max_size=12))


FIELDS: Mapping[str, tuple[str, str, st.SearchStrategy[Any]]] = {
    "a place": ("NodeStatement", "spec.place.jurisdiction", values("DEBYGUKCH19", "DE", "DE-BY", "GB-SCT", "UK", "EU")),
    "a public key": (
        "Authority",
        "spec.publicKeys.0.pem",
        values(
            "MAab09+=", PUBLIC_KEY, PUBLIC_KEY.strip(), PUBLIC_KEY.replace("\n", "\r\n"), POINT, POINT + "x", DIGEST
        ),
    ),
    "a certificate": (
        "Authority",
        "spec.certificates.0.pem",
        values("MAab09+=", CERTIFICATE, CERTIFICATE.strip(), CERTIFICATE.replace("\n", "\r\n"), PUBLIC_KEY, DIGEST),
    ),
    "a jurisdiction": (
        "ResidencyPolicy",
        "spec.place.allow.0",
        values("DEBYGUKCH19", "DE", "EU", "EEA", "GDPR-ADEQUATE", "UK", "DE-BAYERN", "A1B-2", "D"),
    ),
    "a duration": (
        "ResidencyPolicy",
        "spec.place.maxAge",
        values("0123456789hms", "720h", "1h30m", "90s", "1s1h", "999999h999999m999999999s", "1000000h", "-5m", "0s", 5),
    ),
    "an address range": (
        "ResidencyPolicy",
        "spec.network.egress.0.cidr",
        values(
            "0123456789abcf:%",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/48",
            "2001:DB8::/48",
            "10.0.0.0/08",
            "10.0.0.1/32",
            "::ffff:0:0/96",
            "10.0.0.0",
            "1.2.3.4/-0",
            "fe80::/10",
            "1::2::3/64",
            "10.0.0.0/8/8",
        ),
    ),
    "a label key": (
        "ResidencyPolicy",
        "spec.namespaceSelector.matchExpressions.0.key",
        values("aZ0_", "team", "example.com/team", "Example.com/team", "a/b/c", "a" * 63, "a" * 64, "_a", "a_"),
    ),
    "a label value": (
        "ResidencyPolicy",
        "spec.namespaceSelector.matchExpressions.0.values.0",
        values("aZ0_", "", "production", "a" * 63, "a" * 64, "-a", "a."),
    ),
    "the name of an object": (
        "ResidencyPolicy",
        "spec.storage.classes.0",
        values("aZ0_", "fast", "fast.ssd", "Fast", "a" * 253, "a" * 254, "-a"),
    ),
    "a URL": (
        "ResidencyPolicy",
        "spec.basis.0.uri",
        st.sampled_from(
            [
                "https://a.example/b?c#d",
                "http://[::1]:80",
                "HTTPS://a.example",
                "ftp://a",
                "a.example",
                "/a",
                "https://",
                "https:///a",
                "http://a:80",
                "http://a b",
                "://a",
                "",
                "https://\u00e4.example",
            ]
        ),
    ),
    "an allowed source": (
        "ResidencyPolicy",
        "spec.models.sources.0",
        values(
            "aZ:[]@+?%",
            "s3://storage.example:9000/models/tiny",
            "s3+http://storage.example",
            "hf://huggingface.co/clinic/",
            "hf://[2001:db8::7]/a b",
            "s3://",
            "hf:///a",
            "s3+https://storage.example",
            "https://storage.example",
            "oci://",
            "pvc://weights/a b",
            "endpoint://mac-1",
            "hostpath:///srv",
        ),
    ),
    "the URL of a server": (
        "SovereignModel",
        "spec.model.source",
        st.builds(
            lambda endpoint: {"s3": {"endpoint": endpoint, "bucket": "models"}},
            values(
                "aZ09:[]@?#%\\_~",
                "https://storage.example:9000",
                "http://s3.example/a/b",
                "https://[2001:db8::7]:9000/a",
                "https://[::]",
                "https://[::1.2.3.4]",
                "https://[1:0:2:3:4:5:6:7]",
                "https://[1.2.3.4]",
                "https://a:65535",
                "https://a:65536",
                "https://a/..",
                "https://a/...",
                "https://a/a..",
                "https://a.",
                "https://-a",
            ),
        ),
    ),
    "a folder of objects": (
        "SovereignModel",
        "spec.model.source",
        st.builds(
            lambda prefix: {"s3": {"endpoint": "https://a", "bucket": "models", "prefix": prefix}},
            values(
                "a.%?#\\\x7f\t\u2028\u00e4=", "", "a/b", "a/b/", "a//b", "../a", "a/..", "...", "a/.../b", "run=1", "/"
            ),
        ),
    ),
    "an image": (
        "SovereignModel",
        "spec.model.source.oci.image",
        values(
            "aZ0:@_", "registry.example:5000/a/b:tag", f"a@{DIGEST}", f"a:1@{DIGEST}", f"a@{DIGEST}0", "A", "a@", "/a"
        ),
    ),
    "a digest": (
        "SovereignModel",
        "spec.adapters.0.digest",
        values("0123abcdefg", DIGEST, DIGEST.upper(), DIGEST[:-1]),
    ),
    "an argument": (
        "SovereignModel",
        "spec.engine.arguments.0",
        values(
            "-=_.+Tno",
            "--dtype",
            "--dtype=a.b",
            "--no-dtype",
            "--no-no-dtype",
            "---no-dtype",
            "--max_logprobs",
            "--no_dtype",
            "--a--no-dtype",
            "--dtype+",
            "--dtype.a.b=c",
            "-1",
            "-1.5",
            "-",
            "--",
            "-O3",
            "-O=2",
            "-O4",
            "-tp",
            "x\ny",
            "-1\n",
            "--trust-remote-code",
        ),
    ),
    "devices per replica": (
        "SovereignModel",
        "spec.accelerators.perReplica",
        st.sampled_from([0, 1, 1024, 1025, -1, "auto", "Auto", "1", ""]),
    ),
    "a relative path": (
        "SovereignModel",
        "spec.model.source",
        st.builds(
            lambda path: {"persistentVolumeClaim": {"claimName": "w", "path": path}},
            values("a./", "", "a/b", "../a", "a/..", "a/../b", "..a", "/a", "a//b"),
        ),
    ),
    "a path on the node": (
        "SovereignModel",
        "spec.model.source",
        st.builds(lambda path: {"hostPath": {"path": path}}, values("a./", "/", "/a", "/a/..", "//", "a", "/..a", "")),
    ),
    "a speed": (
        "SovereignModel",
        "spec.model.readSpeed",
        values(
            "0123456789eEimkKMGT.+", "300Mi", "0", "999m", "1", "7G", "1e9", "1e999999999", "9" * 15, "9" * 16, "Gi"
        ),
    ),
    "a quantity": (
        "AcceleratorClass",
        "spec.memory",
        values(
            "0123456789eEimkKMG+",
            "80Gi",
            "Gi",
            "E",
            "e5",
            ".",
            "500m",
            "1e3",
            "1E",
            "1e",
            ".5",
            "5.",
            "+4",
            "-0",
            "-1",
            "1Ki",
            "1ki",
            "1K",
            "1e99",
            "1e100",
            "1E+999999999",
            0,
            4,
            -1,
            2**40,
            "1e9",
            "0.1n",
            "1E3",
            "99999999999999999999",
        ),
    ),
    "a day": (
        "Jurisdiction",
        "spec.asOf",
        values(
            "0123456789T",
            "2026-01-01",
            "1899-12-31",
            "1900-01-01",
            "0000-01-01",
            "2026-02-30",
            "2024-02-29",
            "2026-1-1",
            "9999-12-31",
            "20260101",
            "2026-W01-1",
            TIME,
            20260101,
        ),
    ),
    "an address": (
        "EndpointStatement",
        "spec.endpoint.address",
        values(
            "0123456789abcdef:.%",
            "192.0.2.7",
            "2001:db8::7",
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",  # noqa: S104 - nothing is bound
            "::",
            "fe80::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2001:db8:0:1::7",
            "192.0.2.07",
        ),
    ),
    "certificates": (
        "EndpointStatement",
        "spec.endpoint.certificateAuthority",
        values("MAab09+=", CERTIFICATE, CERTIFICATE + CERTIFICATE, CERTIFICATE.replace("\n", "\r\n"), PUBLIC_KEY),
    ),
    "a time": (
        "NodeStatement",
        "spec.issuedAt",
        values(
            "0123456789TZ+:",
            TIME,
            "2026-11-01t00:00:00z",
            "2026-11-01T00:00:00+25:00",
            "2026-11-01T00:00:00+24:60",
            "1970-01-01T00:00:00Z",
            "2026-11-01T00:00:00,5Z",
            "2026-11-01T24:00:00Z",
            "2026-11-01T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "1969-12-31T23:59:59-00:01",
            "2026-11-01T00:00:00-00:00",
            "2026-11-01T00:00:00.1234567890123Z",
            "2026-11-01 00:00:00Z",
            "2026-11-01T00:00:00",
            "2026-02-30T00:00:00Z",
            [TIME],
            [],
            5,
        ),
    ),
}


def server_accepts(client: Client, manifest: dict[str, Any]) -> bool:
    namespace = "default" if manifest["kind"] == "SovereignModel" else None
    try:
        client.create(manifest, namespace=namespace, dry_run=True)
    except ApiError as refused:
        if refused.code not in (BAD_REQUEST, UNPROCESSABLE):
            raise
        return False
    return True


def models_read(manifest: dict[str, Any]) -> bool:
    try:
        READ[manifest["kind"]].read(manifest)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("what", FIELDS)
def test_server_and_models_agree_on(client: Client, what: str) -> None:
    kind, path, strategy = FIELDS[what]
    seen = set()

    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def agree(value: Any) -> None:
        manifest = changed(kind, {path: value})
        accepted = server_accepts(client, manifest)
        assert models_read(manifest) == accepted, f"{value!r}: {'accepted' if accepted else 'refused'} by the server"
        seen.add(accepted)

    agree()
    assert seen == {True, False}
