"""Helm installs the chart on a real API server: rights, Pod Security, what upgrade and uninstall do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.controlplane import free_ports
from tests.api.conftest import Api
from tests.support.helm import CHART, NAMESPACE, ROOT, find, helm, render
from tests.support.spec_cases import Case

pytestmark = pytest.mark.api

OPERATOR = f"system:serviceaccount:{NAMESPACE}:slipway"
CRD = "modelartifacts.slipway.dev"


def install(api: Api, chart: Path, *args: str) -> None:
    """``helm upgrade --install`` without waiting for pods: there is no node here."""
    config = ["--kubeconfig", str(api.plane.kubeconfig), "--namespace", NAMESPACE, "--create-namespace"]
    # The session's CRDs came by kubectl: taking them over is what a user of `slipway crd --print` does too.
    helm(
        "upgrade", "--install", "slipway", str(chart), "--take-ownership", "--force-conflicts", *config, *args
    )


@pytest.fixture
def release(api: Api) -> Iterator[Api]:
    install(api, CHART)
    yield api
    config = ["--kubeconfig", str(api.plane.kubeconfig), "--namespace", NAMESPACE]
    helm("uninstall", "slipway", "--ignore-not-found", *config)


def can(api: Api, verb: str, resource: str, *where: str, user: str = OPERATOR) -> bool:
    """Whether a user may do this in all namespaces, or where it says; ``pods:log`` is a subresource."""
    kind, _, sub = resource.partition(":")
    part = [f"--subresource={sub}"] if sub else []
    scope = where or ("--all-namespaces",)
    return api.kubectl("auth", "can-i", verb, kind, f"--as={user}", *part, *scope).stdout.strip() == "yes"


def test_rights_of_the_operator(release: Api) -> None:
    allowed = [
        ("watch", "modeldeployments.slipway.dev"),
        ("patch", "modeldeployments.slipway.dev:status"),
        ("create", "modelartifacts.slipway.dev"),
        ("patch", "deployments.apps"),
        ("create", "jobs.batch"),
        ("get", "pods:log"),
        ("get", "secrets"),
        ("list", "nodes"),
    ]
    refused = [
        ("list", "secrets"),
        ("watch", "secrets"),
        ("create", "pods"),
        ("create", "pods:exec"),
        ("patch", "modeldeployments.slipway.dev"),
        ("delete", "modeldeployments.slipway.dev"),
        ("list", "configmaps"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("list", "leases.coordination.k8s.io"),
    ]
    assert [case for case in allowed if not can(release, *case)] == []
    assert [case for case in refused if can(release, *case)] == []
    lease = ("leases.coordination.k8s.io/slipway-operator", "-n", NAMESPACE)
    assert can(release, "update", *lease)
    assert not can(release, "update", "leases.coordination.k8s.io/other", "-n", NAMESPACE)


@pytest.fixture
def operator(release: Api, tmp_path: Path) -> Iterator[Path]:
    """The operator as a process with the token of the chart's ServiceAccount; gives its log."""
    config = tmp_path / "kubeconfig"
    shutil.copy(release.plane.kubeconfig, config)
    token = release.must("create", "token", "slipway", "-n", NAMESPACE)
    settings = ["--kubeconfig", str(config), "config"]
    release.must(*settings, "set-credentials", "operator", f"--token={token}")
    release.must(*settings, "set-context", "--current", "--user=operator")
    port = free_ports(("operator",))["operator"]
    arguments = ["--kubeconfig", str(config), "--host=127.0.0.1", f"--port={port}", "--log-format=json"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}/operator:{ROOT}/runtime",
        "SLIPWAY_NAMESPACE": NAMESPACE,
    }
    log = tmp_path / "log"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "slipway", "run", *arguments]
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    yield log
    process.terminate()
    assert process.wait(20) == 0


def test_operator_works_with_the_rights_of_the_chart(release: Api, operator: Path) -> None:
    release.must("create", "-f", "-", stdin=Case("", {}, name="rights").obj)
    try:
        wait(
            lambda: "rights-" in release.must("get", "jobs", "-o", "name"),
            lambda: operator.read_text("utf-8"),
        )
        column = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}"
        wait(lambda: release.must("get", "mdl", "rights", "-o", column) == "Inspecting", lambda: "no status")
        log = operator.read_text("utf-8")
        assert '"leading"' in log
        assert "forbidden" not in log.lower()
    finally:
        release.must("delete", "mdl", "rights")


def wait(done: Callable[[], bool], why: Callable[[], str], seconds: float = 30) -> None:
    """Look until it is so; fails with the reason."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, why()
        time.sleep(0.3)


def test_view_and_edit_learn_our_kinds(release: Api) -> None:
    for role in ("view", "edit"):
        release.must(
            "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "-n", NAMESPACE
        )
    where = ("-n", NAMESPACE)
    # Aggregation is a controller's work.
    wait(
        lambda: can(release, "get", "modeldeployments.slipway.dev", *where, user="viewer"),
        lambda: "not aggregated",
    )
    assert can(release, "create", "modeldeployments.slipway.dev", *where, user="editer")
    assert can(release, "patch", "modeldeployments.slipway.dev:scale", *where, user="editer")
    assert not can(release, "create", "modeldeployments.slipway.dev", *where, user="viewer")
    assert not can(release, "create", "modelartifacts.slipway.dev", *where, user="editer")


def test_pod_security_restricted_admits_the_operator(release: Api) -> None:
    template: dict[str, Any] = find(render(), "Deployment")["spec"]["template"]
    namespace = {
        "metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    }
    release.must("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", **namespace})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": template["spec"]}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "slipway"}}
    release.must("create", "-n", "strict", "-f", "-", stdin=account)
    try:
        release.must("create", "-n", "strict", "--dry-run=server", "-f", "-", stdin=pod)
    finally:
        release.must("delete", "namespace", "strict", "--wait=false")


def test_uninstall_keeps_crds_and_models(release: Api) -> None:
    release.must("create", "-f", "-", stdin=Case("", {}, name="kept").obj)
    try:
        helm("uninstall", "slipway", "--kubeconfig", str(release.plane.kubeconfig), "--namespace", NAMESPACE)
        assert release.must("get", "mdl", "kept", "-o", "name") == "modeldeployment.slipway.dev/kept\n"
        assert "NotFound" in release.kubectl("get", "deployment", "slipway", "-n", NAMESPACE).stderr
        install(release, CHART)  # and what was kept is taken up again
    finally:
        release.must("delete", "mdl", "kept")


def test_upgrade_brings_new_crds(release: Api, tmp_path: Path) -> None:
    later = Path(shutil.copytree(CHART, tmp_path / "slipway"))
    file = later / "files/crds/slipway.dev_modelartifacts.yaml"
    file.write_text(
        file.read_text("utf-8").replace("Whether it is whole and verified.", "Newer words."), "utf-8"
    )
    install(release, later)
    crd = json.loads(release.must("get", "crd", CRD, "-o", "json"))
    described = [column["description"] for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]]
    assert "Newer words." in described
    install(release, CHART)
