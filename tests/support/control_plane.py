"""A real API server (etcd, kube-apiserver, controller-manager) with our CRDs, and kubectl for it.

Every process of a test run has its own: the ports are free ones, the files lie in its temporary directory.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from hack.cluster import pki
from hack.cluster.components import Program
from hack.cluster.controlplane import ControlPlane
from slipway.resources import ARTIFACT, BY_KIND, MODEL

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = str(Path(sys.executable).with_name("kubectl"))
ESTABLISHED_SECONDS = 60


CONTROLLERS = "kube-controller-manager"
PATIENCE = "--node-monitor-grace-period=24h"
"""The controllers believe a node for a day: no kubelet is behind it to say again that it is ready."""


class OurPlane(ControlPlane):
    """A control plane with our CRDs from the beginning.

    The garbage collector learns of new kinds every 30 s: until then, what belongs to an object of ours stays
    when that object goes. So the controllers start when the CRDs are there.
    """

    crds_are_there = False

    def programs(self) -> list[Program]:
        """What runs now."""
        running = [one for one in super().programs() if self.crds_are_there or one.name != CONTROLLERS]
        return [
            replace(one, command=(*one.command, PATIENCE)) if one.name == CONTROLLERS else one
            for one in running
        ]

    def start(self) -> ControlPlane:
        """Start everything and wait until it is ready."""
        super().start()
        try:
            Api(self).apply_crds()
            self.crds_are_there = True
            self.restart(CONTROLLERS)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything at once: nobody reads its data again, and an orderly end takes seconds."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()


@dataclass(frozen=True)
class Answer:
    """What the API server says to a request: HTTP status, its warnings, and the object or Status."""

    code: int
    warnings: tuple[str, ...]
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """The words of a refusal; empty when it took the object."""
        return str(self.body["message"]) if self.body["kind"] == "Status" else ""


class Api:
    """kubectl against one API server, and the one request whose many cases would start it too often."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        pair = pki.pair(plane.files.pki, "admin")
        tls = ssl.create_default_context(cafile=str(pki.pair(plane.files.pki, "ca").cert))
        tls.load_cert_chain(pair.cert, pair.key)
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=tls))

    def judge(self, obj: dict[str, Any], namespace: str = "default") -> Answer:
        """What the server says to creating this object of ours, strictly and without doing it."""
        resource = BY_KIND[obj["kind"]]
        url = f"{self.plane.url}{resource.path(namespace)}?dryRun=All&fieldValidation=Strict"
        headers = {"Content-Type": "application/json"}
        request = Request(url, json.dumps(obj).encode(), headers, method="POST")
        try:
            response = self._opener.open(request, timeout=30)
        except HTTPError as error:
            response = error
        with response:
            warnings = tuple(response.headers.get_all("Warning") or ())
            return Answer(response.status, warnings, json.load(response))

    def kubectl(self, *args: str, stdin: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl; returns exit code, stdout and stderr."""
        command = [KUBECTL, "--kubeconfig", str(self.plane.kubeconfig), *args]
        text = json.dumps(stdin) if stdin is not None else None
        return subprocess.run(command, capture_output=True, text=True, check=False, input=text, timeout=60)

    def must(self, *args: str, stdin: dict[str, Any] | None = None) -> str:
        """Run kubectl; returns stdout, fails with kubectl's own words."""
        done = self.kubectl(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply_crds(self) -> None:
        """Bring our CRDs, and wait until their objects are served."""
        self.must("apply", "--server-side", "-f", str(ROOT / "crds"))
        self.until_served()

    def until_served(self) -> None:
        """Wait until objects of our CRDs are served."""
        deadline = time.monotonic() + ESTABLISHED_SECONDS
        # "kubectl wait" would fail on a CRD that has no conditions yet.
        while not all(self.plane.client.ready(self.plane.url + kind.path()) for kind in (MODEL, ARTIFACT)):
            assert time.monotonic() < deadline, "the API server does not serve the CRDs"
            time.sleep(0.1)
        # What kubectl remembers of the kinds is from before, and "explain" believes it; this asks anew.
        while not self._explained():
            assert time.monotonic() < deadline, "the API server does not list the CRDs' kinds"
            time.sleep(0.1)

    def _explained(self) -> bool:
        listed = self.must("api-resources", "--api-group=slipway.dev")
        return "modeldeployments" in listed and self.kubectl("explain", "mdl").returncode == 0


@contextmanager
def running_plane(directory: Path) -> Iterator[ControlPlane]:
    """The control plane, CRDs of ``crds/`` established; ``kubeconfig`` and ``url`` say where."""
    with OurPlane(directory, controller_manager=True) as plane:
        yield plane
