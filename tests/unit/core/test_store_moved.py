"""The store of the installation changes, or its Secret: what is planned anew, tried again, mounted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.api.base import LocalRef
from slipway.manifests.places import place_of
from slipway.observe.observed import Credential
from slipway.passes import artifact, model
from slipway.passes.kept import spec_hash, with_store
from slipway.plan.spec_hash import planning_hash
from tests.support.planning import spec
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, ended, planned
from tests.unit.core.test_remote_store import (
    IMAGE,
    OCI,
    REPOSITORY,
    job_in,
    made_by,
    observed,
    pinned,
    wishing,
)
from tests.unit.core.test_upkeep import READY, of_kind, served

Raw = dict[str, Any]
SITE = replace(SETTINGS, store_type="oci", store_repository=REPOSITORY)


def test_another_store_of_the_installation_is_another_revision_that_lists_what_is_made() -> None:
    seen = served()
    outcome = model.decide(seen, SITE, NOW)
    assert not [one for one in outcome.create if one["kind"] == "ModelArtifact"], "of the old plan"
    seen = replace(seen, known=seen.revisions[-1])
    (made,) = (one for one in model.decide(seen, SITE, NOW).create if one["kind"] == "ControllerRevision")
    again = replace(seen, revisions=(*seen.revisions, accepted(made)))
    (level,) = made_by(again, SITE)
    assert level["spec"]["store"]["repository"] == REPOSITORY
    assert level["metadata"]["name"] in made["data"]["artifacts"], (
        "or it is deleted as unused, and made again"
    )


def test_another_repository_of_the_installation_is_another_revision() -> None:
    seen = replace(wishing({"type": "oci"}), known=served().revisions[-1])
    (made,) = (one for one in model.decide(seen, SITE, NOW).create if one["kind"] == "ControllerRevision")
    moved = replace(SITE, store_repository="other.example.com/m")
    seen = replace(seen, revisions=(accepted(made),))
    (other,) = (one for one in model.decide(seen, moved, NOW).create if one["kind"] == "ControllerRevision")
    assert other["data"]["artifacts"][-1] != made["data"]["artifacts"][-1]


@pytest.mark.parametrize("store", [None, {"type": "pvc"}, {"size": "9Gi"}, OCI])
def test_what_the_spec_says_itself_has_the_hash_it_had(store: Raw | None) -> None:
    written = spec(store=store) if store else spec()
    assert spec_hash(written, with_store(written, SETTINGS)) == planning_hash(written)


def test_the_secret_of_the_installation_is_no_other_plan() -> None:
    written = spec()
    found = with_store(written, SITE)
    assert found.store is not None
    other = found.model_copy(
        update={"store": found.store.model_copy(update={"secret_ref": LocalRef(name="x")})}
    )
    assert spec_hash(written, other) == spec_hash(written, found) != planning_hash(written)


def test_a_mended_secret_of_the_store_is_tried_again() -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    asked = observed(seen, made, store_credential=Credential("push", "1"))
    job = job_in(artifact.decide(asked, SETTINGS, NOW))
    refused = ended(job, 77, {"ok": False, "reason": "TokenRejected", "message": "401"})
    failed = artifact.decide(replace(asked, jobs=(refused,)), SETTINGS, NOW)
    assert condition(failed, "Ready")[1] == "TokenRejected"
    same = replace(asked, artifact={**asked.artifact, "status": failed.status}, jobs=(refused,))
    again = artifact.decide(same, SETTINGS, NOW)
    assert not again.create
    assert again.requeue_after, "a Secret has no event of ours"
    mended = replace(same, store_credential=Credential("push", "2"))
    assert job_in(artifact.decide(mended, SETTINGS, NOW))["metadata"]["name"].endswith("-recall-2")


def test_a_secret_of_the_store_that_is_not_there_is_waited_for() -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    asked = observed(seen, made, store_credential=Credential("push", "", keys="username"))
    outcome = artifact.decide(asked, SETTINGS, NOW)
    assert not outcome.create
    assert condition(outcome, "Ready")[1:] == (
        "SecretNotFound",
        "Secret push does not exist in this namespace; create it with the key username",
    )


def test_pods_pull_with_the_secret_that_the_spec_names_now() -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    status = READY | {"digest": "sha256:5", "sizeBytes": 5, "location": {"image": IMAGE}}
    held = {made["metadata"]["name"]: {**accepted(made), "status": status}}
    other = replace(wishing({**OCI, "secretRef": {"name": "rotated"}}), known=planned().revisions[0])
    (made,) = (
        one for one in model.decide(other, SETTINGS, NOW).create if one["kind"] == "ControllerRevision"
    )
    other = replace(other, revisions=(accepted(made),), known=None, artifacts=held)
    outcome = model.decide(other, SETTINGS, NOW)
    pod = (of_kind(outcome, "Deployment") or {})["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "rotated"}]
    assert "delete it to move" not in condition(outcome, "ArtifactReady")[2]


def test_what_lies_elsewhere_is_pulled_with_its_own_secret() -> None:
    there = {"spec": {"store": OCI}, "status": {"location": {"image": IMAGE}}}
    other = {**OCI, "repository": "other.example.com/m", "secretRef": {"name": "x"}}
    bare = {"type": "oci", "repository": REPOSITORY}
    found = [place_of(there, spec(store=store).store).secret for store in (other, {"type": "pvc"}, bare)]
    assert found == ["push", "push", ""]
