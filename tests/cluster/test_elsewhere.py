"""What needs another machine than the test machine; docs/unverified.md says which, and how to run each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import host, layout
from slipway.engines import ENGINES
from slipway.plan.nodes import node_facts
from tests.cluster import access
from tests.cluster.access import ROOT
from tests.cluster.hub import SMOLLM2
from tests.cluster.namespaces import ENGINE, Cluster, drop_namespace, make_namespace
from tests.cluster.pods import restricted_pod, runtime_image, wait_ended
from tests.support.helm import helm, render

pytestmark = pytest.mark.timeout(3600)
CALL = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/health', timeout=10)"
ROLES = ("operator", "runtime", "llamacpp")
OPENSHIFT_FIRST_UID = 1_000_000_000


def phase_after_call(cluster: Cluster, url: str) -> str:
    """Call the URL from a pod of that namespace; ``Succeeded`` when there was an answer, else ``Failed``."""
    cluster.apply(restricted_pod("caller", runtime_image(), "python3", "-c", CALL, url))
    return wait_ended(cluster, "caller")


def ask(cluster: Cluster, name: str) -> str:
    """One completion through the API server's proxy: this machine need not reach the Service."""
    body = json.dumps({"model": name, "prompt": "The capital of France is", "max_tokens": 4})
    path = f"/api/v1/namespaces/{cluster.namespace}/services/{name}:http/proxy/v1/completions"
    answer = json.loads(cluster.kubectl("create", "--raw", path, "-f", "-", stdin=body, namespaced=False))
    return str(answer["choices"][0]["text"])


@pytest.mark.cluster
@pytest.mark.unverified("NetworkPolicy enforcement")
def test_only_named_callers_get_through(cluster: Cluster) -> None:
    cluster.model("smollm2")
    url = cluster.wait_ready("smollm2")["status"]["url"].removesuffix("/v1")
    stranger = make_namespace("stranger")
    try:
        assert phase_after_call(cluster, url) == "Succeeded"
        assert phase_after_call(stranger, url) == "Failed"
    finally:
        drop_namespace(stranger)


@pytest.mark.cluster
@pytest.mark.unverified("arm64 nodes")
def test_an_arm64_node_serves(cluster: Cluster) -> None:
    cluster.model("smollm2", engine={"podOverrides": {"nodeSelector": {"kubernetes.io/arch": "arm64"}}})
    cluster.wait_ready("smollm2")
    (pod,) = cluster.list("pods", ENGINE)
    node = Cluster("").get("nodes", pod["spec"]["nodeName"])
    assert node["status"]["nodeInfo"]["architecture"] == "arm64"
    assert ask(cluster, "smollm2")


@pytest.mark.cluster
@pytest.mark.unverified("Several real nodes")
def test_two_replicas_spread_and_a_drain_keeps_answering(cluster: Cluster) -> None:
    cluster.model("smollm2", replicas=2, store={"accessMode": "ReadWriteMany"})
    cluster.wait_ready("smollm2")
    cluster.wait("two replicas", lambda: cluster.mdl("smollm2")["status"].get("readyReplicas") == 2)
    nodes = {pod["spec"]["nodeName"] for pod in cluster.list("pods", ENGINE)}
    assert len(nodes) == 2
    node = min(nodes)
    drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={ENGINE}"]
    try:
        with subprocess.Popen([access.KUBECTL, *drain], env=access.environment()) as running:
            while running.poll() is None:
                assert ask(cluster, "smollm2")
        assert running.returncode == 0
    finally:
        cluster.kubectl("uncordon", node, namespaced=False)


@pytest.mark.cluster
@pytest.mark.unverified("Several real nodes")
def test_a_draft_lies_where_its_model_lies(cluster: Cluster) -> None:
    # Claims on the nodes' own disks are bound by the first pod that mounts them.
    larger, guess = "hf://HuggingFaceTB/SmolLM2-360M-Instruct", {"draft": {"source": SMOLLM2}}
    for name in ("one", "two", "three"):
        cluster.model(name, larger, engine={"name": "llamacpp", "speculative": guess})
    for name in ("one", "two", "three"):
        cluster.wait_ready(name, 1200)


