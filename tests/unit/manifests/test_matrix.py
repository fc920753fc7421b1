"""Importance matrices in the chain: one for all levels of a model, only where it changes something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.engines import decide
from slipway.manifests.artifacts import ArtifactPlan, build_artifact
from slipway.manifests.chains import artifact_chain
from slipway.manifests.job_sizes import Subject, stage_size
from slipway.manifests.jobs import stages
from slipway.plan.decision import Plan
from slipway.plan.memory import file_bytes
from slipway.plan.spec_hash import planning_hash
from slipway.settings import Settings
from slipway_runtime.contract import NEED_MATRIX
from tests.support.planning import COMMIT, MODELS, NODES, model, spec

FACTS = MODELS["smollm2-135m"]


def planned(**optimize: Any) -> Plan:
    return decide(spec(optimize=optimize), FACTS, [NODES["server-64"]], Settings())


def chain(**optimize: Any) -> list[ArtifactPlan]:
    return artifact_chain(spec(optimize=optimize), COMMIT, planned(**optimize))


@pytest.mark.parametrize("level", NEED_MATRIX)
def test_low_levels_have_one(level: str) -> None:
    source, f16, matrix, served = chain(level=level)
    assert [one.made.method for one in (source, f16, matrix, served)] == ["source", "gguf", "imatrix", "gguf"]
    assert (matrix.parent, served.parent, served.level) == (f16.name, f16.name, level)
    assert served.made.inputs == {"imatrix": matrix.name}
    assert served.made.expected_bytes == planned(level=level).sizes.level


def test_all_levels_share_it_with_their_f16() -> None:
    chains = [chain(level="IQ2_M"), chain(level="IQ1_S"), chain(level="Q4_K_M", imatrix=True)]
    assert len({tuple(one.name for one in found[:3]) for found in chains}) == 1
    assert len({found[3].name for found in chains}) == 3
    plain = chain(level="Q4_K_M")
    assert [one.name for one in plain[:2]] == [one.name for one in chains[0][:2]]
    assert plain[2].name != chains[2][3].name


def test_others_only_where_it_is_asked_for_and_changes_something() -> None:
    assert not planned(level="Q4_K_M").imatrix
    assert planned(level="Q4_K_M", imatrix=True).imatrix
    assert planned(imatrix=True).imatrix
    assert not planned(goal="quality", imatrix=True).imatrix  # Q8_0


def test_a_matrix_is_no_model_and_nothing_of_it_is_evaluated() -> None:
    built = [build_artifact(one, [], "team") for one in chain(level="IQ2_M")]
    assert [stages(one) for one in built] == [
        ("fetch",),
        ("convert", "evaluate", "publish"),
        ("imatrix", "publish"),
        ("quantize", "evaluate", "publish"),
    ]


def test_its_job_is_as_large_as_the_model_and_has_time_for_it() -> None:
    small = Subject(1 << 20, FACTS)
    large = replace(small, facts=MODELS["llama-7b"])
    size, more = (stage_size("imatrix", one, Settings()) for one in (small, large))
    assert size.memory_limit > 2 * FACTS.parameters
    assert more.memory_limit > 2 * MODELS["llama-7b"].parameters
    assert more.deadline_seconds >= size.deadline_seconds


def test_a_wish_for_one_is_another_plan() -> None:
    assert planning_hash(spec(optimize={"imatrix": True})) != planning_hash(spec())


def test_experts_alone_have_four_bits_in_mxfp4() -> None:
    dense = model(8e9, 32, 4096, 32, 8, 128, 32_000, 4096)
    mixed = replace(dense, experts=8, active_parameters=2_000_000_000)
    assert file_bytes(dense, "MXFP4_MOE") == file_bytes(dense, "Q8_0")
    assert 0.55 < file_bytes(mixed, "MXFP4_MOE") / file_bytes(dense, "MXFP4_MOE") < 0.65
