"""LeaderWorkerSet on the running cluster: its own CRDs, controller and webhooks, for the time of a test.

Its webhooks are no luxury (they can be left out with ENABLE_WEBHOOKS=false): the one for pods puts
LWS_LEADER_ADDRESS and the worker's index into them. LWS can make its certificates itself, but only for a
Service, which a program on the machine has not: here the test makes them, and the API server, on the same
machine, reaches the webhooks by URL.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from hack.cluster import pki, sources
from tests.cluster import access
from tests.cluster.namespaces import Cluster
from tests.support.host_programs import built, running

MODULE = "sigs.k8s.io/lws"
HOST = "127.0.0.1"
SET = "leaderworkerset.sigs.k8s.io/name"
OF_A_SET = {"matchExpressions": [{"key": SET, "operator": "Exists"}]}
"""Which pods concern the webhooks: as in LWS' own ``config/webhook/mutating-patch.yaml``."""
EVERYWHERE = Cluster("")


@contextmanager
def lws_controller(folder: Path) -> Iterator[None]:
    """LWS for the block, ready to serve; its log is ``folder/lws.log``. Sets that are left go with it."""
    source = sources.folder(MODULE, "lws")
    crds = source / "config/crd/bases"
    webhook, health = _ports()
    authority = pki.authority(folder, "lws-ca")
    pki.issue(folder, "tls", authority, pki.Identity("lws", hosts=(HOST,)))
    config = folder / "lws.yaml"
    config.write_text(json.dumps(configuration(folder, webhook, health)))
    hooks = json.dumps({
        "apiVersion": "v1", "kind": "List", "items": webhooks(source, webhook, authority.cert),
    })  # fmt: skip
    with ExitStack() as undo:
        undo.callback(_kubectl, "delete", "--ignore-not-found", "--timeout=60s", "-f", str(crds))
        _kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
        _kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(crds))
        command: list[str | Path] = [built("lws"), "--config", config]
        answers = lambda: _answers(health) and _answers(webhook, tls=True)  # noqa: E731 - a name for three lines
        undo.enter_context(running(command, folder / "lws.log", answers, KUBECONFIG=access.kubeconfig()))
        undo.callback(_kubectl, "delete", "--ignore-not-found", "-f", "-", stdin=hooks)
        _kubectl("apply", "-f", "-", stdin=hooks)
        undo.callback(_clear)
        yield


def _kubectl(*args: str, stdin: str | None = None) -> None:
    EVERYWHERE.kubectl(*args, stdin=stdin, namespaced=False)


def _clear() -> None:
    """Delete every set, and wait for what it made: without the CRD the garbage collector lets that stay.

    It looks for new kinds twice a minute only, so a set of a CRD that is young takes up to 30 s to go.
    """
    _kubectl("delete", "leaderworkersets", "--all", "-A", "--cascade=foreground", "--timeout=90s")
    EVERYWHERE.wait("the sets' pods to go", lambda: not EVERYWHERE.list("pods", SET), 60)


def _ports() -> tuple[int, int]:
    """Two ports that nobody listens on now."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind((HOST, 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def configuration(certificates: Path, webhook: int, health: int) -> dict[str, Any]:
    """The controller's configuration: one instance, no metrics; certificates are ``tls.crt``, ``tls.key``."""
    return {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": HOST, "port": webhook, "certDir": str(certificates)},
        "health": {"healthProbeBindAddress": f"{HOST}:{health}"},
        "metrics": {"bindAddress": "0"},
    }


def webhooks(source: Path, port: int, authority: Path) -> list[dict[str, Any]]:
    """LWS' webhook configurations, served on this machine; its kustomization sets the pods' selector too."""
    made = list(yaml.safe_load_all((source / "config/webhook/manifests.yaml").read_text()))
    bundle = base64.b64encode(authority.read_bytes()).decode()
    for one in made:
        one["metadata"]["name"] = f"lws-{one['metadata']['name']}"
        for hook in one["webhooks"]:
            path = hook["clientConfig"]["service"]["path"]
            hook["clientConfig"] = {"url": f"https://{HOST}:{port}{path}", "caBundle": bundle}
            if "pods" in hook["rules"][0]["resources"]:
                hook["objectSelector"] = OF_A_SET
    return made


def _answers(port: int, *, tls: bool = False) -> bool:
    """Whether somebody listens; the health port must also say that all is well."""
    if tls:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
