"""The real controller of LeaderWorkerSets as a process beside an API server, with its webhooks and no more than its
rights."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import httpx

from e2e.client import LOCAL, documents, eventually
from e2e.cluster.apiserver import free_ports
from e2e.cluster.binaries import binary, module_folder
from e2e.cluster.steps import log_file, started, tail

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.client import Manifest
    from e2e.cluster.apiserver import ApiServer

MODULE = "sigs.k8s.io/lws"
SYSTEM = "lws-system"
IDENTITY = f"system:serviceaccount:{SYSTEM}:lws-controller-manager"
RBAC = "rbac.authorization.k8s.io"
KINDS = (
    "leaderworkerset.x-k8s.io_leaderworkersets.yaml",
    "disaggregatedset.x-k8s.io_disaggregatedsets.yaml",  # its controller does not start without them
)


class GroupController:
    """`lws-controller`, whose webhooks the API server asks on loopback."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._webhooks, self._probes = free_ports(2)
        self.log = log_file(f"lws-{os.getpid()}-{self._probes}")
        config = module_folder(MODULE, "lws") / "config"
        server.install_crds(config / "crd" / "bases" / file for file in KINDS)
        self._grant(config)
        for file in documents(config / "webhook" / "manifests.yaml"):
            server.client.apply(self._on_loopback(file))
        self.process = started(
            self.log, binary("lws-controller"), f"--config={self._configuration()}",
            env={"KUBECONFIG": str(server.kubeconfig(IDENTITY, []))},
        )  # fmt: skip

    def until_ready(self) -> Self:
        """Wait until its webhooks answer."""
        eventually(self._answers, what=f"the controller of groups answers; see {self.log}", every=0.2)
        return self

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}: {tail(self.log)}"
        with suppress(httpx.TransportError):
            LOCAL.get(f"https://127.0.0.1:{self._webhooks}/", timeout=2)
            return True
        return False

    def _grant(self, config: Path) -> None:
        client = self._server.client
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        (role,) = [each for each in documents(config / "rbac" / "role.yaml") if each["kind"] == "ClusterRole"]
        client.apply(role)
        binding = {
            "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "lws"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role["metadata"]["name"]},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": IDENTITY}],
        }  # fmt: skip
        client.apply(binding)

    def _on_loopback(self, webhooks: Manifest) -> Manifest:
        """The project's own webhooks, asked at this process; those about pods are about its own alone, as shipped."""
        authority = base64.b64encode(self._server.authority.pair.certificate.read_bytes()).decode()
        for each in webhooks["webhooks"]:
            path = each["clientConfig"]["service"]["path"]
            each["clientConfig"] = {"url": f"https://127.0.0.1:{self._webhooks}{path}", "caBundle": authority}
            if path.endswith("-v1-pod"):
                of_groups = {"key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists"}
                each["objectSelector"] = {"matchExpressions": [of_groups]}
        return webhooks

    def _configuration(self) -> Path:
        folder = self._server.folder / "lws"
        folder.mkdir()
        pair = self._server.authority.server()
        (folder / "tls.crt").write_bytes(pair.certificate.read_bytes())
        (folder / "tls.key").write_bytes(pair.key.read_bytes())
        file = folder / "configuration.json"
        said = {
            "apiVersion": "config.lws.x-k8s.io/v1alpha1", "kind": "Configuration",
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "webhook": {"port": self._webhooks, "host": "127.0.0.1", "certDir": str(folder)},
            "metrics": {"bindAddress": "0"},
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self._probes}"},
        }  # fmt: skip
        file.write_text(json.dumps(said))
        return file
