"""Companions in manifests: their chains, what is pinned of them, and that nothing changes without any."""

from __future__ import annotations

import json
from dataclasses import replace

from slipway.engines import decide
from slipway.manifests.artifacts import build_artifact
from slipway.manifests.chains import artifact_chain
from slipway.manifests.companions import companion_chain, with_companions
from slipway.manifests.deployment import Serving, build_deployment
from slipway.manifests.jobs import build_benchmark_job, build_inspect_job
from slipway.manifests.owner import Owner, PublishedArtifact
from slipway.manifests.places import Place
from slipway.manifests.revision import Pinned, build_revision, read_pinned
from slipway.plan.companions import wanted
from slipway.plan.decision import Plan
from slipway.settings import Images, Settings
from tests.support.companions import DRAFT, SOURCE, adapter, companions
from tests.support.companions import published as publish
from tests.support.planning import COMMIT, MODELS, NODES, spec

FACTS = MODELS["smollm2-135m"]
DRAFTING = spec(engine={"speculative": {"draft": DRAFT}}, store={"size": "20Gi"})


def pinned(plan: Plan) -> Pinned:
    images = Images(runtime="r@sha256:1", llamacpp="l@sha256:2")
    return Pinned("0123456789", "hf://acme/model", COMMIT, FACTS, plan, images, ("a", "b", "c"))


def test_a_draft_for_llama_cpp_is_converted_and_quantised() -> None:
    (draft,) = companions(DRAFTING, FACTS, "gguf")
    chain = companion_chain(DRAFTING, draft, "gguf", SOURCE)
    assert [(one.made.method, one.level) for one in chain] == [
        ("source", "source"),
        ("gguf", "F16"),
        ("gguf", "Q8_0"),
    ]
    assert [one.parent for one in chain] == [None, chain[0].name, chain[1].name]
    assert {one.uri for one in chain} == {"hf://acme/draft"}
    assert all(one.store == DRAFTING.store for one in chain)
    assert draft.artifacts == tuple(one.name for one in chain)


def test_others_are_served_as_they_come() -> None:
    heads = spec(engine={"speculative": {"method": "medusa", "draft": DRAFT}})
    for wish, form in ((DRAFTING, "safetensors"), (heads, "safetensors"), (heads, "gguf")):
        (one,) = companions(wish, FACTS, form)
        assert [step.made.method for step in companion_chain(wish, one, form, SOURCE)] == ["source"]


def test_what_a_model_shares_with_its_draft_is_there_once(plan: Plan) -> None:
    wish = spec(engine={"speculative": {"draft": {"source": "hf://acme/model"}}})
    chain = artifact_chain(wish, COMMIT, plan)
    (draft,) = companions(wish, FACTS, "gguf")
    whole = with_companions(chain, wish, [draft], plan)
    assert [one.level for one in whole] == ["source", "F16", "Q4_K_M", "Q8_0"]
    assert whole[:3] == chain


def test_companions_survive_the_way_through_a_revision(owner: Owner, plan: Plan) -> None:
    wish = spec(
        model={"source": "hf://acme/model", "adapters": [adapter("sql")]},
        engine={"speculative": {"draft": DRAFT}},
    )
    found = companions(wish, replace(FACTS, vocabulary="a" * 16), "gguf")
    memory = replace(plan.memory, companions=7)
    whole = replace(pinned(replace(plan, memory=memory)), companions=found)
    assert read_pinned(json.loads(json.dumps(build_revision(owner, 1, whole)))) == whole
    assert whole.facts_of("a") == FACTS
    assert whole.facts_of(found[0].artifacts[1]) == found[0].facts
    assert whole.facts_of(found[1].artifacts[0]) is None


def test_only_what_must_lie_beside_the_model_is_anchored(plan: Plan) -> None:
    model = {"source": "hf://acme/model", "adapters": [adapter("sql")]}
    found = []
    for store in ({"size": "20Gi"}, {"accessMode": "ReadWriteMany"}, {"type": "oci", "repository": "r.io/m"}):
        wish = spec(model=model, engine={"speculative": {"draft": DRAFT}}, store=store)
        beside = companions(wish, FACTS, "gguf")
        whole = replace(pinned(plan), companions=beside)
        chains = (companion_chain(wish, one, "gguf", SOURCE) for one in beside)
        made = [build_artifact(one, [], "n") for chain in chains for one in chain]
        found.append([whole.anchor(one) for one in made])
        own = replace(beside[0], artifacts=("a", "draft-f16"))
        assert whole.anchor({**made[0], "metadata": {"name": "a"}}) is None
        assert replace(whole, companions=(own,)).anchor(made[0]) is None
    assert found == [["a", None, None, "a"], [None] * 4, [None] * 4]