@pytest.mark.cluster
@pytest.mark.unverified("Zonal disks")
def test_an_update_ends_though_one_node_at_a_time_has_the_disk(cluster: Cluster) -> None:
    cluster.model("smollm2")
    cluster.wait_ready("smollm2")
    (before,) = cluster.list("pods", ENGINE)
    cluster.kubectl("cordon", before["spec"]["nodeName"], namespaced=False)  # the new pod has to go elsewhere
    try:
        labels = {"podOverrides": {"annotations": {"example.com/rolled": "yes"}}}
        cluster.model("smollm2", engine=labels)
        uid = before["metadata"]["uid"]

        def replaced() -> bool:
            return uid not in {pod["metadata"]["uid"] for pod in cluster.list("pods", ENGINE)}

        cluster.wait("another pod", replaced, 600)
        cluster.wait_ready("smollm2", 600)
    finally:
        cluster.kubectl("uncordon", before["spec"]["nodeName"], namespaced=False)


@pytest.mark.cluster
@pytest.mark.unverified("Hubs behind a Service")
def test_jobs_reach_a_hub_behind_a_service(cluster: Cluster) -> None:
    operator = Cluster("slipway-system").get("deployments", "slipway")
    env = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    hub = next(one.get("value", "") for one in env if one["name"] == "SLIPWAY_HUB_ENDPOINT")
    assert re.search(r"//[a-z0-9-]+\.[a-z0-9-]+\.svc", hub), "install with hub.endpoint at a Service"
    cluster.model("smollm2")
    cluster.wait_ready("smollm2")


@pytest.mark.cluster
@pytest.mark.unverified("Kueue")
def test_kueue_lets_jobs_go(cluster: Cluster) -> None:
    queue = {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "LocalQueue",
        "metadata": {"name": "team", "namespace": cluster.namespace},
        "spec": {"clusterQueue": os.environ["SLIPWAY_VERIFY_CLUSTER_QUEUE"], "stopPolicy": "Hold"},
    }
    cluster.apply(queue)
    cluster.model("smollm2", suspend=True)
    cluster.kubectl("label", "mdl", "smollm2", "kueue.x-k8s.io/queue-name=team")
    cluster.model("smollm2")
    held = cluster.wait_reason("smollm2", "Ready", "Queued")
    assert held["message"].endswith("waits for Kueue's queue team")
    cluster.apply({**queue, "spec": {**queue["spec"], "stopPolicy": "None"}})
    cluster.wait_ready("smollm2", 1200)
    jobs = cluster.list("jobs")
    assert {job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") for job in jobs} == {"team"}


@pytest.mark.cluster
@pytest.mark.unverified("Drafts on GPUs")
def test_a_gpu_node_guesses_by_a_smaller_model_of_the_family(cluster: Cluster) -> None:
    assert vendors()
    larger = "hf://HuggingFaceTB/SmolLM2-360M-Instruct"
    guess = {"draft": {"source": SMOLLM2}, "tokens": 3}
    cluster.model("chat", larger, engine={"name": "vllm", "concurrency": 4, "speculative": guess})
    status = cluster.wait_ready("chat", 1800)["status"]
    assert status["plan"]["accelerator"]
    assert ask(cluster, "chat")

    def rate() -> str:
        return str(cluster.mdl("chat")["status"].get("benchmark", {}).get("acceptanceRate", ""))

    assert 0 < float(cluster.wait("the acceptance rate", rate, 300).rstrip("%")) <= 100


@pytest.mark.cluster
@pytest.mark.unverified("GPU nodes")
def test_a_gpu_node_serves_by_vllm(cluster: Cluster) -> None:
    assert vendors()
    cluster.model("smollm2")
    plan = cluster.wait_ready("smollm2", 1800)["status"]["plan"]
    assert plan["engine"] == "vllm"
    (pod,) = cluster.engines("smollm2")
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits[plan["accelerator"]["resource"]] == str(plan["accelerator"]["count"])


@pytest.mark.cluster
@pytest.mark.unverified("A replica on several GPU nodes")
def test_two_gpu_nodes_are_one_replica(cluster: Cluster) -> None:
    assert vendors()
    engine = {"name": "vllm", "pipelineParallel": 2}
    cluster.model("smollm2", engine=engine, store={"accessMode": "ReadWriteMany"})
    plan = cluster.wait_ready("smollm2", 1800)["status"]["plan"]
    assert plan["pods"] == 2
    pods = cluster.list("pods", "slipway.dev/model=smollm2")
    assert len({pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]}) >= 2
    assert ask(cluster, "smollm2")


