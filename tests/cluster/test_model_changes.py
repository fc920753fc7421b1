"""More deployments beside the demo's: they share its artifacts, take defaults for requests, scale, heal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.cluster.access import CHILDREN, DIRECT
from tests.cluster.callers import client
from tests.cluster.hub import SMOLLM2
from tests.cluster.namespaces import Cluster, model_manifest
from tests.cluster.stages import level_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
PROMPT = 'Answer every message with "quack\\quack".'
DEFAULTS = {"temperature": "0.3", "topP": "0.9", "topK": 1, "maxTokens": 7, "systemPrompt": PROMPT}
SCALING = {"minReplicas": 1, "maxReplicas": 2, "target": {"cpuUtilization": 80}}


@dataclass(frozen=True)
class Family:
    """Deployments of the demo's model in its namespace; artifacts (name to uid) that were there before."""

    cluster: Cluster
    before: dict[str, str]


@pytest.fixture(scope="module")
def family(served: Cluster) -> Iterator[Family]:
    """One with defaults for requests, one that scales, one at another level: made at the same time."""
    before = {one["metadata"]["name"]: one["metadata"]["uid"] for one in served.list("mart")}
    served.apply(
        model_manifest("duck", SMOLLM2, engine={"generation": DEFAULTS}),
        model_manifest("scaled", SMOLLM2, autoscaling=SCALING),
        model_manifest("bigger", SMOLLM2, optimize={"level": "Q8_0"}),
    )
    yield Family(served, before)
    served.kubectl("delete", "mdl", "duck", "scaled", "bigger", "--ignore-not-found", "--wait=false")


def test_generation_defaults_and_system_prompt_reach_the_engine(family: Family) -> None:
    cluster = family.cluster
    cluster.wait_ready("duck", 180)
    with DIRECT.open(f"{cluster.endpoint('duck')}/props", timeout=30) as answer:
        defaults = json.load(answer)["default_generation_settings"]["params"]
    assert defaults["temperature"] == pytest.approx(0.3)
    assert defaults["top_p"] == pytest.approx(0.9)
    assert defaults["top_k"] == 1
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me a long story."}]
    with client(cluster, "duck") as ai:
        told = ai.chat.completions.create(model="duck", messages=messages)
        asked = ai.chat.completions.create(model="duck", messages=messages, max_tokens=3)
    with client(cluster) as ai:
        plain = ai.chat.completions.create(model="smollm2", messages=messages, max_tokens=1)
    assert told.usage
    assert asked.usage
    assert plain.usage
    assert told.usage.completion_tokens == 7  # /props says nothing of this one
    assert asked.usage.completion_tokens == 3  # a request's own value wins
    assert told.usage.prompt_tokens != plain.usage.prompt_tokens
    cluster.delete_models("duck")


def test_an_equal_recipe_is_shared_and_autoscaling_makes_a_working_hpa(family: Family) -> None:
    cluster = family.cluster
    cluster.wait_ready("scaled", 180)
    level = next(one for one in cluster.list("mart") if level_of(one) == "Q4_K_M")
    assert level["metadata"]["uid"] in family.before.values()
    owners = {owner["name"] for owner in level["metadata"]["ownerReferences"]}
    assert {"smollm2", "scaled"} <= owners

    def able() -> bool:
        conditions = cluster.get("hpa", "scaled").get("status", {}).get("conditions", [])
        return any(c["type"] == "ScalingActive" and c["status"] == "True" for c in conditions)

    cluster.wait("the HPA to read the CPU", able, 180)
    assert made_for(cluster, "scaled") >= {"HorizontalPodAutoscaler", "Deployment", "Service"}
    cluster.delete_models("scaled")
    cluster.wait("all of it collected", lambda: not made_for(cluster, "scaled"), 120)


def made_for(cluster: Cluster, name: str) -> set[str]:
    """Kinds of the objects that the deployment owns alone."""
    found = [(one["kind"], one["metadata"].get("ownerReferences", [])) for one in cluster.list(CHILDREN)]
    return {kind for kind, owners in found if [owner["name"] for owner in owners] == [name]}


def test_a_second_level_reuses_source_and_f16(family: Family) -> None:
    cluster = family.cluster
    cluster.wait_ready("bigger", 240)
    after = {one["metadata"]["name"]: one["metadata"]["uid"] for one in cluster.list("mart")}
    assert family.before.items() <= after.items()
    assert len(after) == len(family.before) + 1
    jobs = {job["metadata"]["labels"]["slipway.dev/stage"] for job in cluster.list("jobs") if of_level(job)}
    assert jobs == {"quantize", "evaluate", "publish"}
    cluster.delete_models("bigger")

    def collected() -> bool:
        return {one["metadata"]["name"] for one in cluster.list("mart")} == family.before.keys()

    cluster.wait("the second level's artifact collected", collected, 120)


def of_level(job: dict[str, Any]) -> bool:
    """Whether the Job works for the second level's artifact."""
    return "q8-0" in job["metadata"]["labels"].get("slipway.dev/artifact", "")


def test_children_deleted_or_edited_by_hand_heal(served: Cluster) -> None:
    uid = served.get("services", "smollm2")["metadata"]["uid"]
    served.kubectl("delete", "service", "smollm2")

    def another() -> bool:
        return served.get("services", "smollm2").get("metadata", {}).get("uid") not in (uid, None)

    served.wait("a new Service", another, 30)
    patch = '{"spec":{"selector":{"slipway.dev/model":"somebody-else"}}}'
    served.kubectl("patch", "service", "smollm2", "--type=merge", "-p", patch)

    def healed() -> bool:
        return bool(served.get("services", "smollm2")["spec"]["selector"]["slipway.dev/model"] == "smollm2")

    served.wait("the selector back", healed, 30)
