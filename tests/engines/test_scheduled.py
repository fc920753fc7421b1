"""Every engine on every accelerator that it has an image for: planned, rendered, admitted, well placed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from slipway.api import API_VERSION
from slipway.engines import ENGINES, decide, image_of
from slipway.manifests.deployment import Serving, build_deployment
from slipway.manifests.owner import Owner, PublishedArtifact
from slipway.manifests.places import Place
from slipway.plan.facts import CPU
from slipway.plan.nodes import node_facts
from slipway.settings import Settings
from tests.cluster.namespaces import Cluster, own_namespace
from tests.support.gpu_nodes import gpu_node
from tests.support.kwok import fake_nodes
from tests.support.planning import MODELS, spec

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
MACHINES = {
    "nvidia": "h100", "amd": "mi300x", "intel": "max-1550", "gaudi": "gaudi2", "ascend": "ascend-910b",
}  # fmt: skip
CASES = [(name, vendor) for name, one in ENGINES.items() for vendor in one.facts.loads if vendor != CPU]


@pytest.fixture(scope="module")
def machines(fake_kubelet: None) -> Iterator[list[dict[str, Any]]]:
    """One node of every vendor, none of which is there."""
    nodes = [gpu_node(kind, f"fake-{vendor}") for vendor, kind in MACHINES.items()]
    with fake_nodes(*nodes):
        yield nodes


@pytest.fixture(scope="module")
def team(machines: list[dict[str, Any]]) -> Iterator[Cluster]:
    """A namespace that enforces the pod security standard ``restricted``; gone before its machines."""
    with own_namespace("scheduled") as made:
        label = "pod-security.kubernetes.io/enforce=restricted"
        made.kubectl("label", "namespace", made.namespace, label, "--overwrite", namespaced=False)
        yield made
        made.kubectl("delete", "deploy", "--all", "--cascade=foreground", "--timeout=60s")


def rendered(engine: str, vendor: str, nodes: list[dict[str, Any]]) -> tuple[dict[str, Any], Any]:
    """The Deployment as the operator would apply it, its volume replaced: these machines have no disk."""
    wish = spec(engine={"name": engine})
    mine = [node_facts(node) for node in nodes if node["metadata"]["name"] == f"fake-{vendor}"]
    plan = decide(wish, MODELS["llama3-8b"], mine, Settings())
    owner = Owner(API_VERSION, "ModelDeployment", f"{engine}-{vendor}"[:40], "0", "default")
    artifact = PublishedArtifact("art", Place(claim="claim"), "sha256:0", plan.level)
    made = build_deployment(Serving(owner, wish, plan, artifact, Settings(), "r1"))
    made["metadata"].pop("ownerReferences")
    made["metadata"].pop("namespace")
    volumes = made["spec"]["template"]["spec"]["volumes"]
    volumes[0] = {"name": volumes[0]["name"], "emptyDir": {}}
    return made, plan


@pytest.mark.parametrize(("engine", "vendor"), CASES, ids=lambda part: part)
def test_it_runs_where_it_was_planned_for(
    engine: str, vendor: str, team: Cluster, machines: list[dict[str, Any]]
) -> None:
    made, plan = rendered(engine, vendor, machines)
    name = made["metadata"]["name"]
    team.apply(made)
    try:
        team.wait(f"a pod of {name}", lambda: team.engines(name), 30)

        def there() -> str:
            (pod,) = team.engines(name)
            return str(pod["spec"].get("nodeName", ""))

        assert team.wait(f"{name} on a machine", there, 60) == f"fake-{vendor}"
        (pod,) = team.engines(name)
        (container,) = pod["spec"]["containers"]
        device = plan.accelerator
        assert container["resources"]["limits"][device.resource] == str(device.count)
        assert container["image"] == image_of(Settings(), spec(engine={"name": engine}), plan)
        team.wait(f"{name} running", lambda: team.engines(name)[0]["status"]["phase"] == "Running", 60)
    finally:
        team.kubectl("delete", "deploy", name, "--cascade=foreground", "--timeout=60s")
