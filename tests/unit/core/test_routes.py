"""Which models a node's news concerns."""

from __future__ import annotations

from typing import Any

from slipway.observe import kinds, routes
from slipway.observe.store import Store
from slipway.queue import Key

Raw = dict[str, Any]


def node(name: str, *, pressure: str = "False", labels: dict[str, str] | None = None) -> Raw:
    conditions = [{"type": "DiskPressure", "status": pressure}]
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "status": {"conditions": conditions},
    }


def stores() -> dict[str, Store]:
    found = {watched.resource.kind: Store(watched.index) for watched in kinds.WATCHED}
    planned = {"conditions": [{"type": "Planned", "status": "True"}]}
    for name, where in (("here", "one"), ("there", "two")):
        meta = {"name": name, "namespace": "n", "uid": name}
        found["ModelDeployment"].put({"kind": "ModelDeployment", "metadata": meta, "status": planned})
        labels = {kinds.MODEL_LABEL: name, kinds.COMPONENT_LABEL: "engine"}
        pod = {"name": f"{name}-pod", "namespace": "n", "labels": labels}
        found["Pod"].put({"kind": "Pod", "metadata": pod, "spec": {"nodeName": where}})
    return found


def test_a_nodes_changed_condition_wakes_the_models_that_run_there() -> None:
    woken = routes.keys(stores(), node("one"), node("one", pressure="True"))
    assert woken == {Key("ModelDeployment", "n", "here")}
    assert routes.keys(stores(), node("one"), None) == {Key("ModelDeployment", "n", "here")}


def test_other_news_of_a_node_wake_no_settled_model() -> None:
    assert routes.keys(stores(), node("one"), node("one", labels={"a": "b"})) == set()


def test_a_models_new_label_reaches_its_artifacts_and_its_status_does_not() -> None:
    caches = stores()
    owner = {"uid": "here", "kind": "ModelDeployment", "name": "here", "apiVersion": "slipway.dev/v1alpha1"}
    meta = {"name": "source", "namespace": "n", "uid": "a", "ownerReferences": [owner]}
    caches["ModelArtifact"].put({"kind": "ModelArtifact", "metadata": meta, "spec": {}})
    (before,) = caches["ModelDeployment"].find("uid:here")
    queue = {"labels": {"kueue.x-k8s.io/queue-name": "team"}}
    artifact = Key("ModelArtifact", "n", "source")
    assert artifact in routes.keys(caches, before, {**before, "metadata": {**before["metadata"], **queue}})
    assert artifact not in routes.keys(caches, before, {**before, "status": {}})
