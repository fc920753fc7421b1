"""What a pool's ModelDeployment says, and what stands before all pools."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.poolspec import pool_spec
from slipway.api.validate import problems
from slipway.manifests.owner import Owner
from slipway.manifests.pools import build_group, build_pool
from tests.support.planning import spec

TOLERATIONS = [{"key": f"k{number}", "operator": "Exists"} for number in range(9)]
WHOLE = {
    "engine": {
        "contextLength": 2048,
        "args": {"max-log-len": "10", "seed": "1"},
        "podOverrides": {"nodeSelector": {"zone": "a"}, "tolerations": [{"key": "x", "operator": "Exists"}]},
    },
    "optimize": {"goal": "cost"},
    "autoscaling": {"maxReplicas": 9},
    "store": {"accessMode": "ReadWriteMany"},
    "suspend": True,
}


def made(whole: dict[str, Any] | None = None, **pool: Any) -> ModelDeploymentSpec:
    given = spec(**(WHOLE if whole is None else whole), pools=[{"name": "a", **pool}])
    assert given.pools
    return pool_spec(given, "chat", given.pools[0], 3)


def test_a_pool_says_what_is_different_field_by_field() -> None:
    found = made(
        nodeSelector={"disk": "ssd", "zone": "b"},
        tolerations=[{"key": "y", "operator": "Exists"}],
        engine={"contextLength": 512, "args": {"seed": "2"}},
        optimize={"level": "Q4_K_M"},
    )
    assert found.engine
    assert found.engine.context_length == 512
    assert found.engine.args == {"max-log-len": "10", "seed": "2"}
    assert found.engine.served_model_name == "chat"
    pod = found.engine.pod_overrides
    assert pod
    assert pod.node_selector == {"zone": "a"}  # what Jobs need too
    assert found.engine.node_selector == {"zone": "b", "disk": "ssd"}
    assert [one.key for one in pod.tolerations or ()] == ["x", "y"]
    assert found.optimize
    assert (found.optimize.goal, found.optimize.level) == ("cost", "Q4_K_M")
    assert found.replicas == 3
    assert (found.pools, found.autoscaling, found.suspend) == (None, None, None)
    assert found.store == spec(**WHOLE).store


def test_a_pool_of_a_bare_model_says_little() -> None:
    found = made({}).model_dump(by_alias=True, exclude_none=True)
    assert found == {
        "model": {"source": "hf://acme/model"}, "engine": {"servedModelName": "chat"}, "replicas": 3,
    }  # fmt: skip


def test_the_object_is_owned_and_labelled(owner: Owner) -> None:
    whole = spec(pools=[{"name": "l4"}])
    assert whole.pools
    queue = {"kueue.x-k8s.io/queue-name": "team"}
    found = build_pool(owner, whole, whole.pools[0], 1, {"slipway.dev/retry": "1"}, queue)
    meta = found["metadata"]
    assert queue.items() <= meta["labels"].items()
    assert (found["kind"], meta["name"], meta["annotations"]) == (
        "ModelDeployment", "chat-l4", {"slipway.dev/retry": "1"},
    )  # fmt: skip
    assert meta["labels"]["slipway.dev/pool-of"] == "chat"
    assert "slipway.dev/model" not in meta["labels"]
    assert meta["ownerReferences"][0]["controller"] is True


def test_the_autoscaler_counts_the_sum(owner: Owner) -> None:
    service, scaler = build_group(owner, spec(autoscaling={"maxReplicas": 3}, pools=[{"name": "a"}]))
    assert service["spec"]["selector"]["slipway.dev/pool-of"] == "chat"
    assert scaler["spec"]["scaleTargetRef"] == {
        "apiVersion": "slipway.dev/v1alpha1", "kind": "ModelDeployment", "name": "chat",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([], "spec.pools"),
        ([{"name": "a"}, {"name": "a"}], "two pools have the same name"),
        ([{"name": "a", "minReplicas": 2, "maxReplicas": 1}], "minReplicas must not be greater"),
        ([{"name": "thirteen-long"}], "spec.pools[0].name"),
        ([{"name": "A"}], "spec.pools[0].name"),
        ([{"name": "twelve-chars"}], "has more than 40 characters"),
        ([{"name": "a", "engine": {"tensorParallel": 0}}], "spec.pools[0].engine.tensorParallel"),
        ([{"name": "a"}, {"name": "b"}], "ReadWriteMany"),
        ([{"name": "a", "optimize": {"level": "Q9"}}], "spec.pools[0]: together with the whole"),
        ([{"name": "a", "tolerations": TOLERATIONS}], "spec.pools[0]: together with the whole"),
    ],
)
def test_wrong_pools_are_named(pools: list[dict[str, Any]], expected: str) -> None:
    name = "a-name-that-is-quite-long-1234"
    engine = {"podOverrides": {"tolerations": TOLERATIONS}}
    wish = {"model": {"source": "hf://acme/model"}, "engine": engine, "pools": pools}
    obj = {"metadata": {"name": name}, "spec": wish}
    assert expected in "; ".join(one.message for one in problems(obj))


def test_another_draft_of_a_pool_has_its_own_revision() -> None:
    whole = {"engine": {"speculative": {"draft": {"source": "hf://a/d", "revision": "v1"}, "tokens": 3}}}
    found = made(whole, engine={"speculative": {"draft": {"source": "hf://a/e"}}})
    assert found.engine
    assert found.engine.speculative
    assert found.engine.speculative.draft
    assert found.engine.speculative.draft.revision is None
    plain = made(whole, engine={"speculative": {"method": "ngram"}})
    assert plain.engine
    assert plain.engine.speculative
    assert plain.engine.speculative.draft is None


def test_an_adapter_may_not_have_the_name_that_is_served() -> None:
    adapters = [{"name": "sql", "source": "hf://acme/sql", "mode": "serve"}]
    for name, served, wrong in (("sql", None, True), ("chat", "sql", True), ("sql", "chat", False)):
        engine = {"servedModelName": served} if served else {}
        wish = {"model": {"source": "hf://acme/model", "adapters": adapters}, "engine": engine}
        found = "; ".join(one.message for one in problems({"metadata": {"name": name}, "spec": wish}))
        assert ("the name of the model itself" in found) is wrong


def test_the_nodes_of_a_pool_are_those_of_its_jobs_where_volumes_stay_on_a_node() -> None:
    found = made({}, nodeSelector={"disk": "ssd"})
    assert found.engine
    assert found.engine.pod_overrides
    assert found.engine.pod_overrides.node_selector == {"disk": "ssd"}
    assert found.engine.node_selector is None


def test_a_selector_for_the_engine_alone_needs_a_store_of_every_node() -> None:
    wish = {"model": {"source": "hf://acme/model"}, "engine": {"nodeSelector": {"a": "b"}}}
    found = problems({"metadata": {"name": "x"}, "spec": wish})
    assert "ReadWriteMany" in "; ".join(one.message for one in found)
    shared = {**wish, "store": {"accessMode": "ReadWriteMany"}}
    assert not problems({"metadata": {"name": "x"}, "spec": shared})
