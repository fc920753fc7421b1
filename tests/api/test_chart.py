"""Helm installs the chart on a real API server: rights, Pod Security, what upgrade and uninstall do."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import Api
from tests.support.helm import CHART, NAMESPACE, find, helm, render
from tests.support.operating import command, environment, log_lines
from tests.support.spec_cases import Case

pytestmark = pytest.mark.api

OPERATOR = f"system:serviceaccount:{NAMESPACE}:slipway"
CRDS = ("modelartifacts.slipway.dev", "modeldeployments.slipway.dev", "servingengines.slipway.dev")
KEEP = "helm.sh/resource-policy"


def where(api: Api) -> list[str]:
    """Helm's options for our release."""
    return ["--kubeconfig", str(api.plane.kubeconfig), "--namespace", NAMESPACE]


def install(api: Api, chart: Path = CHART, *args: str) -> None:
    """``helm upgrade --install`` without waiting for pods: there is no node here."""
    # The session's CRDs came by kubectl: taking them over is what a user of `slipway crd --print` does too.
    options = ["--install", "--create-namespace", "--take-ownership", "--force-conflicts"]
    helm("upgrade", "slipway", str(chart), *options, *where(api), *args)
    api.until_served()


def uninstall(api: Api) -> None:
    """``helm uninstall``."""
    helm("uninstall", "slipway", "--ignore-not-found", *where(api))


@pytest.fixture(scope="module")
def release(api: Api) -> Iterator[Api]:
    """The chart, installed."""
    install(api)
    yield api
    uninstall(api)


@pytest.fixture
def changed(release: Api) -> Iterator[Api]:
    """The same for a test that changes it: afterwards it is as before."""
    yield release
    install(release)


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
        ("create", "modeldeployments.slipway.dev"),  # of pools
        ("delete", "modeldeployments.slipway.dev"),
        ("create", "modelartifacts.slipway.dev"),
        ("patch", "deployments.apps"),
        ("create", "jobs.batch"),
        ("get", "pods:log"),
        ("get", "secrets"),
        ("list", "nodes"),
        ("watch", "servingengines.slipway.dev"),
    ]
    refused = [
        ("list", "secrets"),
        ("watch", "secrets"),
        ("create", "pods"),
        ("create", "pods:exec"),
        ("update", "modeldeployments.slipway.dev"),
        ("deletecollection", "modeldeployments.slipway.dev"),
        ("list", "configmaps"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("list", "leases.coordination.k8s.io"),
    ]
    assert [case for case in allowed if not can(release, *case)] == []
    assert [case for case in refused if can(release, *case)] == []
    lease = ("leases.coordination.k8s.io/slipway-operator", "-n", NAMESPACE)
    assert can(release, "update", *lease)
    assert not can(release, "update", "leases.coordination.k8s.io/other", "-n", NAMESPACE)


@contextmanager
def operator(api: Api, folder: Path) -> Iterator[Path]:
    """The operator as a process with the token of the chart's ServiceAccount; gives its log."""
    config, log = folder / "kubeconfig", folder / "log"
    shutil.copy(api.plane.kubeconfig, config)
    token = api.must("create", "token", "slipway", "-n", NAMESPACE)
    settings = ["--kubeconfig", str(config), "config"]
    api.must(*settings, "set-credentials", "operator", f"--token={token}")
    api.must(*settings, "set-context", "--current", "--user=operator")
    run = command(config, "--log-format=json")
    with (
        log.open("wb") as sink,
        subprocess.Popen(run, stdout=sink, stderr=sink, env=environment(NAMESPACE)) as process,
    ):
        try:
            yield log
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_operator_works_with_the_rights_of_the_chart(release: Api, tmp_path: Path) -> None:
    release.must("create", "-f", "-", stdin=Case("", {}, name="rights").obj)
    try:
        with operator(release, tmp_path) as log:
            wait(
                lambda: "rights-" in release.must("get", "jobs", "-o", "name"), lambda: log.read_text("utf-8")
            )
            column = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}"
            wait(
                lambda: release.must("get", "mdl", "rights", "-o", column) == "Inspecting",
                lambda: "no status",
            )
    finally:
        release.must("delete", "mdl", "rights")
    assert "forbidden" not in log.read_text("utf-8").lower()
    lines = list(log_lines(log))
    assert [line for line in lines if not well_formed(line)] == []
    told = [line["message"] for line in lines]
    steps = ("listening", "in sync", "leading", "created", "condition", "stopping on signal")
    assert [step for step in (*steps, "leadership released") if step not in told] == []
    job = next(line for line in lines if line.get("child", "").startswith("Job/default/rights-"))
    assert (job["message"], job["why"], job["logger"]) == ("created", "it was not there", "slipway.apply")
    ready = [line for line in lines if line.get("condition") == "Ready"]
    assert {line["key"] for line in ready} == {"ModelDeployment/default/rights"}


