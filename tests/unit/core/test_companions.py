"""A draft and adapters in the pass: inspected, checked against the model, built, mounted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from slipway.observe.observed import JobObserved, ModelObserved, NodeObserved
from slipway.passes import model
from slipway.passes.outcome import Outcome
from slipway.plan.facts import NodeFacts
from slipway.settings import Settings
from slipway.status import timestamp
from tests.support.companions import DRAFT, adapter
from tests.support.stage_results import COMMIT, FACTS, INSPECTED, said

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NODE = NodeObserved(NodeFacts("n", "amd64", 4, 8 << 30, 50 << 30, ready=True), {"Ready": "True"})
Raw = dict[str, Any]
VOCABULARY = "0123456789abcdef"
ADAPTER = {
    "ok": True,
    "stage": "inspect",
    "commit": COMMIT,
    "facts": {"rank": 8, "hiddenSize": 576, "weightBytes": 900_000, "downloadBytes": 950_000, "license": ""},
}


def mdl(adapters: list[Raw] | None = None, **engine: Any) -> Raw:
    meta = {"name": "qwen", "namespace": "n", "uid": json.dumps([adapters, engine]), "generation": 1}
    spec = {"model": {"source": "hf://acme/model"} | ({"adapters": adapters} if adapters else {})}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": meta | {"creationTimestamp": timestamp(NOW)},
        "spec": spec | ({"engine": engine} if engine else {}),
    }


def inspected(vocabulary: str = VOCABULARY, **facts: Any) -> Raw:
    return {**INSPECTED, "facts": {**FACTS, "vocabulary": vocabulary, **facts}}


def accepted(raw: Raw, **changes: Any) -> Raw:
    meta = {"uid": f"uid-{raw['metadata']['name']}", "creationTimestamp": timestamp(NOW)}
    return {**raw, "metadata": {**raw["metadata"], **meta}, **changes}


def ended(job: Raw, result: Raw, code: int = 0) -> JobObserved:
    kind = "Failed" if code else "Complete"
    done = {"type": kind, "status": "True", "lastTransitionTime": timestamp(NOW)}
    state = {"terminated": {"exitCode": code, "message": json.dumps(result), "reason": "Error"}}
    pod = {
        "metadata": {"name": "p", "creationTimestamp": timestamp(NOW)},
        "spec": {"containers": [{"name": "stage", "image": "i"}]},
        "status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"state": state}]},
    }
    return JobObserved(accepted(job, status={"conditions": [done]}), (pod,))


def decide(seen: ModelObserved) -> Outcome:
    return model.decide(seen, Settings(), NOW)


def condition(outcome: Outcome, kind: str) -> tuple[str, str, str]:
    assert outcome.status is not None
    found = next(one for one in outcome.status["conditions"] if one["type"] == kind)
    return found["status"], found["reason"], found["message"]


def env(job: Raw) -> dict[str, str]:
    container = job["spec"]["template"]["spec"]["containers"][0]
    return {one["name"]: one["value"] for one in container["env"]}


def asked(raw: Raw, base: Raw) -> tuple[ModelObserved, Outcome]:
    """The model is inspected: its companions are, next."""
    seen = ModelObserved(raw, nodes=(NODE,))
    first = decide(seen)
    assert [env(job)["SLIPWAY_SOURCE"] for job in first.create] == ["hf://acme/model"]
    seen = replace(seen, jobs=(ended(first.create[0], base),))
    return seen, decide(seen)


def pinned(raw: Raw, base: Raw, *results: Raw) -> tuple[ModelObserved, Outcome]:
    """All is inspected."""
    seen, outcome = asked(raw, base)
    jobs = (ended(job, result) for job, result in zip(outcome.create, results, strict=True))
    seen = replace(seen, jobs=(*seen.jobs, *jobs))
    return seen, decide(seen)


def test_a_draft_is_inspected_by_a_job_of_its_own() -> None:
    seen, outcome = asked(mdl(speculative={"draft": {**DRAFT, "revision": "v1"}}), inspected())
    (job,) = outcome.create
    given = env(job)
    assert (given["SLIPWAY_SOURCE"], given["SLIPWAY_REVISION"], given["SLIPWAY_ROLE"]) == (
        "hf://acme/draft",
        "v1",
        "draft",
    )
    assert env(seen.jobs[0].job)["SLIPWAY_ROLE"] == "base"
    assert condition(outcome, "SourceResolved")[1:] == ("Inspecting", "hf://acme/draft is being inspected")
    assert outcome.delete == ()
    assert [raw["kind"] for raw in outcome.apply] == ["NetworkPolicy"]


def test_a_model_alone_reads_no_vocabulary() -> None:
    outcome = decide(ModelObserved(mdl(), nodes=(NODE,)))
    assert "SLIPWAY_ROLE" not in env(outcome.create[0])


def test_a_draft_with_another_vocabulary_is_refused_with_both_figures() -> None:
    raw = mdl(speculative={"draft": DRAFT})
    _, outcome = pinned(raw, inspected(), inspected("fedcba9876543210", vocabSize=32_000))
    status, reason, message = condition(outcome, "Planned")
    assert (status, reason) == ("False", "DraftVocabulary")
    assert "spec.engine.speculative.draft: hf://acme/draft" in message
    assert "32000" in message
    assert "49152" in message
    assert "same family" in message
    assert outcome.create == ()
    assert condition(outcome, "Progressing")[:2] == ("False", "DraftVocabulary")


def test_the_draft_is_pinned_with_its_chain_and_counted() -> None:
    raw = mdl(speculative={"draft": DRAFT})
    seen, outcome = pinned(raw, inspected(), inspected())
    (revision,) = outcome.create
    (draft,) = revision["data"]["companions"]
    assert (draft["kind"], draft["commit"], len(draft["artifacts"])) == ("draft", COMMIT, 3)
    assert revision["data"]["plan"]["memory"]["companions"] > 130 << 20
    outcome = decide(replace(seen, revisions=(accepted(revision),)))
    made = [one["metadata"]["name"] for one in outcome.create]
    assert [name.rsplit("-", 1)[0] for name in made] == [
        "model-source",
        "model-f16",
        "model-q4-k-m",
        "draft-source",
        "draft-f16",
        "draft-q8-0",
    ]
    assert outcome.status is not None
    assert [one["name"] for one in outcome.status["artifacts"]] == made
    assert outcome.status["companions"][0]["uri"] == "hf://acme/draft"


def test_a_model_can_be_its_own_draft_and_shares_what_it_can() -> None:
    raw = mdl(speculative={"draft": {"source": "hf://acme/model"}})
    seen, outcome = pinned(raw, inspected(), inspected())
    outcome = decide(replace(seen, revisions=(accepted(outcome.create[0]),)))
    made = [one["metadata"]["name"].rsplit("-", 1)[0] for one in outcome.create]
    assert made == ["model-source", "model-f16", "model-q4-k-m", "model-q8-0"]


def test_the_engine_waits_for_every_artifact_and_mounts_them() -> None:
    raw = mdl(speculative={"draft": DRAFT, "tokens": 4})
    seen, outcome = pinned(raw, inspected(), inspected())
    seen = replace(seen, revisions=(accepted(outcome.create[0]),))
    made = decide(seen).create
    built = {one["metadata"]["name"]: ready(one) for one in made}
    last = made[-1]["metadata"]["name"]
    half = replace(seen, artifacts={**built, last: accepted(made[-1])})
    waiting = decide(half)
    assert condition(waiting, "ArtifactReady")[2] == f"ModelArtifact {last} is being built"
    assert "Deployment" not in [one["kind"] for one in waiting.apply]
    served = decide(replace(seen, artifacts=built))
    (deployment,) = [one for one in served.apply if one["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    args = template["spec"]["containers"][0]["args"]
    assert args[args.index("--spec-draft-model") + 1] == "/companions/draft/model.gguf"
    assert args[args.index("--spec-draft-n-max") + 1] == "4"
    (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == "companion-draft"]
    assert volume["persistentVolumeClaim"] == {"claimName": last, "readOnly": True}
    mounts = template["spec"]["containers"][0]["volumeMounts"]
    (mount,) = [one for one in mounts if one["name"] == "companion-draft"]
    assert (mount["mountPath"], mount["readOnly"], mount["subPath"]) == (
        "/companions/draft",
        True,
        "published",
    )
    assert template["metadata"]["annotations"]["slipway.dev/companions-digest"]


def ready(artifact: Raw) -> Raw:
    name = artifact["metadata"]["name"]
    return accepted(
        artifact,
        status={
            "conditions": [{"type": "Ready", "status": "True", "reason": "Built", "message": "whole"}],
            "digest": f"sha256:{name}",
            "location": {"claim": name, "path": "published"},
        },
    )


def test_adapters_are_inspected_at_once_and_a_failure_stands_still() -> None:
    raw = mdl([adapter("sql"), adapter("tone")], name="vllm")
    seen, outcome = asked(raw, inspected())
    assert [env(job)["SLIPWAY_ROLE"] for job in outcome.create] == ["lora", "lora"]
    bad = said("NotAnAdapter", "peft_type is IA3")
    jobs = (ended(outcome.create[0], ADAPTER), ended(outcome.create[1], bad, 65))
    seen = replace(seen, jobs=(*seen.jobs, *jobs))
    failed = decide(seen)
    assert condition(failed, "SourceResolved")[:2] == ("False", "NotAnAdapter")
    assert condition(failed, "SourceResolved")[2].startswith("spec.model.adapters[1]: ")
    assert failed.create == ()
    again = model.decide(
        replace(seen, model={**raw, "status": failed.status}), Settings(), NOW.replace(minute=5)
    )
    assert again.status == failed.status


def test_a_failure_of_what_is_no_longer_wished_is_forgotten() -> None:
    seen, outcome = asked(mdl([adapter("sql")], name="vllm"), inspected())
    bad = said("NotAnAdapter", "peft_type is IA3")
    seen = replace(seen, jobs=(*seen.jobs, ended(outcome.create[0], bad, 65)))
    failed = decide(seen)
    assert failed.status is not None
    assert failed.status["failure"]["reason"] == "NotAnAdapter"
    without = {**mdl(name="vllm"), "status": failed.status}
    first = decide(ModelObserved(without, nodes=(NODE,), jobs=seen.jobs))
    assert [job.job["metadata"]["name"] for job in seen.jobs] == [
        raw["metadata"]["name"] for raw in first.delete
    ]
    assert first.status is not None
    assert "failure" not in first.status


def test_an_engine_without_adapters_says_so_before_anything_is_inspected() -> None:
    outcome = decide(ModelObserved(mdl([adapter("sql")], name="llamacpp"), nodes=(NODE,)))
    status, reason, message = condition(outcome, "SourceResolved")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "llamacpp has no LoRA adapters under names of their own (spec.model.adapters)" in message
    assert outcome.create == ()


def test_adapters_are_served_under_their_names() -> None:
    raw = mdl([adapter("sql"), adapter("draft")], name="vllm")
    seen, outcome = pinned(raw, inspected(""), ADAPTER, ADAPTER)
    assert condition(outcome, "Planned")[1] == "Planning"
    seen = replace(seen, revisions=(accepted(outcome.create[0]),))
    made = decide(seen).create
    served = decide(replace(seen, artifacts={one["metadata"]["name"]: ready(one) for one in made}))
    (deployment,) = [one for one in served.apply if one["kind"] == "Deployment"]
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    start = args.index("--lora-modules") + 1
    assert args[start : start + 2] == ["sql=/companions/adapter-sql", "draft=/companions/adapter-draft"]
    assert args[args.index("--max-lora-rank") + 1] == "8"


def test_what_a_commit_pins_is_not_inspected_again() -> None:
    speculative = {"draft": {**DRAFT, "revision": COMMIT}}
    _, outcome = pinned(mdl(speculative=speculative), inspected(), inspected())
    revision = accepted(outcome.create[0])
    changed = mdl(speculative=speculative, contextLength=2048)
    first = decide(ModelObserved(changed, nodes=(NODE,), revisions=(revision,)))
    jobs = (ended(first.create[0], inspected()),)
    outcome = decide(ModelObserved(changed, nodes=(NODE,), revisions=(revision,), jobs=jobs))
    assert [one["kind"] for one in outcome.create] == ["ControllerRevision"]
    assert outcome.create[0]["data"]["companions"] == revision["data"]["companions"]