def vendors() -> set[str]:
    """Whose devices the cluster's nodes offer."""
    found = (node_facts(node) for node in Cluster("").list("nodes"))
    return {gpu.vendor for node in found for gpu in node.gpus if gpu.vendor}


@pytest.mark.unverified("GPU engines' public images")
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_answers_on_a_device(engine: str, cluster: Cluster) -> None:
    if not vendors() & set(ENGINES[engine].images):
        pytest.skip(f"no image of {engine} for these devices")
    cluster.model("smollm2", engine={"name": engine})
    plan = cluster.wait_ready("smollm2", 1800)["status"]["plan"]
    assert plan["accelerator"]["vendor"] in vendors()


@pytest.mark.unverified("Node pools that scale from zero")
def test_a_pool_grows_for_a_model(cluster: Cluster) -> None:
    before = {node["metadata"]["name"] for node in Cluster("").list("nodes")}
    cluster.model("smollm2")
    cluster.wait_ready("smollm2", 2700)
    (pod,) = cluster.engines("smollm2")
    assert pod["spec"]["nodeName"] not in before


def run_stage(stage: str, folder: Path, **env: str) -> dict[str, Any]:
    """Run a stage of the runtime on this machine; its result."""
    log = folder / f"{stage}.json"
    inputs = {"SLIPWAY_SOURCE": SMOLLM2, "SLIPWAY_STORE": str(folder), "SLIPWAY_TERMINATION_LOG": str(log)}
    command = [sys.executable, "-m", "slipway_runtime", stage]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtime"), **inputs, **env}
    subprocess.run(command, env=environment, check=True, timeout=1800)
    return dict(json.loads(log.read_text()))


@pytest.mark.unverified("The public hub")
def test_inspect_and_fetch_from_the_public_hub(tmp_path: Path) -> None:
    found = run_stage("inspect", tmp_path, SLIPWAY_REVISION="main")
    assert re.fullmatch(r"[0-9a-f]{40}", found["commit"])
    assert found["facts"]["architecture"] == "LlamaForCausalLM"
    expected = str(found["facts"]["downloadBytes"])
    fetched = run_stage("fetch", tmp_path, SLIPWAY_REVISION=found["commit"], SLIPWAY_EXPECTED_BYTES=expected)
    assert fetched["sizeBytes"] > 100_000_000
    assert list((tmp_path / "published").glob("*.safetensors"))


@pytest.mark.cluster
@pytest.mark.unverified("OpenShift's random user")
def test_pods_run_as_the_user_that_openshift_picks(cluster: Cluster) -> None:
    cluster.model("smollm2")
    cluster.wait_ready("smollm2")
    (pod,) = cluster.list("pods", ENGINE)
    users = {one["securityContext"].get("runAsUser", 0) for one in pod["spec"]["containers"]}
    assert min(users) >= OPENSHIFT_FIRST_UID
    assert ask(cluster, "smollm2")


@pytest.mark.cluster
@pytest.mark.unverified("A cluster of your own")
def test_the_demo_runs_on_a_context_of_yours() -> None:
    context = os.environ.get("SLIPWAY_VERIFY_CONTEXT", "kind-kind")
    subprocess.run(["make", "demo", f"CONTEXT={context}"], cwd=ROOT, check=True, timeout=3600)


