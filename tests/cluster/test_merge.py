"""Adapters merged in the cluster: two of them in the weights of what is served, and one of another model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.callers import client
from tests.cluster.namespaces import Cluster, own_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
TINY = "hf://slipway-test/tiny"
OTHER = {"name": "big", "source": "hf://slipway-test/adapter", "mode": "merge"}
"""Made for SmolLM2, and says so."""


@pytest.fixture(scope="module")
def merging() -> Iterator[Cluster]:
    with own_namespace("merge") as cluster:
        yield cluster


def adapters(*weights: float) -> list[dict[str, object]]:
    names = ("tiny-adapter", "tiny-adapter-2")
    return [
        {"name": name, "source": f"hf://slipway-test/{name}", "mode": "merge", "weight": weight}
        for name, weight in zip(names, weights, strict=True)
    ]


def test_what_is_served_is_the_merged_model(merging: Cluster) -> None:
    model = {"source": TINY, "adapters": adapters(1, 0.5)}
    merging.model("merged", TINY, model=model, optimize={"level": "Q8_0"})
    merging.wait_ready("merged", 600)
    found = {one["spec"]["recipe"]["method"]: one for one in merging.list("mart")}
    merged = found["merge"]
    assert merged["spec"]["recipe"]["options"] == {
        "adapter-01": "tiny-adapter=1",
        "adapter-02": "tiny-adapter-2=0.5",
    }
    assert "loss" not in merged["status"].get("quality", {})
    parents = {one["metadata"]["name"]: one["spec"].get("parent") for one in merging.list("mart")}
    assert merged["metadata"]["name"] in parents.values()
    kinds = [(one["name"], one["kind"]) for one in merging.mdl("merged")["status"]["companions"]]
    assert kinds == [("tiny-adapter", "merge"), ("tiny-adapter-2", "merge")]
    (pod,) = merging.engines("merged")
    assert not [one for one in pod["spec"]["volumes"] if one["name"].startswith("companion-")]
    with client(merging, "merged") as ai:
        assert [one.id for one in ai.models.list()] == ["merged"]
        said = ai.completions.create(model="merged", prompt="Once", max_tokens=8)
        assert said.usage is not None
        assert said.usage.completion_tokens > 0


def test_an_adapter_of_another_base_is_refused_before_anything_is_fetched(merging: Cluster) -> None:
    merging.model("other", TINY, model={"source": TINY, "adapters": [OTHER]})
    said = merging.wait_reason("other", "Planned", "AdapterMismatch")
    assert "hidden size 576" in said["message"]


def test_one_that_only_its_shapes_betray_is_refused_by_the_job(merging: Cluster) -> None:
    deep = {"name": "deep", "source": "hf://slipway-test/tiny-adapter-deep", "mode": "merge"}
    merging.model("deep", TINY, model={"source": TINY, "adapters": [deep]})
    said = merging.wait_reason("deep", "ArtifactReady", "AdapterMismatch", 400)
    assert "model.layers.2" in said["message"]


def test_an_adapter_that_is_not_there_is_named(merging: Cluster) -> None:
    gone = {"name": "gone", "source": "hf://slipway-test/no-such-adapter", "mode": "merge"}
    merging.model("gone", TINY, model={"source": TINY, "adapters": [gone]})
    said = merging.wait_reason("gone", "SourceResolved", "RepositoryNotFound")
    assert "no-such-adapter" in said["message"]
