"""Adapters in the weights, in the pass: inspected, pinned, built before the levels, mounted by no engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.observe.observed import ArtifactObserved, ModelObserved, User
from slipway.passes import artifact, results
from slipway.settings import Settings
from tests.support.companions import adapter
from tests.unit.core.test_companions import (
    ADAPTER,
    NOW,
    accepted,
    asked,
    condition,
    decide,
    env,
    inspected,
    mdl,
    pinned,
    ready,
)

Raw = dict[str, Any]
MERGING = [adapter("sql", mode="merge", weight=0.5)]


def built() -> tuple[ModelObserved, list[Raw]]:
    seen, outcome = pinned(mdl(MERGING), inspected(), ADAPTER)
    seen = replace(seen, revisions=(accepted(outcome.create[0]),))
    return seen, list(decide(seen).create)


def test_its_source_is_inspected_as_one_to_merge() -> None:
    _, outcome = asked(mdl(MERGING), inspected())
    (job,) = outcome.create
    assert (env(job)["SLIPWAY_SOURCE"], env(job)["SLIPWAY_ROLE"]) == ("hf://acme/sql", "merge")


def test_the_chain_goes_through_the_merged_model() -> None:
    seen, made = built()
    specs = {one["metadata"]["name"]: one["spec"] for one in made}
    source, merged, f16, level, own = specs.values()
    assert [one["recipe"]["method"] for one in (source, merged, f16, level, own)] == [
        "source",
        "merge",
        "gguf",
        "gguf",
        "source",
    ]
    names = list(specs)
    assert (merged["parent"], f16["parent"], own["source"]["uri"]) == (names[0], names[1], "hf://acme/sql")
    assert merged["recipe"]["options"] == {"adapter-01": "sql=0.5"}
    assert merged["inputs"] == [{"name": "adapter-sql", "artifact": names[4]}]
    status = decide(seen).status
    assert status is not None
    assert [(one["name"], one["kind"]) for one in status["companions"]] == [("sql", "merge")]


def test_the_job_reads_source_and_adapter_in_the_image_with_the_tools() -> None:
    seen, made = built()
    users = (User(seen.model, seen.revisions[0], planned=True),)
    parent, own = ready(made[0]), ready(made[4])
    observed = ArtifactObserved(
        {**accepted(made[1]), "status": {}}, users, parent, inputs={"adapter-sql": accepted(made[4])}
    )
    waiting = artifact.decide(observed, Settings(), NOW)
    assert condition(waiting, "Ready")[1] == "WaitingForParent"
    observed = replace(observed, inputs={"adapter-sql": own})
    claim = next(one for one in artifact.decide(observed, Settings(), NOW).create if "Claim" in one["kind"])
    (job,) = artifact.decide(replace(observed, claim=accepted(claim)), Settings(), NOW).create
    pod = job["spec"]["template"]["spec"]
    mounts = {one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert {"/store", "/parent", "/inputs/adapter-sql"} <= mounts
    assert pod["containers"][0]["image"] == Settings().images.optimizer
    assert env(job)["SLIPWAY_OPTIONS"] == '{"adapter-01":"sql=0.5"}'


def test_engines_mount_nothing_of_it() -> None:
    seen, made = built()
    whole = decide(replace(seen, artifacts={one["metadata"]["name"]: ready(one) for one in made}, jobs=()))
    (deployment,) = [one for one in whole.apply if one["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    assert [volume["name"] for volume in template["spec"]["volumes"]] == ["model", "tmp", "shm"]
    claim = template["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == made[3]["metadata"]["name"]
    assert "slipway.dev/companions-digest" not in template["metadata"]["annotations"]


def test_an_adapter_that_can_not_be_fetched_is_said_and_not_what_waits_for_it() -> None:
    seen, made = built()
    failure = {"reason": "FileNotFound", "message": "gone", "stage": "fetch"}
    failed = {**accepted(made[4]), "status": {"failure": failure}}
    held = {one["metadata"]["name"]: accepted(one) for one in made[:4]}
    outcome = decide(replace(seen, artifacts={**held, made[4]["metadata"]["name"]: failed}))
    assert condition(outcome, "ArtifactReady")[1:] == ("FileNotFound", "gone")


def test_another_weight_is_another_plan_and_asks_no_hub() -> None:
    commit = {"revision": "c" * 40}
    first = [adapter("sql", mode="merge", weight=0.5, **commit)]
    seen, outcome = pinned(mdl(first), inspected(), {**ADAPTER, "commit": "c" * 40})
    changed = mdl([{**first[0], "weight": 0.25}])
    again = replace(seen, model=changed, revisions=(accepted(outcome.create[0]),), jobs=())
    inspection = decide(again).create
    assert [env(job)["SLIPWAY_SOURCE"] for job in inspection] == ["hf://acme/model"]


def test_the_distance_of_another_model_is_no_loss() -> None:
    measured = {"perplexity": "20", "tokens": 4096, "seconds": "1.0", "textDigest": "sha256:0"}
    source = {"recipe": {"method": "source"}}
    parent = {"spec": source, "status": {"quality": {**measured, "perplexity": "10"}}}

    def quality(method: str, level: str) -> Raw:
        made = {"metadata": {"name": "a"}, "spec": {"recipe": {"method": method, "level": level}}}
        return dict(results.record(made, parent, "evaluate", measured)["quality"])

    merged = quality("merge", "MERGED")
    assert (merged["perplexity"], merged["loss"], merged["band"]) == ("20", None, None)
    assert quality("gguf", "Q8_0")["loss"] == "100.0%"


def test_next_to_nothing_is_no_negative_loss() -> None:
    assert results.relative_loss("48606.11", "48611.22") == "0.0%"
    assert results.relative_loss("9.0", "10.0") == "-10.0%"
