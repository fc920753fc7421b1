"""Code of a model in the pass: what another model's trust found out is no leave to run it."""

from __future__ import annotations

from typing import Any

from slipway.observe.observed import ModelObserved
from tests.support.companions import DRAFT

from .test_companions import COMMIT, NODE, accepted, asked, decide, ended, env, inspected, mdl, pinned


def trusting(raw: dict[str, Any]) -> dict[str, Any]:
    meta = {**raw["metadata"], "uid": f"trusting {raw['metadata']['uid']}"}
    model = {**raw["spec"]["model"], "trustRemoteCode": True}
    return {**raw, "metadata": meta, "spec": {**raw["spec"], "model": model}}


def test_the_inspection_is_told_of_the_trust() -> None:
    assert "SLIPWAY_TRUST_REMOTE_CODE" not in env(decide(ModelObserved(mdl(), nodes=(NODE,))).create[0])
    (job,) = decide(ModelObserved(trusting(mdl()), nodes=(NODE,))).create
    assert env(job)["SLIPWAY_TRUST_REMOTE_CODE"] == "true"


def test_facts_of_a_trusted_model_are_not_enough_for_one_that_is_not() -> None:
    _, outcome = asked(trusting(mdl()), inspected(remoteCode=True))
    known = accepted(outcome.create[0])
    for raw, jobs in ((mdl(), ["Job"]), (trusting(mdl()), ["ControllerRevision"])):
        first = decide(ModelObserved(raw, nodes=(NODE,), known=known))
        assert [one["kind"] for one in first.create] == jobs
    _, outcome = asked(mdl(), inspected())
    plain = decide(ModelObserved(mdl(), nodes=(NODE,), known=accepted(outcome.create[0])))
    assert [one["kind"] for one in plain.create] == ["ControllerRevision"]


def test_a_draft_with_code_is_inspected_again_once_the_trust_is_gone() -> None:
    guess = {"draft": {**DRAFT, "revision": COMMIT}}
    raw = trusting(mdl(speculative=guess))
    _, outcome = pinned(raw, inspected(), inspected(remoteCode=True))
    revision = accepted(outcome.create[0])
    changed = mdl(speculative=guess, contextLength=2048)
    for one, made in ((changed, ["Job"]), (trusting(changed), ["ControllerRevision"])):
        first = decide(ModelObserved(one, nodes=(NODE,), revisions=(revision,)))
        jobs = (ended(first.create[0], inspected()),)
        seen = ModelObserved(one, nodes=(NODE,), revisions=(revision,), jobs=jobs)
        assert [found["kind"] for found in decide(seen).create] == made
