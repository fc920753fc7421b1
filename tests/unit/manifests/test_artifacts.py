"""Artifacts are named by content: shared where they are the same, apart where they are not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import decide
from slipway.manifests.artifacts import NAME_LIMIT, ArtifactPlan, build_artifact
from slipway.manifests.chains import artifact_chain, compared_artifacts
from slipway.manifests.jobs import job_name
from slipway.manifests.owner import Owner
from slipway.plan.decision import Plan
from slipway.plan.memory import sizes
from slipway.plan.pruning import pruned_facts
from slipway.settings import Settings
from slipway_runtime.contract import LEVELS, STAGES
from tests.support.planning import COMMIT, MODELS, NODES, spec

DNS = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def chain(commit: str = COMMIT, **fields: Any) -> list[str]:
    wish = spec(**fields)
    return [one.name for one in artifact_chain(wish, commit, planned(wish))]


def planned(wish: ModelDeploymentSpec) -> Plan:
    return decide(wish, MODELS["smollm2-135m"], [NODES["server-64"]], Settings())


def test_chain_of_a_level(plan: Plan) -> None:
    source, f16, level = artifact_chain(spec(), COMMIT, plan)
    assert (source.made.method, source.level, source.parent) == ("source", "source", None)
    assert (f16.made.method, f16.level, f16.parent) == ("gguf", "F16", source.name)
    assert (level.made.method, level.level, level.parent) == ("gguf", "Q4_K_M", f16.name)
    assert [one.made.expected_bytes for one in (source, f16, level)] == [
        plan.sizes.source,
        plan.sizes.f16,
        plan.sizes.level,
    ]
    assert re.fullmatch(r"model-source-[0-9a-f]{10}", source.name)
    assert re.fullmatch(r"model-f16-[0-9a-f]{10}", f16.name)
    assert re.fullmatch(r"model-q4-k-m-[0-9a-f]{10}", level.name)


def test_f16_needs_two() -> None:
    assert len(chain(optimize={"method": "none"})) == 2
    assert chain(optimize={"method": "none"}) == chain()[:2]


def test_bf16_comes_straight_from_the_source_with_its_range() -> None:
    wish = spec(optimize={"level": "BF16"})
    plan = planned(wish)
    source, level = artifact_chain(wish, COMMIT, plan)
    assert (level.level, level.parent, level.made.expected_bytes) == ("BF16", source.name, plan.sizes.level)
    assert source.name == chain()[0]


def test_a_second_level_shares_source_and_f16() -> None:
    assert chain(optimize={"level": "Q8_0"})[:2] == chain()[:2]
    assert chain(optimize={"level": "Q8_0"})[2] != chain()[2]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": {"source": "hf://acme/model", "secretRef": {"name": "other"}}},
        {"model": {"source": "hf://acme/model", "revision": "tag"}},
        {"store": {"size": "20Gi", "storageClassName": "fast"}},
        {"replicas": 5},
        {"engine": {"contextLength": 1024}},
    ],
    ids=str,
)
def test_what_does_not_change_the_bytes_does_not_change_the_name(fields: dict[str, Any]) -> None:
    assert chain(**fields) == chain()


def test_another_commit_or_repository_is_another_artifact() -> None:
    assert not set(chain()) & set(chain(COMMIT[::-1]))
    other = chain(model={"source": "hf://other/model"})
    assert not set(chain()) & set(other)


@given(
    st.from_regex(r"\Ahf://[A-Za-z0-9._-]{1,60}/[A-Za-z0-9._-]{1,200}\Z"),
    st.sampled_from([one for one in LEVELS if one != "MXFP4_MOE"]),
)
def test_names_are_dns_names_that_leave_room_for_jobs(uri: str, level: str) -> None:
    wish = ModelDeploymentSpec.model_construct(model=spec().model.model_copy(update={"source": uri}))
    plan = planned(spec(optimize={"level": level}))
    for one in artifact_chain(wish, COMMIT, plan):
        assert len(one.name) <= NAME_LIMIT
        assert DNS.fullmatch(one.name)
        for stage in STAGES:
            job = job_name(one.name, stage, 99)
            assert len(job) <= 63
            assert DNS.fullmatch(job)


def test_object_has_every_owner_and_only_what_is_set(plan: Plan, owner: Owner) -> None:
    second = Owner(owner.api_version, owner.kind, "other", "uid-9", owner.namespace)
    source, f16, _ = artifact_chain(spec(store={"size": "2Gi"}), COMMIT, plan)
    built = build_artifact(f16, [owner, second], "team")
    references = built["metadata"]["ownerReferences"]
    assert [one["uid"] for one in references] == ["uid-1", "uid-9"]
    assert not any("controller" in one for one in references)
    assert built["spec"] == {
        "source": {"uri": "hf://acme/model", "commit": COMMIT},
        "recipe": {"method": "gguf", "level": "F16"},
        "expectedBytes": f16.made.expected_bytes,
        "parent": source.name,
        "store": {"size": "2Gi"},
    }
    assert "parent" not in build_artifact(source, [owner], "team")["spec"]
    assert build_artifact(source, [owner], "team")["spec"]["recipe"] == {"method": "source"}


def test_an_f16_keeps_room_for_what_it_says(plan: Plan, owner: Owner) -> None:
    source, f16, level = artifact_chain(spec(), COMMIT, plan)
    built = [build_artifact(one, [owner], "team", logits=200)["spec"] for one in (source, f16, level)]
    assert [one.get("workBytes") for one in built] == [None, 200, None]


def test_compared_levels_are_made_of_the_same_f16(plan: Plan) -> None:
    facts = MODELS["smollm2-135m"]
    served = artifact_chain(spec(), COMMIT, plan)

    def comparing(*levels: str) -> list[ArtifactPlan]:
        wish = spec(optimize={"compare": [*levels]})
        return [*compared_artifacts(wish, COMMIT, plan, facts, ()).values()]

    compared = comparing("Q8_0")
    assert [one.name for one in compared[:2]] == [one.name for one in served[:2]]
    assert compared[2].parent == served[1].name
    assert compared[2].made.expected_bytes == sizes(facts, "Q8_0").level
    assert [one.name for one in comparing(plan.level)] == [one.name for one in served]
    assert len(comparing("BF16")) == 2
    measured = comparing("IQ2_M")
    assert [one.level for one in measured] == ["source", "F16", "IMATRIX", "IQ2_M"]
    assert measured[3].made.inputs == {"imatrix": measured[2].name}


def test_compared_levels_have_the_matrix_that_the_spec_wants(plan: Plan) -> None:
    def comparing(**optimize: Any) -> dict[str, ArtifactPlan]:
        wish = spec(optimize={"compare": ["Q3_K_M", "Q8_0"], **optimize})
        found = compared_artifacts(wish, COMMIT, planned(wish), MODELS["smollm2-135m"], ())
        return {one.level: one for one in found.values()}

    wished = comparing(imatrix=True)
    assert wished["Q3_K_M"].made.inputs == {"imatrix": wished["IMATRIX"].name}
    assert not wished["Q8_0"].made.inputs
    alone = artifact_chain(spec(), COMMIT, replace(plan, level="Q3_K_M", imatrix=True))
    assert wished["Q3_K_M"].name == alone[-1].name
    assert "IMATRIX" not in comparing()
    needed = comparing(level="IQ2_M")
    assert not needed["Q3_K_M"].made.inputs


def test_a_compared_level_of_a_pruned_model_is_as_large_as_what_is_left(plan: Plan) -> None:
    facts = MODELS["smollm2-135m"]
    wish = spec(optimize={"compare": ["Q8_0"], "prune": {"dropLayers": "50%"}})
    compared = [*compared_artifacts(wish, COMMIT, plan, facts, ()).values()]
    left = sizes(pruned_facts(wish, facts), "Q8_0")
    assert [one.made.expected_bytes for one in compared[2:]] == [left.f16, left.level]
    assert left.level < sizes(facts, "Q8_0").level