def well_formed(line: dict[str, Any]) -> bool:
    """Whether a line of the log has what every line has."""
    texts = [line.get(key) for key in ("time", "level", "logger", "message")]
    return (
        all(isinstance(text, str) and text for text in texts)
        and datetime.fromisoformat(line["time"]).tzinfo is not None
        and line["level"] in {"debug", "info", "warning", "error"}
    )


def wait(done: Callable[[], bool], why: Callable[[], str], seconds: float = 60) -> None:
    """Look until it is so; fails with the reason."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, why()
        time.sleep(0.2)


MAY = {
    "viewer": [
        ("get", "modeldeployments.slipway.dev"),
        ("watch", "modeldeployments.slipway.dev"),
        ("get", "modelartifacts.slipway.dev"),
        ("list", "modelartifacts.slipway.dev"),
        ("get", "modelartifacts.slipway.dev:status"),
    ],
    "editer": [
        ("get", "modelartifacts.slipway.dev"),
        ("create", "modeldeployments.slipway.dev"),
        ("delete", "modeldeployments.slipway.dev"),
        ("patch", "modeldeployments.slipway.dev:scale"),
        ("delete", "modelartifacts.slipway.dev"),
    ],
}
MAY_NOT = {
    "viewer": [
        ("create", "modeldeployments.slipway.dev"),
        ("patch", "modeldeployments.slipway.dev:scale"),
        ("delete", "modelartifacts.slipway.dev"),
    ],
    "editer": [
        ("create", "servingengines.slipway.dev"),
        ("create", "modelartifacts.slipway.dev"),
        ("patch", "modelartifacts.slipway.dev"),
        ("patch", "modelartifacts.slipway.dev:status"),
        ("update", "modeldeployments.slipway.dev:status"),
        ("patch", "modeldeployments.slipway.dev:status"),
    ],
}


def test_view_and_edit_learn_our_kinds(release: Api) -> None:
    here = ("-n", NAMESPACE)
    for role in ("view", "edit"):
        release.must("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", *here)

    def lacking() -> list[tuple[str, ...]]:
        wished = [(user, *what) for user, cases in MAY.items() for what in cases]
        return [(user, *what) for user, *what in wished if not can(release, *what, *here, user=user)]

    # Aggregation is a controller's work.
    wait(lambda: not lacking(), lambda: f"not aggregated: {lacking()}")
    assert [
        (user, *what)
        for user, cases in MAY_NOT.items()
        for what in cases
        if can(release, *what, *here, user=user)
    ] == []


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


def test_uninstall_keeps_crds_and_models(changed: Api) -> None:
    changed.must("create", "-f", "-", stdin=Case("", {}, name="kept").obj)
    try:
        uninstall(changed)
        assert changed.must("get", "mdl", "kept", "-o", "name") == "modeldeployment.slipway.dev/kept\n"
        assert "NotFound" in changed.kubectl("get", "deployment", "slipway", "-n", NAMESPACE).stderr
        install(changed)  # and what was kept is taken up again
    finally:
        changed.must("delete", "mdl", "kept")


def crd(api: Api, name: str) -> dict[str, Any]:
    """A CRD as the server has it."""
    found: dict[str, Any] = json.loads(api.must("get", "crd", name, "-o", "json"))
    return found


def test_crds_that_are_not_kept_go_with_the_release_and_so_do_the_models(changed: Api) -> None:
    assert [crd(changed, name)["metadata"]["annotations"].get(KEEP) for name in CRDS] == ["keep"] * 3
    changed.must("create", "-f", "-", stdin=Case("", {}, name="going").obj)
    install(changed, CHART, "--set", "crds.keep=false")
    assert [name for name in CRDS if KEEP in crd(changed, name)["metadata"].get("annotations", {})] == []
    assert changed.must("get", "mdl", "going", "-o", "name") == "modeldeployment.slipway.dev/going\n"
    uninstall(changed)
    # A CRD goes when its last object has gone.
    wait(lambda: changed.must("get", "crd", *CRDS, "--ignore-not-found") == "", lambda: "the CRDs are there")
    install(changed)
    assert changed.must("get", "mdl", "-A", "-o", "name") == ""


def test_upgrade_brings_new_crds(changed: Api, tmp_path: Path) -> None:
    later = Path(shutil.copytree(CHART, tmp_path / "slipway"))
    file = later / "files/crds/slipway.dev_modelartifacts.yaml"
    file.write_text(
        file.read_text("utf-8").replace("Whether it is whole and verified.", "Newer words."), "utf-8"
    )
    install(changed, later)
    columns = crd(changed, CRDS[0])["spec"]["versions"][0]["additionalPrinterColumns"]
    assert "Newer words." in [column["description"] for column in columns]