def test_a_revision_without_companions_is_what_it_was(owner: Owner, plan: Plan) -> None:
    raw = build_revision(owner, 1, pinned(plan))
    assert "companions" not in raw["data"]
    assert "companions" not in raw["data"]["plan"]["memory"]
    assert "vocabulary" not in raw["data"]["facts"]
    assert raw["metadata"]["name"] == "chat-3444fb69a5"


def test_pods_differ_by_their_companions(owner: Owner, plan: Plan, published: PublishedArtifact) -> None:
    found = companions(DRAFTING, FACTS, "gguf")
    first = replace(published, companions=publish(found))
    other = replace(first, companions=(replace(first.companions[0], digest="sha256:2"),))
    alone, one, two = (
        build_deployment(Serving(owner, DRAFTING, plan, each, Settings(), "r"))["spec"]["template"]
        for each in (published, first, other)
    )
    mark = "slipway.dev/companions-digest"
    assert mark not in alone["metadata"]["annotations"]
    assert one["metadata"]["annotations"][mark] != two["metadata"]["annotations"][mark]
    assert [volume["name"] for volume in alone["spec"]["volumes"]] == ["model", "tmp", "shm"]
    assert "--spec-draft-model" in one["spec"]["containers"][0]["args"]
    # The spec asks for a draft that this revision has not: it serves without.
    assert "--spec-type" not in alone["spec"]["containers"][0]["args"]


def test_inspections_say_what_the_source_is(owner: Owner) -> None:
    wish = spec(
        model={
            "source": "hf://acme/model",
            "adapters": [adapter("sql", revision="v1")],
            "secretRef": {"name": "hub"},
        }
    )
    (one,) = wanted(wish)
    job = build_inspect_job(owner, wish, Settings(), 1, "0123456789", one)
    pod = job["spec"]["template"]["spec"]
    env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert (env["SLIPWAY_SOURCE"], env["SLIPWAY_REVISION"], env["SLIPWAY_ROLE"]) == (
        "hf://acme/sql",
        "v1",
        "lora",
    )
    assert "credentials" in [volume["name"] for volume in pod["volumes"]]


def test_the_benchmark_counts_guesses_where_the_engine_does(owner: Owner) -> None:
    def variables(fields: dict[str, object] | None = None, **engine: object) -> dict[str, str]:
        wish = spec(engine=engine, **(fields or {}))
        plan = decide(wish, FACTS, [NODES["server-64"]], Settings())
        job = build_benchmark_job(owner, wish, plan, Place(claim="source"), Settings(), 1, "r")
        return {one["name"]: one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}

    assert variables(speculative={})["SLIPWAY_GUESSES"] == (
        "llamacpp:spec_decode_num_accepted_tokens_total llamacpp:spec_decode_num_draft_tokens_total"
    )
    assert "SLIPWAY_GUESSES" not in variables()
    # Of several pods the Service may answer with another one's counters.
    assert "SLIPWAY_GUESSES" not in variables({"replicas": 2}, speculative={})
    assert "SLIPWAY_GUESSES" not in variables({"autoscaling": {"maxReplicas": 2}}, speculative={})
    assert "SLIPWAY_GUESSES" not in variables(name="llama-cpp-python", speculative={})


def test_where_volumes_stay_on_a_node_each_model_has_its_companions_beside_it() -> None:
    shared = spec(engine={"speculative": {"draft": DRAFT}}, store={"accessMode": "ReadWriteMany"})
    (draft,) = companions(DRAFTING, FACTS, "gguf")
    for wish, count in ((DRAFTING, 6), (shared, 3)):
        chains = (companion_chain(wish, draft, "gguf", source) for source in ("x-source-1", "y-source-2"))
        assert len({one.name for chain in chains for one in chain}) == count
