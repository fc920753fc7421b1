"""Artifacts kept in a registry or bucket: looked up first, pushed last, served without a claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.errors import InvalidSpecError
from slipway.observe.observed import ArtifactObserved, ModelObserved, User
from slipway.passes import artifact, model
from slipway.passes.kept import with_store
from slipway.passes.outcome import Outcome
from slipway.settings import Settings
from tests.support.planning import spec
from tests.unit.core.test_companions import ended
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, mdl, planned
from tests.unit.core.test_upkeep import GENERATIONS, READY, of_kind

Raw = dict[str, Any]
REPOSITORY = "registry.example.com/models"
OCI = {"type": "oci", "repository": REPOSITORY, "secretRef": {"name": "push"}}
IMAGE = f"{REPOSITORY}@sha256:{'5' * 64}"
SETTLED = {
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Built",
            "message": "",
            "lastTransitionTime": "2026-11-21T11:00:00Z",
        }
    ]
}
FOUND = {"ok": True, "found": True, "digest": "sha256:5", "sizeBytes": 105_000_000, "image": IMAGE}


def wishing(store: Raw) -> ModelObserved:
    """A pinned model with this store and no artifact yet."""
    seen = planned()
    raw = mdl(store=store)
    meta = {**seen.model["metadata"], "generation": next(GENERATIONS)}
    return replace(seen, model={**seen.model, "spec": raw["spec"], "metadata": meta}, revisions=())


def pinned(store: Raw) -> ModelObserved:
    """The same, with a revision for it."""
    seen = replace(wishing(store), known=planned().revisions[0])
    (made,) = (one for one in model.decide(seen, SETTINGS, NOW).create if one["kind"] == "ControllerRevision")
    return replace(seen, revisions=(accepted(made),), known=None)


def made_by(seen: ModelObserved, settings: Settings = SETTINGS) -> list[Raw]:
    return [one for one in model.decide(seen, settings, NOW).create if one["kind"] == "ModelArtifact"]


def observed(seen: ModelObserved, made: Raw, status: Raw | None = None, **more: Any) -> ArtifactObserved:
    users = (User(seen.model, seen.revisions[0], planned=True),)
    return ArtifactObserved({**accepted(made), "status": status or {}}, users, **more)


def job_in(outcome: Outcome) -> Raw:
    (job,) = (one for one in outcome.create if one["kind"] == "Job")
    return job


def env(job: Raw) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_what_is_served_is_looked_up_before_anything_is_made() -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    assert made["spec"]["recipe"] == {"method": "gguf", "level": "Q4_K_M"}
    assert made["spec"]["store"] == OCI
    outcome = artifact.decide(observed(seen, made), SETTINGS, NOW)
    job = job_in(outcome)
    assert [one["kind"] for one in outcome.create] == ["Job"], "no claim, no parent is needed to ask"
    assert env(job)["SLIPWAY_PUSH_TO"] == f"oci://{REPOSITORY}:{made['metadata']['name']}"
    volumes = {one["name"]: one for one in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["credentials"]["secret"]["secretName"] == "push"
    assert "store" not in volumes
    every, policy = outcome.apply
    assert not every["spec"]["egress"], "what makes it reaches nothing"
    assert policy["spec"]["egress"], "the registry is reached"


def test_what_was_found_is_ready_and_served_as_an_image() -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    asked = observed(seen, made)
    job = job_in(artifact.decide(asked, SETTINGS, NOW))
    outcome = artifact.decide(replace(asked, jobs=(ended(job, FOUND),)), SETTINGS, NOW)
    status = dict(outcome.status or {})
    assert [one["status"] for one in status["conditions"] if one["type"] == "Ready"] == ["True"]
    assert status["location"] == {"image": IMAGE}
    assert not outcome.create, "nothing is made"
    again = artifact.decide(observed(seen, made, status), SETTINGS, NOW)
    assert again.status == outcome.status
    assert not again.create
    whole = replace(seen, artifacts={made["metadata"]["name"]: {**accepted(made), "status": status}})
    served = model.decide(whole, SETTINGS, NOW)
    assert not [one for one in served.create if one["kind"] == "ModelArtifact"]
    pod = (of_kind(served, "Deployment") or {})["spec"]["template"]["spec"]
    assert pod["volumes"][0] == {
        "name": "model",
        "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"},
    }
    mounted = pod["containers"][0]["volumeMounts"][0]
    assert mounted == {"name": "model", "mountPath": "/models", "readOnly": True}
    assert {"name": "push"} in pod["imagePullSecrets"]
    assert "topologySpreadConstraints" in pod, "every node reads it"


def test_without_image_volumes_an_init_container_fetches_it() -> None:
    settings = replace(SETTINGS, image_volumes=False)
    seen = pinned(OCI)
    (made,) = made_by(seen)
    status = READY | {"digest": "sha256:5", "sizeBytes": 105_000_000, "location": {"image": IMAGE}}
    whole = replace(seen, artifacts={made["metadata"]["name"]: {**accepted(made), "status": status}})
    served = model.decide(whole, settings, NOW)
    pod = (of_kind(served, "Deployment") or {})["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    given = {one["name"]: one["value"] for one in fetch["env"]}
    assert fetch["command"] == ["slipway-runtime", "fetch"]
    assert given["SLIPWAY_SOURCE"] == f"oci://{IMAGE}"
    assert "emptyDir" in pod["volumes"][0]
    assert pod["containers"][0]["volumeMounts"][0]["subPath"] == "published"
    assert fetch["resources"]["requests"]["ephemeral-storage"] == pod["volumes"][0]["emptyDir"]["sizeLimit"]
    policy = next(
        one
        for one in served.apply
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == seen.model["metadata"]["name"]
    )
    assert policy["spec"]["egress"]


def test_what_is_not_there_is_made_and_pushed() -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    name = made["metadata"]["name"]
    status = {"completed": ["recall"], "stage": "quantize"}
    looked_up = replace(seen, artifacts={name: {**accepted(made), "status": status}})
    parents = made_by(looked_up)
    assert [one["spec"]["recipe"]["method"] for one in parents] == ["source", "gguf"]
    assert all("type" not in one["spec"].get("store", {}) for one in parents), "on the way it stays on claims"
    quality = {"perplexity": "14.8", "loss": "7.2%"}
    done = {
        "completed": ["recall", "quantize", "evaluate", "publish"],
        "quality": quality,
        "digest": "sha256:5",
    }
    parent = {**accepted(parents[-1]), "status": READY | {"location": {"claim": "f16"}}}
    asked = observed(seen, made, done, parent=parent)
    claim = next(one for one in artifact.decide(replace(asked, artifact={**asked.artifact, "status": status}),
                                                SETTINGS, NOW).create)  # fmt: skip
    asked = replace(asked, claim=accepted(claim))
    job = job_in(artifact.decide(asked, SETTINGS, NOW))
    assert job["metadata"]["name"].endswith("-push-1")
    assert '"loss":"7.2%"' in env(job)["SLIPWAY_QUALITY"]
    outcome = artifact.decide(replace(asked, jobs=(ended(job, {"ok": True, "image": IMAGE}),)), SETTINGS, NOW)
    assert (outcome.status or {})["location"] == {"claim": name, "path": "published", "image": IMAGE}


def test_a_lost_claim_changes_nothing_of_what_a_registry_keeps() -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    order = ["recall", "quantize", "evaluate", "publish", "push"]
    location = {"claim": made["metadata"]["name"], "path": "published", "image": IMAGE}
    status = SETTLED | {"completed": order, "digest": "sha256:5", "sizeBytes": 5, "location": location}
    outcome = artifact.decide(observed(seen, made, status), SETTINGS, NOW)
    assert (outcome.status or {})["location"] == {"image": IMAGE}
    assert not outcome.create


def test_the_installation_says_where_and_a_model_may_say_otherwise() -> None:
    site = replace(
        SETTINGS,
        store_type="oci",
        store_repository=REPOSITORY,
        store_secret="site",  # noqa: S106 - a name
    )
    written = spec()
    store = with_store(written, site).store
    assert store is not None
    assert (store.type, store.repository, store.secret_ref and store.secret_ref.name) == (
        "oci",
        REPOSITORY,
        "site",
    )
    own = with_store(spec(store={"type": "oci", "repository": "other.example.com/m"}), site).store
    assert own is not None
    assert own.secret_ref is None, "the site's Secret goes to the site's registry alone"
    assert with_store(spec(store={"type": "pvc"}), site).store == spec(store={"type": "pvc"}).store
    with pytest.raises(InvalidSpecError, match=r"the chart's store\.repository names none"):
        with_store(spec(store={"type": "oci"}), SETTINGS)
    assert with_store(written, SETTINGS) is written


def test_what_is_pushed_elsewhere_is_another_artifact() -> None:
    names = {
        made_by(pinned(store))[-1]["metadata"]["name"]
        for store in (OCI, {**OCI, "repository": "x.org/m"}, {})
    }
    assert len(names) == 3
