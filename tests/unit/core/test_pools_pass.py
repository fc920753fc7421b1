"""The pass over a model with pools: what is dealt, kept, handed over and said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway.observe.observed import ModelObserved
from slipway.passes import model
from slipway.passes.outcome import Outcome
from slipway.status import timestamp
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition
from tests.unit.core.test_replan import waits_for_room
from tests.unit.core.test_upkeep import GENERATIONS, served

Raw = dict[str, Any]
COMMIT = "c" * 40
ENGINE = {"app.kubernetes.io/component": "engine"}
STORE = {"accessMode": "ReadWriteMany"}
WELL = ("SourceResolved", "Planned", "ArtifactReady", "Available", "ChecklistPassed")


def whole(*pools: str, replicas: int = 2, **spec: Any) -> ModelObserved:
    """A model with these pools, none of which is there yet."""
    given = [{"name": name} if isinstance(name, str) else name for name in pools]
    meta = {
        "name": "chat",
        "namespace": "team",
        "uid": "whole",
        "generation": next(GENERATIONS),
        "resourceVersion": "1",
    }
    body = {
        "model": {"source": "hf://acme/model"},
        "store": STORE,
        "replicas": replicas,
        "pools": given,
        **spec,
    }
    raw = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelDeployment", "metadata": meta, "spec": body}
    return ModelObserved(model=raw, namespace_labels={})


def look(seen: ModelObserved, **spec: Any) -> tuple[ModelObserved, Outcome]:
    """A pass, with changed fields of the spec, and what is seen once its status is written."""
    meta = seen.model["metadata"]
    changed = {**meta, "generation": next(GENERATIONS)}
    seen = replace(seen, model={**seen.model, "metadata": changed, "spec": {**seen.model["spec"], **spec}})
    outcome = model.decide(seen, SETTINGS, NOW)
    return replace(seen, model={**seen.model, "status": outcome.status}), outcome


def applied(outcome: Outcome) -> dict[str, Raw]:
    """The pools that are asked for, by name."""
    return {one["metadata"]["name"]: one for one in outcome.apply if one["kind"] == "ModelDeployment"}


def dealt(outcome: Outcome) -> dict[str, int]:
    return {name: one["spec"]["replicas"] for name, one in applied(outcome).items()}


def gone(outcome: Outcome) -> list[str]:
    return [f"{one['kind']} {one['metadata']['name']}" for one in outcome.delete]


def there(outcome: Outcome, ready: dict[str, int], *, resolved: bool = True) -> tuple[Raw, ...]:
    """The pools as the cluster holds them: planned, built, with so many replicas that answer."""
    found = []
    for name, raw in applied(outcome).items():
        held = accepted(raw)
        held["metadata"] |= {"generation": 1, "resourceVersion": "5", "uid": f"uid-{name}"}
        count = ready.get(name, 0)
        conditions = [{"type": one, "status": "True", "reason": "X", "message": one} for one in WELL]
        held["status"] = {
            "observedGeneration": 1, "readyReplicas": count, "replicas": raw["spec"]["replicas"],
            "source": {"commit": COMMIT}, "conditions": conditions if resolved else [],
        }  # fmt: skip
        found.append(held)
    return tuple(found)


def running(*pools: Any, ready: dict[str, int], **spec: Any) -> ModelObserved:
    """A model whose pools are resolved, with so many replicas that answer each."""
    seen, outcome = look(whole(*pools, **spec))
    seen, outcome = look(replace(seen, pools=there(outcome, {})))
    seen, _ = look(replace(seen, pools=there(outcome, ready)))
    return seen


def test_the_first_pool_resolves_the_commit_and_all_serve_it() -> None:
    seen, outcome = look(whole("a", "b"))
    assert list(applied(outcome)) == ["chat-a"]
    assert "revision" not in applied(outcome)["chat-a"]["spec"]["model"]
    seen, outcome = look(replace(seen, pools=there(outcome, {}, resolved=False)))
    assert list(applied(outcome)) == ["chat-a"]
    _, outcome = look(replace(seen, pools=there(outcome, {})))
    assert {one["spec"]["model"]["revision"] for one in applied(outcome).values()} == {COMMIT}
    assert dealt(outcome) == {"chat-a": 2, "chat-b": 0}


def test_a_commit_by_hand_is_turned_back() -> None:
    seen = running("a", "b", ready={"chat-a": 2})
    pools = [{**one, "spec": {**one["spec"], "model": {**one["spec"]["model"], "revision": "main"}}}
             for one in seen.pools]  # fmt: skip
    _, outcome = look(replace(seen, pools=tuple(pools)))
    assert {one["spec"]["model"]["revision"] for one in applied(outcome).values()} == {COMMIT}


def test_while_a_revision_is_resolved_the_others_serve_on_with_their_part() -> None:
    seen = running({"name": "a", "maxReplicas": 1}, "b", ready={"chat-a": 1, "chat-b": 1})
    _, outcome = look(seen, replicas=3, model={"source": "hf://acme/model", "revision": "typo"})
    assert dealt(outcome) == {"chat-a": 1, "chat-b": 2}
    assert applied(outcome)["chat-b"]["spec"]["model"]["revision"] == COMMIT
    assert applied(outcome)["chat-a"]["spec"]["model"]["revision"] == "typo"


def test_a_pool_that_is_removed_answers_until_others_do() -> None:
    seen = running("a", "b", ready={"chat-a": 2})
    seen, outcome = look(seen, pools=[{"name": "b"}])
    assert gone(outcome) == []
    assert condition(outcome, "Available")[0] == "True"
    grown = tuple(
        {**one, "status": {**one["status"], "readyReplicas": 2}, "spec": {**one["spec"], "replicas": 2}}
        for one in seen.pools
    )
    _, outcome = look(replace(seen, pools=grown))
    assert gone(outcome) == ["ModelDeployment chat-a"]


@pytest.mark.parametrize(("ready", "stays"), [(0, True), (1, True), (2, False)])
def test_what_served_before_there_were_pools_goes_when_as_many_answer(ready: int, stays: bool) -> None:
    seen = running("a", ready={"chat-a": ready})
    before = [raw for raw in served(replicas=2).children if raw["kind"] in ("Deployment", "Service")]
    for raw in before:
        raw["metadata"]["name"] = "chat"
    _, outcome = look(replace(seen, children=tuple(before)))
    assert ("Deployment chat" in gone(outcome)) is not stays
    assert ("Service" in {one["kind"] for one in outcome.apply}) is not stays
    assert condition(outcome, "Available")[0] == "True"


def test_more_replicas_leave_a_ready_model_ready() -> None:
    seen = running("a", ready={"chat-a": 2})
    seen, outcome = look(seen)
    assert condition(outcome, "Ready")[0] == "True"
    _, outcome = look(seen, replicas=5)
    assert dealt(outcome) == {"chat-a": 5}
    assert condition(outcome, "Ready")[0] == "True"
    assert condition(outcome, "Progressing")[0] == "True"


def test_limits_that_are_reached_are_said() -> None:
    seen = running({"name": "a", "maxReplicas": 2}, ready={"chat-a": 2}, replicas=5)
    _, outcome = look(seen)
    assert condition(outcome, "Ready")[0] == "True"
    assert "maxReplicas of the pools allow 2 of 5" in condition(outcome, "Available")[2]


def pending(name: str, template: str, *, waiting: bool) -> Raw:
    if waiting:
        pod = waits_for_room()
    else:
        pod = {"metadata": {"labels": {}}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    meta = {**pod["metadata"], "name": name, "labels": {**ENGINE, "pod-template-hash": template}}
    return {**pod, "metadata": meta}


@pytest.mark.parametrize(
    ("templates", "spills"),
    [("11", True), ("12", False)],
    ids=["a pod without a node", "an update that waits for its own old pod"],
)
def test_an_update_alone_makes_no_pool_full(templates: str, spills: bool) -> None:
    seen = running("a", "b", ready={"chat-a": 1})
    one, two = templates
    pods = (pending("p1", one, waiting=False), pending("p2", two, waiting=True))
    _, outcome = look(replace(seen, pool_pods={"chat-a": pods}))
    assert (condition(outcome, "Spilled")[0] == "True") is spills
    assert dealt(outcome) == ({"chat-a": 1, "chat-b": 1} if spills else {"chat-a": 2, "chat-b": 0})


def test_a_volume_that_does_not_come_to_the_node_is_no_room() -> None:
    seen = running("a", "b", ready={}, replicas=1)
    since = timestamp(NOW - timedelta(minutes=5))
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": since}
    creating = {"name": "engine", "state": {"waiting": {"reason": "ContainerCreating"}}}
    status = {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [creating]}
    pod = {"metadata": {"name": "p", "labels": ENGINE}, "spec": {"nodeName": "n"}, "status": status}
    _, outcome = look(replace(seen, pool_pods={"chat-a": (pod,)}))
    assert condition(outcome, "Spilled")[0] == "True"
    assert dealt(outcome) == {"chat-a": 0, "chat-b": 1}


def test_what_is_beside_the_model_is_of_one_commit_in_all_pools() -> None:
    adapter = {"name": "sql", "source": "hf://acme/sql", "mode": "serve"}
    body = {"model": {"source": "hf://acme/model", "adapters": [adapter]}, "engine": {"name": "vllm"}}
    seen, outcome = look(whole("a", "b", **body))
    first = there(outcome, {})
    seen, outcome = look(replace(seen, pools=first))
    assert list(applied(outcome)) == ["chat-a", "chat-b"]
    beside = [{"name": "sql", "kind": "lora", "uri": "hf://acme/sql", "commit": "d" * 40, "bytes": 1}]
    first[0]["status"]["companions"] = beside
    seen, outcome = look(replace(seen, pools=first))
    found = [one["spec"]["model"] for one in applied(outcome).values()]
    assert [one["revision"] for one in found] == [COMMIT, COMMIT]
    assert [one["adapters"][0]["revision"] for one in found] == ["d" * 40, "d" * 40]
    _, outcome = look(replace(seen, pools=there(outcome, {"chat-a": 1})))
    later = [one["spec"]["model"] for one in applied(outcome).values()]
    assert [one["adapters"][0]["revision"] for one in later] == ["d" * 40, "d" * 40]


def test_all_pools_calibrate_on_one_commit_of_the_text() -> None:
    text = "hf://datasets/acme/text"
    optimize = {"method": "awq", "calibration": {"source": text, "samples": 4}}
    seen, outcome = look(whole("a", "b", optimize=optimize))
    first = there(outcome, {})
    beside = [{"name": "calibration", "kind": "calibration", "uri": text, "commit": "e" * 40, "bytes": 1}]
    first[0]["status"]["companions"] = beside
    _, outcome = look(replace(seen, pools=first))
    found = [one["spec"]["optimize"]["calibration"] for one in applied(outcome).values()]
    assert found == [{"source": text, "samples": 4, "revision": "e" * 40}] * 2


def test_pools_go_on_without_the_first_where_nothing_fits() -> None:
    adapter = {"name": "sql", "source": "hf://acme/sql", "mode": "serve"}
    body = {"model": {"source": "hf://acme/model", "adapters": [adapter]}, "engine": {"name": "vllm"}}
    seen, outcome = look(whole("a", "b", **body))
    first = there(outcome, {})
    for one in first[0]["status"]["conditions"]:
        if one["type"] == "Planned":
            one |= {"status": "False", "reason": "NothingFits"}
    _, outcome = look(replace(seen, pools=first))
    assert dealt(outcome) == {"chat-a": 0, "chat-b": 2}


def test_a_draft_of_the_first_pools_own_is_nobody_elses() -> None:
    own = {"speculative": {"draft": {"source": "hf://acme/own"}}}
    body = {"engine": {"name": "vllm", "speculative": {"draft": {"source": "hf://acme/all"}}}}
    seen, outcome = look(whole({"name": "a", "engine": own}, "b", **body))
    first = there(outcome, {})
    beside = {"name": "draft", "kind": "draft", "uri": "hf://acme/own", "commit": "d" * 40, "bytes": 1}
    first[0]["status"]["companions"] = [beside]
    _, outcome = look(replace(seen, pools=first))
    drafts = [one["spec"]["engine"]["speculative"]["draft"] for one in applied(outcome).values()]
    assert drafts == [{"source": "hf://acme/own"}, {"source": "hf://acme/all"}]
