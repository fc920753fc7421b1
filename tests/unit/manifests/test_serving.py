"""Serving children: what golden files don't say by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.manifests.owner import Owner, PublishedArtifact
from slipway.manifests.serving import build_serving, selector, service_url
from slipway.plan.decision import Plan
from slipway.settings import Settings
from tests.support.planning import spec

REVISION = "chat-0123456789"


@pytest.fixture
def build(owner: Owner, plan: Plan, published: PublishedArtifact) -> Any:
    def built(settings: Settings | None = None, **fields: Any) -> dict[tuple[str, str], dict[str, Any]]:
        found = build_serving(owner, spec(**fields), plan, published, settings or Settings(), REVISION)
        children = {(one["kind"], one["metadata"]["name"]): one for one in found}
        assert len(children) == len(found)
        return children

    return built


def deployment(children: Any) -> dict[str, Any]:
    found: dict[str, Any] = children["Deployment", "chat"]
    return found


def test_children_and_their_owner(build: Any) -> None:
    kinds = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    assert {kind for kind, name in build() if name == "chat"} == kinds
    assert {kind for kind, _ in build(autoscaling={"maxReplicas": 2})} == kinds | {"HorizontalPodAutoscaler"}
    assert "NetworkPolicy" not in {kind for kind, _ in build(Settings(network_policy=False))}
    for child in build(autoscaling={"maxReplicas": 2}).values():
        reference = child["metadata"]["ownerReferences"][0]
        assert (reference["uid"], reference["controller"]) == ("uid-1", True)
        assert "blockOwnerDeletion" not in reference
        assert child["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "slipway"
        assert child["metadata"]["labels"]["slipway.dev/model"] == "chat"


def test_replicas_belong_to_the_spec_or_to_the_autoscaler(build: Any) -> None:
    assert deployment(build(replicas=3))["spec"]["replicas"] == 3
    assert deployment(build(replicas=0))["spec"]["replicas"] == 0
    children = build(autoscaling={"minReplicas": 2, "maxReplicas": 4})
    assert "replicas" not in deployment(children)["spec"]
    scaler = children["HorizontalPodAutoscaler", "chat"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 80


@pytest.mark.parametrize(
    ("holds", "fields", "surge"),
    [
        (None, {}, 1),
        (2, {}, 1),
        (1, {}, 0),
        (2, {"replicas": 2}, 0),
        (2, {"autoscaling": {"maxReplicas": 9}}, 1),
        (2, {"autoscaling": {"minReplicas": 2, "maxReplicas": 9}}, 0),
    ],
)
def test_an_update_that_has_no_room_for_one_more_stops_one_first(
    owner: Owner, plan: Plan, published: PublishedArtifact, holds: int | None, fields: Any, surge: int
) -> None:
    held = replace(plan, holds=holds)
    found = build_serving(owner, spec(**fields), held, published, Settings(), REVISION)
    body = next(one for one in found if one["kind"] == "Deployment")["spec"]
    assert body["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": 1 - surge}


def test_a_paused_rollout_is_never_wished(build: Any) -> None:
    assert deployment(build())["spec"]["paused"] is False


def test_pods_run_on_nodes_that_the_images_are_for_only(
    owner: Owner, plan: Plan, published: PublishedArtifact, build: Any
) -> None:
    pod = deployment(build())["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    (term,) = required(pod)["nodeSelectorTerms"]
    known = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]}
    assert term == {"matchExpressions": [known]}
    pinned = replace(plan, node_selector=(("kubernetes.io/arch", "arm64"),))
    found = build_serving(owner, spec(), pinned, published, Settings(), REVISION)
    pod = next(one for one in found if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"}
    assert "nodeAffinity" not in pod["affinity"]


def required(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return found


def test_replicas_run_where_their_volume_can_be(build: Any) -> None:
    mine = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector("chat")}}
    for fields in ({}, {"store": {"accessMode": "ReadWriteOnce"}}, {"store": {"size": "1Gi"}}):
        pod = deployment(build(replicas=2, **fields))["spec"]["template"]["spec"]
        assert "topologySpreadConstraints" not in pod
        (wish,) = pod["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert wish["podAffinityTerm"] == mine
    pod = deployment(build(store={"accessMode": "ReadWriteMany"}))["spec"]["template"]["spec"]
    assert "podAffinity" not in pod["affinity"]
    assert mine.items() <= pod["topologySpreadConstraints"][0].items()


def test_user_and_group_are_ours_or_the_clusters(build: Any) -> None:
    pod = deployment(build(Settings(fs_group=2000)))["spec"]["template"]["spec"]["securityContext"]
    assert (pod["runAsUser"], pod["fsGroup"]) == (65532, 2000)
    left = deployment(build(Settings(fs_group=None)))["spec"]["template"]["spec"]["securityContext"]
    assert left == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_selectors_agree(build: Any) -> None:
    children = build(engine={"podOverrides": {"labels": {"team": "a"}}})
    wanted = selector("chat")
    pod_labels = deployment(children)["spec"]["template"]["metadata"]["labels"]
    assert wanted.items() <= pod_labels.items()
    assert pod_labels["team"] == "a"
    assert deployment(children)["spec"]["selector"]["matchLabels"] == wanted
    assert children["Service", "chat"]["spec"]["selector"] == wanted
    assert children["PodDisruptionBudget", "chat"]["spec"]["selector"]["matchLabels"] == wanted
    assert children["NetworkPolicy", "chat"]["spec"]["podSelector"]["matchLabels"] == wanted
    jobs = children["NetworkPolicy", "chat.jobs"]["spec"]["podSelector"]["matchLabels"]
    assert not jobs.items() <= pod_labels.items()


def test_model_is_read_only_and_only_the_published_folder(build: Any) -> None:
    pod = deployment(build())["spec"]["template"]["spec"]
    mount = next(one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/models")
    assert mount == {"name": "model", "mountPath": "/models", "readOnly": True, "subPath": "published"}
    claim = next(one for one in pod["volumes"] if one["name"] == "model")
    assert claim["persistentVolumeClaim"] == {"claimName": "model-q4-k-m-0123456789", "readOnly": True}
    shared = next(one for one in pod["volumes"] if one["name"] == "shm")
    assert shared["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Mi"}


def test_only_the_digest_rolls_pods_not_the_revision(
    build: Any, owner: Owner, plan: Plan, published: PublishedArtifact
) -> None:
    first = deployment(build())["spec"]["template"]

    def template(artifact: PublishedArtifact, revision: str) -> dict[str, Any]:
        found = build_serving(owner, spec(), plan, artifact, Settings(), revision)
        return next(one["spec"]["template"] for one in found if one["kind"] == "Deployment")

    assert template(published, "chat-other") == first
    assert template(replace(published, digest="sha256:" + "b" * 64), REVISION) != first


def test_cpu_limit_is_the_threads_unless_the_user_fixed_it(
    owner: Owner, plan: Plan, published: PublishedArtifact, build: Any
) -> None:
    resources = deployment(build())["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources == {
        "requests": {"cpu": "250m", "memory": "748Mi"},
        "limits": {"cpu": "2", "memory": "748Mi"},
    }
    fixed = replace(plan, resources=replace(plan.resources, cpu_millis=500), threads=1)
    wish = spec(engine={"resources": {"cpu": "500m"}})
    found = build_serving(owner, wish, fixed, published, Settings(), REVISION)
    container = next(one for one in found if one["kind"] == "Deployment")["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["resources"]["limits"]["cpu"] == container["resources"]["requests"]["cpu"] == "500m"
    nothing = spec(engine={"resources": {"cpu": "0"}})  # of before the API refused it
    found = build_serving(owner, nothing, plan, published, Settings(), REVISION)
    body = next(one for one in found if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert body["containers"][0]["resources"] == resources


def test_a_long_start_gets_a_long_deadline(
    owner: Owner, plan: Plan, published: PublishedArtifact, build: Any
) -> None:
    assert deployment(build())["spec"]["progressDeadlineSeconds"] == 600
    heavy = replace(plan, memory=replace(plan.memory, weights=40 * 10**9))
    found = build_serving(owner, spec(), heavy, published, Settings(), REVISION)
    body = next(one for one in found if one["kind"] == "Deployment")["spec"]
    startup = body["template"]["spec"]["containers"][0]["startupProbe"]
    assert body["progressDeadlineSeconds"] > startup["failureThreshold"] * startup["periodSeconds"] > 2000


def test_users_cannot_take_the_operators_annotations_or_arguments_apart(build: Any) -> None:
    overrides = {"annotations": {"slipway.dev/artifact-digest": "mine"}}
    children = build(engine={"podOverrides": overrides, "args": {"log-file": "$(HOME)/x"}})
    template = deployment(children)["spec"]["template"]
    assert template["metadata"]["annotations"]["slipway.dev/artifact-digest"] == "sha256:" + "a" * 64
    assert "$$(HOME)/x" in template["spec"]["containers"][0]["args"]
    # Hooks are not expanded by Kubernetes: a doubled dollar would be the shell's process id.
    assert "$$" not in template["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]


def test_url() -> None:
    assert (
        service_url("chat", "team", Settings(cluster_domain="k8s.site"))
        == "http://chat.team.svc.k8s.site:8080"
    )
