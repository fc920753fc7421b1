"""A plan survives the way through a ControllerRevision."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slipway.engines import decide
from slipway.manifests.owner import Owner
from slipway.manifests.revision import (
    SPEC_HASH_LABEL,
    Pinned,
    build_revision,
    pinned_settings,
    read_pinned,
    revision_name,
)
from slipway.plan.decision import Plan
from slipway.settings import Images, Settings
from tests.support.planning import COMMIT, MODELS, NODES, spec


@pytest.fixture
def pinned(plan: Plan) -> Pinned:
    facts = MODELS["smollm2-135m"]
    images = Images(runtime="r@sha256:1", llamacpp="l@sha256:2")
    return Pinned("0123456789", "hf://acme/model", COMMIT, facts, plan, images, ("a", "b", "c"))


def test_round_trip_through_json(owner: Owner, pinned: Pinned) -> None:
    raw = json.loads(json.dumps(build_revision(owner, 3, pinned)))
    assert read_pinned(raw) == pinned
    assert raw["revision"] == 3
    assert raw["metadata"]["labels"][SPEC_HASH_LABEL] == "0123456789"
    assert raw["data"]["source"] == {"uri": "hf://acme/model", "commit": COMMIT}
    assert raw["data"]["plan"]["memory"]["kvCache"] == pinned.plan.memory.kv_cache


def test_round_trip_of_a_plan_with_selector_and_rejections(owner: Owner, pinned: Pinned) -> None:
    plan = decide(
        spec(), MODELS["llama2-13b"], [NODES[name] for name in ("pi", "laptop-16", "down", "gpu")], Settings()
    )
    assert plan.rejected
    full = replace(pinned, plan=replace(plan, node_selector=(("kubernetes.io/arch", "amd64"),)))
    assert read_pinned(json.loads(json.dumps(build_revision(owner, 1, full)))) == full


def test_name_follows_the_content(owner: Owner, pinned: Pinned) -> None:
    name = revision_name("chat", 1, pinned)
    assert name.startswith("chat-")
    assert len(name) == len("chat-") + 10
    assert revision_name("chat", 1, replace(pinned, commit=COMMIT[::-1])) != name
    assert revision_name("chat", 2, pinned) != name  # the same plan, taken again after another one
    assert build_revision(owner, 1, pinned)["metadata"]["name"] == name


@pytest.mark.parametrize("data", [None, {}, {"specHash": "x"}, "text", {"plan": {}}])
def test_foreign_data_is_refused(owner: Owner, pinned: Pinned, data: object) -> None:
    raw = {**build_revision(owner, 1, pinned), "data": data}
    with pytest.raises(ValueError, match="delete it to plan again"):
        read_pinned(raw)


def test_older_plan_without_a_field_is_refused(owner: Owner, pinned: Pinned) -> None:
    raw = json.loads(json.dumps(build_revision(owner, 1, pinned)))
    del raw["data"]["plan"]["threads"]
    with pytest.raises(ValueError, match="threads"):
        read_pinned(raw)


def test_a_wish_that_is_answered_is_kept(owner: Owner, pinned: Pinned) -> None:
    asked = replace(pinned, asked="1")
    raw = json.loads(json.dumps(build_revision(owner, 1, asked)))
    assert raw["data"]["asked"] == "1"
    assert read_pinned(raw) == asked
    assert "asked" not in build_revision(owner, 1, pinned)["data"]


def test_a_revision_of_before_capacity_was_counted_is_read(owner: Owner, pinned: Pinned) -> None:
    raw = json.loads(json.dumps(build_revision(owner, 1, pinned)))
    del raw["data"]["plan"]["holds"]
    assert read_pinned(raw).plan == replace(pinned.plan, holds=None)
    assert read_pinned(raw).plan.surges(1000)


def test_an_upgrade_changes_no_pinned_image(pinned: Pinned) -> None:
    upgraded = Settings(
        images=Images("new/r", "new/l", pull_policy="Always", pull_secrets=("secret",)),
        hub_endpoint="https://hub",
    )
    settings = pinned_settings(upgraded, pinned)
    assert settings.images == Images(
        "r@sha256:1", "l@sha256:2", pull_policy="Always", pull_secrets=("secret",)
    )
    assert settings.hub_endpoint == "https://hub"


def test_a_revision_of_before_there_were_devices_is_read(owner: Owner, pinned: Pinned) -> None:
    raw = json.loads(json.dumps(build_revision(owner, 1, pinned)))
    for name in ("form", "atLoad", "dtype", "accelerator", "parallel", "gpuLayers", "embeds"):
        del raw["data"]["plan"][name]
    for name in ("activeParameters", "experts", "modality", "convertible", "kvElements"):
        del raw["data"]["facts"][name]
    assert read_pinned(raw) == pinned
