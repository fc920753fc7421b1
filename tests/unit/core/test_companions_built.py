"""Companions of what is known and built: what is read again, Jobs of their artifacts, pods that wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.observe.observed import ArtifactObserved, ModelObserved, User
from slipway.passes import artifact
from slipway.plan.quantities import quantity
from slipway.settings import Settings
from tests.support.companions import DRAFT, adapter
from tests.support.stage_results import COMMIT
from tests.unit.core.test_companions import (
    ADAPTER,
    NODE,
    NOW,
    accepted,
    asked,
    condition,
    decide,
    ended,
    env,
    inspected,
    mdl,
    pinned,
    ready,
)

Raw = dict[str, Any]
WIDE = 1152
"""Hidden size of the draft, twice the model's."""


def drafting() -> tuple[ModelObserved, list[Raw]]:
    """A model with a draft, pinned, and all the artifacts that it asks for."""
    seen, outcome = pinned(mdl(speculative={"draft": DRAFT}), inspected(), inspected(hiddenSize=WIDE))
    seen = replace(seen, revisions=(accepted(outcome.create[0]),))
    return seen, list(decide(seen).create)


def job_of(seen: ModelObserved, made: Raw, parent: Raw | None = None) -> Raw:
    """The first Job of an artifact."""
    users = (User(seen.model, seen.revisions[0], planned=True),)
    observed = ArtifactObserved({**accepted(made), "status": {}}, users, parent)
    claim = next(one for one in artifact.decide(observed, Settings(), NOW).create if "Claim" in one["kind"])
    (job,) = artifact.decide(replace(observed, claim=accepted(claim)), Settings(), NOW).create
    return dict(job["spec"]["template"]["spec"])


def claims(pod: Raw) -> dict[str, str]:
    found = ((one["name"], one.get("persistentVolumeClaim")) for one in pod["volumes"])
    return {name: claim["claimName"] for name, claim in found if claim}


def test_a_draft_is_fetched_where_its_model_lies_and_converted_by_its_own_size() -> None:
    seen, made = drafting()
    model_source, draft_source, draft_f16 = made[0], made[3], made[4]
    assert claims(job_of(seen, draft_source))["parent"] == model_source["metadata"]["name"]
    assert "parent" not in claims(job_of(seen, model_source))
    pod = job_of(seen, draft_f16, ready(draft_source))
    assert claims(pod)["parent"] == draft_source["metadata"]["name"]
    limit = pod["containers"][0]["resources"]["limits"]["memory"]
    embedding = 49_152 * WIDE
    assert 6 * embedding <= quantity(limit) - (640 + 512) * 1024**2 < 6 * embedding + 1024**2


def test_a_model_without_pods_does_not_come_back_without_its_draft() -> None:
    seen, made = drafting()
    changed = mdl(speculative={"draft": DRAFT}, contextLength=2048)
    benchmark = {"revision": f"{seen.revisions[0]['metadata']['name']}@01234567"}
    seen = replace(seen, model={**changed, "status": {"benchmark": benchmark}}, jobs=())
    built = {one["metadata"]["name"]: ready(one) for one in made}
    whole = decide(replace(seen, artifacts=built))
    (deployment,) = [one for one in whole.apply if one["kind"] == "Deployment"]
    assert "--spec-draft-model" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    last = made[-1]["metadata"]["name"]
    half = decide(replace(seen, artifacts={**built, last: accepted(made[-1])}))
    assert "Deployment" not in [one["kind"] for one in half.apply]


def test_facts_without_a_vocabulary_are_not_enough_for_a_draft() -> None:
    for vocabulary, source in (("", "hf://acme/model"), ("0123456789abcdef", "hf://acme/draft")):
        _, outcome = asked(mdl(), inspected(vocabulary))
        known = accepted(outcome.create[0])
        first = decide(ModelObserved(mdl(speculative={"draft": DRAFT}), nodes=(NODE,), known=known))
        assert [env(job)["SLIPWAY_SOURCE"] for job in first.create] == [source]


def test_an_adapter_that_is_pinned_may_get_another_name() -> None:
    old, new = (
        mdl([{**adapter("sql", revision=COMMIT), "name": name}], name="vllm") for name in ("sql", "query")
    )
    _, outcome = pinned(old, inspected(), ADAPTER)
    revision = accepted(outcome.create[0])
    first = decide(ModelObserved(new, nodes=(NODE,), revisions=(revision,)))
    jobs = (ended(first.create[0], inspected()),)
    (made,) = decide(ModelObserved(new, nodes=(NODE,), revisions=(revision,), jobs=jobs)).create
    assert [one["name"] for one in made["data"]["companions"]] == ["query"]


COMES = {"levels": "Q4_K_M:105000000", "quantization": "gguf"}


def test_a_model_that_comes_as_gguf_is_served_with_its_draft() -> None:
    seen, outcome = pinned(mdl(speculative={"draft": DRAFT}), inspected(**COMES), inspected())
    (revision,) = outcome.create
    seen = replace(seen, revisions=(accepted(revision),))
    outcome = decide(seen)
    made = [one["metadata"]["name"] for one in outcome.create]
    (draft,) = revision["data"]["companions"]
    assert made == [*revision["data"]["artifacts"], *draft["artifacts"]]
    built = {one["metadata"]["name"]: ready(one) for one in outcome.create}
    served = decide(replace(seen, artifacts=built))
    (deployment,) = [one for one in served.apply if one["kind"] == "Deployment"]
    assert "--spec-draft-model" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_a_draft_that_is_pinned_by_another_name_is_pinned_anew_and_never_left_out() -> None:
    seen, outcome = pinned(mdl(speculative={"draft": DRAFT}), inspected(**COMES), inspected())
    (right,) = outcome.create
    (draft,) = right["data"]["companions"]
    elsewhere = {**draft, "artifacts": [f"{name}-elsewhere" for name in draft["artifacts"]]}
    meta = {**right["metadata"], "name": "qwen-before"}
    before = accepted({**right, "metadata": meta, "data": {**right["data"], "companions": [elsewhere]}})
    seen = replace(seen, revisions=(before,))
    outcome = decide(seen)
    (anew,) = [one for one in outcome.create if one["kind"] == "ControllerRevision"]
    assert anew["data"]["companions"] == right["data"]["companions"]
    assert anew["revision"] == right["revision"] + 1
    made = [one for one in outcome.create if one["kind"] == "ModelArtifact"]
    seen = replace(seen, artifacts={one["metadata"]["name"]: ready(one) for one in made})
    waiting = decide(seen)
    assert condition(waiting, "ArtifactReady")[:2] == ("False", "Building")
    assert "Deployment" not in [one["kind"] for one in waiting.apply]
    seen = replace(seen, revisions=(before, accepted(anew)))
    outcome = decide(seen)
    assert [one["metadata"]["name"] for one in outcome.create] == draft["artifacts"]
    built = {one["metadata"]["name"]: ready(one) for one in outcome.create}
    outcome = decide(replace(seen, artifacts={**seen.artifacts, **built}))
    assert "Deployment" in [one["kind"] for one in outcome.apply]
    assert "ControllerRevision" not in [one["kind"] for one in outcome.create]
