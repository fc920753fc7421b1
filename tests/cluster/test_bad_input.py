"""What users get wrong, and what breaks around them: each ends in a condition that a person understands."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from slipway.plan.stages import BACKOFF_FIRST, LAG_SECONDS
from tests.cluster.conftest import SMOLLM2, Cluster, hub_fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PERMANENT = [
    ("unknown-scheme", {"source": "ftp://example/model"}, "UnknownScheme"),
    ("no-repository", {"source": "hf://slipway-test/no-such-model"}, "RepositoryNotFound"),
    ("no-revision", {"source": SMOLLM2, "revision": "no-such-branch"}, "RevisionNotFound"),
    ("gated", {"source": "hf://slipway-test/gated"}, "GatedRepository"),
    ("no-config", {"source": "hf://slipway-test/no-config"}, "NoConfig"),
    ("pickle", {"source": "hf://slipway-test/pickle-only"}, "PickleOnly"),
    ("architecture", {"source": "hf://slipway-test/unsupported-architecture"}, "UnsupportedArchitecture"),
    ("truncated", {"source": "hf://slipway-test/truncated"}, "TruncatedWeights"),
]


@pytest.mark.parametrize(("name", "model", "reason"), PERMANENT, ids=[p[0] for p in PERMANENT])
def test_permanent_mistakes_are_named(cluster: Cluster, name: str, model: Any, reason: str) -> None:
    body = dict(model)
    cluster.model(name, body.pop("source"), model=body)
    ready = cluster.wait_reason(name, "Ready", reason, 120)
    assert ready["status"] == "False"
    assert len(ready["message"]) > 20
    pods = {p["metadata"]["name"] for p in cluster.list("pods")}
    assert len(pods) <= 2
    assert not cluster.list("deploy")


def test_a_permanent_mistake_is_not_tried_again(cluster: Cluster) -> None:
    cluster.model("once", "hf://slipway-test/no-such-model")
    cluster.wait_reason("once", "Ready", "RepositoryNotFound", 120)
    assert cluster.mdl("once")["status"]["failure"]["reason"] == "RepositoryNotFound"
    before = [job["metadata"]["uid"] for job in cluster.list("jobs")]
    time.sleep(BACKOFF_FIRST + LAG_SECONDS)  # longer than the operator waits before a second try
    assert [job["metadata"]["uid"] for job in cluster.list("jobs")] == before
    assert len(before) == 1


def test_wrong_token_then_the_right_one_goes_on_by_itself(cluster: Cluster) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hub"},
        "stringData": {"token": "hf_wrong"},
    }
    cluster.apply(secret)
    cluster.model("locked", "hf://slipway-test/gated", model={"secretRef": {"name": "hub"}})
    cluster.wait_reason("locked", "Ready", "TokenRejected", 120)
    data = base64.b64encode(b"hf_reader").decode()
    cluster.kubectl("patch", "secret", "hub", "-p", json.dumps({"data": {"token": data}}))
    cluster.wait(
        "the source resolved",
        lambda: cluster.condition("locked", "SourceResolved").get("status") == "True",
        120,
    )


def test_hub_down_waits_and_then_goes_on_by_itself(cluster: Cluster) -> None:
    with hub_fault(down=True):
        cluster.model("waiting", "hf://slipway-test/tiny")
        cluster.wait_reason("waiting", "Ready", "HubUnavailable", 180)
    cluster.wait(
        "the source resolved",
        lambda: cluster.condition("waiting", "SourceResolved").get("status") == "True",
        180,
    )


def test_unknown_level_lists_the_known(cluster: Cluster) -> None:
    cluster.model("level", optimize={"level": "Q9_Z"})
    ready = cluster.wait_reason("level", "Ready", "UnknownLevel", 60)
    assert "Q4_K_M" in ready["message"]
    assert not cluster.list("jobs")


def test_store_too_small_is_refused_up_front_with_the_figure(cluster: Cluster) -> None:
    cluster.model("small", store={"size": "16Mi"})
    ready = cluster.wait_reason("small", "Ready", "StoreTooSmall", 120)
    assert "16Mi" in ready["message"] or "16 MiB" in ready["message"]
    assert not cluster.list("pvc")


def test_no_node_has_enough_memory(cluster: Cluster) -> None:
    cluster.model("huge", engine={"resources": {"memory": "900Gi"}})
    ready = cluster.wait_reason("huge", "Ready", "NothingFits", 120)
    assert "900" in ready["message"]


def test_image_that_cannot_be_pulled_is_said_and_healed(cluster: Cluster) -> None:
    cluster.model("image", "hf://slipway-test/tiny", engine={"image": "198.18.0.1:1/nobody/nothing:1"})
    ready = cluster.wait_reason("image", "Ready", "ImagePullFailed", 240)
    assert "198.18.0.1:1/nobody/nothing:1" in ready["message"]
    cluster.kubectl("patch", "mdl", "image", "--type=json", "-p", '[{"op":"remove","path":"/spec/engine"}]')
    cluster.wait_ready("image", 240)


def test_a_foreign_service_of_that_name_is_never_touched(cluster: Cluster) -> None:
    port = {"port": 80}
    spec = {"selector": {"app": "theirs"}, "ports": [port]}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken"}, "spec": spec})
    before = cluster.get("service", "taken")["metadata"]["resourceVersion"]
    cluster.model("taken", "hf://slipway-test/tiny")
    ready = cluster.wait_reason("taken", "Ready", "NameConflict", 240)
    assert "Service" in ready["message"]
    assert cluster.get("service", "taken")["metadata"]["resourceVersion"] == before
    cluster.kubectl("delete", "service", "taken")
    cluster.wait_ready("taken", 120)


def test_children_deleted_or_edited_by_hand_heal(served: Cluster) -> None:
    uid = served.get("service", "smollm2")["metadata"]["uid"]
    served.kubectl("delete", "service", "smollm2")
    served.wait(
        "a new Service",
        lambda: served.get("service", "smollm2").get("metadata", {}).get("uid") not in (uid, None),
        30,
    )
    patch = '{"spec":{"selector":{"slipway.dev/model":"somebody-else"}}}'
    served.kubectl("patch", "service", "smollm2", "--type=merge", "-p", patch)

    def healed() -> bool:
        return bool(served.get("service", "smollm2")["spec"]["selector"]["slipway.dev/model"] == "smollm2")

    served.wait("the selector back", healed, 30)


def test_spec_changed_in_the_middle_of_a_job(cluster: Cluster) -> None:
    with hub_fault(bytes_per_second=200_000):
        cluster.model("changing", SMOLLM2)
        cluster.wait("the fetch Job", lambda: cluster.list("jobs", "slipway.dev/stage=fetch"), 120)
        cluster.model("changing", "hf://slipway-test/tiny")
    mdl = cluster.wait_ready("changing", 300)
    assert mdl["status"]["source"]["uri"] == "hf://slipway-test/tiny"


def test_suspend_stops_and_resume_goes_on(cluster: Cluster) -> None:
    cluster.model("paused", "hf://slipway-test/tiny", suspend=True)
    cluster.wait_reason("paused", "Progressing", "Suspended", 30)
    assert not cluster.list("jobs")
    cluster.kubectl("patch", "mdl", "paused", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    cluster.wait("the first Job", lambda: cluster.list("jobs"), 30)


def test_every_mistake_that_the_schema_knows_is_refused_by_the_api_server(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match="replicas"):
        cluster.model("bad", replicas=-1)
    with pytest.raises(AssertionError, match="minReplicas"):
        cluster.model("bad", autoscaling={"minReplicas": 3, "maxReplicas": 2})