def build_and_try(role: str, *options: str) -> str:
    """Build an image with Docker and run it as a random user without a writable root; its architecture."""
    tag = f"slipway-verify/{role}:{'-'.join(options) or 'here'}".replace("--platform-linux/", "")
    subprocess.run(["docker", "build", *options, "--target", role, "-t", tag, "."], cwd=ROOT, check=True)
    restricted = ["--rm", "--read-only", "--tmpfs", "/tmp", "--user", "1000660000:0", "--cap-drop", "ALL"]  # noqa: S108
    subprocess.run(["docker", "run", *restricted, *options, tag, "--help"], check=True, timeout=600)
    inspect = ["docker", "image", "inspect", "--format", "{{.Architecture}}", tag]
    return subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.unverified("Images on the public base")
@pytest.mark.parametrize("role", ROLES)
def test_docker_builds_the_images_on_the_public_base(role: str) -> None:
    assert build_and_try(role) in {"amd64", "arm64"}


@pytest.mark.unverified("arm64 images")
@pytest.mark.parametrize("role", ROLES)
def test_docker_builds_the_images_for_arm64(role: str) -> None:
    assert build_and_try(role, "--platform", "linux/arm64") == "arm64"


@pytest.mark.cluster
@pytest.mark.unverified("IPv6")
def test_a_cluster_with_ipv6_addresses_serves(cluster: Cluster) -> None:
    cluster.model("smollm2")
    url = cluster.wait_ready("smollm2")["status"]["url"].removesuffix("/v1")
    assert ":" in cluster.get("services", "smollm2")["spec"]["clusterIP"]
    assert phase_after_call(cluster, url) == "Succeeded"
    assert cluster.wait("the benchmark", lambda: cluster.mdl("smollm2")["status"].get("benchmark"))


@pytest.mark.cluster
@pytest.mark.unverified("Kubernetes 1.32 to 1.35")
def test_an_older_kubernetes_serves(cluster: Cluster) -> None:
    version = json.loads(cluster.kubectl("get", "--raw", "/version", namespaced=False))
    assert 32 <= int(re.sub(r"\D", "", version["minor"])) <= 35
    cluster.model("smollm2", autoscaling={"maxReplicas": 2})
    cluster.wait_ready("smollm2")
    assert ask(cluster, "smollm2")
    cluster.kubectl("delete", "mdl", "smollm2")
    cluster.wait("everything collected", lambda: not cluster.list("mart,jobs,deploy,pvc"))


@pytest.mark.unverified("Helm 3")
def test_helm_3_renders_what_helm_4_renders() -> None:
    assert helm("version", "--short").stdout.startswith("v3.")
    objects = [obj for obj in render() if obj["kind"] != "CustomResourceDefinition"]
    text = yaml.safe_dump_all(objects, sort_keys=False, width=110)
    assert text == (ROOT / "tests/golden/chart/cases/default.expected.yaml").read_text("utf-8")


@pytest.mark.cluster
@pytest.mark.unverified("A real reboot")
def test_the_demo_answers_again_after_a_reboot() -> None:
    owner = json.loads(layout.OWNER.read_text())
    assert owner["boot"] != host.boot_id(), "reboot the machine, and start nothing before this test"
    subprocess.run([sys.executable, str(ROOT / "hack/cluster/cluster.py"), "up"], check=True, timeout=600)
    demo = Cluster("slipway-demo")
    demo.wait("the model's pod", lambda: demo.get("deploy", "smollm2")["status"].get("readyReplicas"))
    assert ask(demo, "smollm2")


@pytest.mark.cluster
@pytest.mark.unverified("cgroup version 2")
def test_limits_are_in_force_with_cgroup_version_2(cluster: Cluster) -> None:
    assert host.cgroup_version() == 2
    cluster.model("smollm2")
    cluster.wait_ready("smollm2")
    (pod,) = cluster.list("pods", ENGINE)
    uid = pod["metadata"]["uid"].replace("-", "[-_]")
    (limit,) = Path("/sys/fs/cgroup", layout.CGROUP).rglob(f"*pod{uid}*/memory.max")
    assert int(limit.read_text()) > 100_000_000
