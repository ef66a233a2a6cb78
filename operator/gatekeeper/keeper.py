"""Looks at the mounted Secrets every second, and lets HAProxy have what they say.

    GATE_API_KEYS     folder of the Secret with API keys
    GATE_TOKEN_KEYS   folder of the Secret with the token issuer's keys; GATE_TOKEN_AUDIENCES is a JSON list
    GATE_TLS          folder of the kubernetes.io/tls Secret
    GATE_CLIENT_CA    folder of the Secret with the CA of client certificates
    GATE_RUN          a folder of its own, in memory
    ENDPOINT_CA       certificates by which a server outside is recognised, where the gate leads to one

It is told to stop by a signal, and lets HAProxy finish for GATE_DRAIN_SECONDS (10).

New API keys go into the running HAProxy. For anything else a new HAProxy takes over the listeners while the old one
finishes what it has begun. What is broken when the gate starts ends it, so that the model's status tells; what breaks
later changes nothing, and the log tells. An API key that is gone is refused from the next request on.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from pathlib import Path

from gatekeeper import apikeys, jwks
from gatekeeper.mounted import Broken, Contents, contents, required
from gatekeeper.proxy import SIGNALS, Proxy, replace_by_haproxy

LOOK_SECONDS = 1.0
STOP_SECONDS = 10.0
ENDPOINT_CA = "ENDPOINT_CA"
_SECRETS = {
    "GATE_API_KEYS": "with API keys",
    "GATE_TOKEN_KEYS": "with the token issuer's keys",
    "GATE_TLS": "with the certificate",
    "GATE_CLIENT_CA": "with the CA of client certificates",
}


def main() -> int:
    """Serve until told to stop. The exit status is HAProxy's, or 1 when a Secret is missing or broken."""
    environment = dict(os.environ)
    program = [environment.get("GATE_HAPROXY", "haproxy")]
    configuration = environment.get("GATE_CONFIGURATION", "/etc/haproxy/haproxy.cfg")
    if not any(environment.get(name) for name in (*_SECRETS, ENDPOINT_CA)):
        replace_by_haproxy(program, configuration)
    # From here on a signal waits until `_wait` asks for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    run = Path(environment.get("GATE_RUN", "/run/gate"))
    keeper = Keeper(environment, run, Proxy(program=program, configuration=configuration, run=run))
    try:
        keeper.start()
    except Broken as reason:
        sys.stderr.write(f"the gate does not start: {reason}\n")
        return 1
    return keeper.keep()


