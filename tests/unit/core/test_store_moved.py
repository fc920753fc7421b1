"""The store of the installation changes, or its Secret: what is planned anew, tried again, mounted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.api.base import LocalRef
from slipway.passes import model
from slipway.passes.kept import spec_hash, with_store
from slipway.plan.spec_hash import planning_hash
from tests.support.planning import spec
from tests.unit.core.test_passes import NOW, SETTINGS, accepted
from tests.unit.core.test_remote_store import OCI, REPOSITORY, made_by, wishing
from tests.unit.core.test_upkeep import served

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