class Keeper:
    """What the gate has of each Secret, and what it does when that changes."""

    def __init__(self, environment: dict[str, str], run: Path, proxy: Proxy) -> None:
        salt = os.urandom(32)
        self._salt = salt
        self._run = run
        self._proxy = proxy
        self._folders = {name: Path(environment[name]) for name in _SECRETS if environment.get(name)}
        self._seen: dict[str, Contents] = {}
        self._generation = 0
        self._drain_seconds = float(environment.get("GATE_DRAIN_SECONDS", STOP_SECONDS))
        self._endpoint_ca = environment.get(ENDPOINT_CA)
        self._environment = {
            **{name: value for name, value in environment.items() if name != ENDPOINT_CA},
            "GATE_RUN": str(run),
            "GATE_SALT": base64.b64encode(salt).decode(),
            # A replaced HAProxy finishes what it has begun. When the gate ends, we see to it that it does.
            "GATE_STOP_TIMEOUT": "24h",
        }

    def start(self) -> None:
        """Start to serve. Raises Broken, and then does not."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._seen = self._look()
        for name in self._folders:
            if not self._seen[name]:
                raise Broken(
                    f"the Secret {_SECRETS[name]} is missing or empty, so nobody could be let in; create it, or "
                    f"correct its name in spec.serving of the model"
                )
        if self._endpoint_ca:
            _write(self._run / "endpoint.pem", self._endpoint_ca.splitlines())
        if "GATE_API_KEYS" in self._folders:
            self._write_keys(self._seen["GATE_API_KEYS"])
        if "GATE_TOKEN_KEYS" in self._folders:
            self._write_tokens(self._seen["GATE_TOKEN_KEYS"])
        self._serve()

    def keep(self) -> int:
        """Follow the Secrets until told to stop, or until HAProxy ends."""
        while not _told_to_stop():
            if (status := self._proxy.ended) is not None:
                self._proxy.stop(0)
                return status or 1
            self._proxy.reap()
            now = self._look()
            changed = {name for name in self._folders if now[name] != self._seen[name]}
            self._seen = now
            if "GATE_API_KEYS" in changed:
                self._renew_keys(now["GATE_API_KEYS"])
            for name in changed - {"GATE_API_KEYS"}:
                self._renew(name)
        self._proxy.stop(self._drain_seconds)
        return 0

    def _look(self) -> dict[str, Contents]:
        return {name: contents(folder) for name, folder in self._folders.items()}

    def _renew_keys(self, told: Contents) -> None:
        try:
            lines = self._write_keys(told)
            self._proxy.replace_map(self._run / "keys.map", lines)
        except (Broken, OSError) as reason:
            _say(f"the API keys of before stay in force: {reason}")
        else:
            _say(f"API keys of {len(lines)} callers are in force" + ("" if lines else ": nobody is let in by one"))

    def _write_keys(self, told: Contents) -> list[str]:
        lines = apikeys.as_map(apikeys.callers(told, self._salt))
        _write(self._run / "keys.map", lines)
        return lines

    def _renew(self, name: str) -> None:
        secret, before = f"the Secret {_SECRETS[name]}", self._environment.get("GATE_TOKENS")
        try:
            if name == "GATE_TOKEN_KEYS":
                self._write_tokens(self._seen[name])
            self._serve()
        except (Broken, OSError) as reason:
            if before:
                self._environment["GATE_TOKENS"] = before
            _say(f"{secret} changed, and what was before stays in force: {reason}")
        else:
            _say(f"{secret} changed, and is in force")

    def _serve(self) -> None:
        """Check the certificates, and let HAProxy serve with all there is. Raises Broken; then nothing has changed."""
        files = [f"{self._environment['GATE_TOKENS']}/keys.cfg"] if "GATE_TOKENS" in self._environment else []
        if "GATE_TLS" in self._folders:
            for name in ("tls.crt", "tls.key"):
                required(self._seen["GATE_TLS"], name, _SECRETS["GATE_TLS"])
        if "GATE_CLIENT_CA" in self._folders:
            required(self._seen["GATE_CLIENT_CA"], "ca.crt", _SECRETS["GATE_CLIENT_CA"])
        self._proxy.serve(self._environment, files)
        for folder in self._run.glob("tokens-*"):
            if str(folder) != self._environment.get("GATE_TOKENS"):
                _remove(folder)

    def _write_tokens(self, told: Contents) -> None:
        """What HAProxy needs to verify tokens: public keys, where to find each, and whom tokens are for.

        Raises Broken; then the keys of before are still those that HAProxy is started with.
        """
        if not self._environment.get("GATE_TOKEN_ISSUER"):
            raise Broken("GATE_TOKEN_ISSUER is missing: expected the iss of tokens")
        keys, left_out = jwks.keys(told)
        for reason in left_out:
            _say(reason)
        # In a folder of its own: HAProxy reads it once, and what serves now must be able to start again.
        self._generation += 1
        folder = self._run / f"tokens-{self._generation}"
        _remove(folder)  # of a gate that ran here before: the folder outlives a container
        folder.mkdir()
        for number, key in enumerate(keys):
            _write(folder / f"{number}.pem", key.pem.splitlines())
        _write(folder / "keys.map", [f"{key.name} {folder}/{number}.pem" for number, key in enumerate(keys)])
        _write(folder / "audiences", _audiences(self._environment))
        # HAProxy knows only keys that its configuration names somewhere.
        named = [
            f"    http-request set-var(txn.unused) str(),jwt_verify({key.algorithm},{folder}/{number}.pem)"
            for number, key in enumerate(keys)
        ]
        _write(folder / "keys.cfg", ["backend token_keys", *named])
        self._environment["GATE_TOKENS"] = str(folder)


def _audiences(environment: dict[str, str]) -> list[str]:
    try:
        told = json.loads(environment.get("GATE_TOKEN_AUDIENCES", "[]"))
    except ValueError as error:
        raise Broken(f"GATE_TOKEN_AUDIENCES is no JSON: {error}") from error
    if not isinstance(told, list) or not told or not all(isinstance(each, str) and each for each in told):
        raise Broken("GATE_TOKEN_AUDIENCES is wrong: expected a JSON list of names, with one at least")
    return told


def _remove(folder: Path) -> None:
    if folder.exists():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _told_to_stop() -> bool:
    """Wait until it is time to look again; true when the gate is to end."""
    heard = signal.sigtimedwait(SIGNALS, LOOK_SECONDS)
    return heard is not None and heard.si_signo != signal.SIGCHLD


def _write(path: Path, lines: list[str]) -> None:
    """A file that is there whole or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text("".join(f"{line}\n" for line in lines))
    unfinished.rename(path)


def _say(message: str) -> None:
    sys.stdout.write(json.dumps({"time": round(time.time(), 3), "gate": message}, ensure_ascii=False) + "\n")
    sys.stdout.flush()
