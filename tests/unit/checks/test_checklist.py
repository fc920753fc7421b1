"""The checklist as a whole: discovery, order, counts, bounds, profiles, and its page in docs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import slipway.checks
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.checks import Input, Result, checklist_status, checks, evaluate, failed, profile_name, summary
from slipway.checks.page import page
from slipway.checks.profiles import PROFILES, Profile, Threshold

FOLDER = Path(slipway.checks.__file__).parent
NO_RULES = {"__init__", "base", "load", "lookup", "page", "profiles"}
DOCS = Path(__file__).parents[3] / "docs"


def test_every_other_file_of_the_folder_is_a_rule_of_its_own() -> None:
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("*.py") if path.stem not in NO_RULES}
    assert files == {rule.name for rule in checks()}
    assert len(files) >= 12


def test_order_is_stable_objects_first() -> None:
    keys = [(rule.kind != "objects", rule.name) for rule in checks()]
    assert keys == sorted(keys)


def test_the_same_input_gives_the_same_results(healthy: Input) -> None:
    assert evaluate(healthy, "edge") == evaluate(healthy, "edge")


def test_summary_counts_pass_over_what_applies() -> None:
    results = [
        Result(str(n), verdict, "", "", "")
        for n, verdict in enumerate(("PASS", "PASS", "WARN", "FAIL", "SKIP"))
    ]
    assert summary(results) == "2/4"
    assert failed(results) == ("3",)
    assert summary([]) == "0/0"


def test_status_has_the_shape_of_the_api_and_no_fix_where_none_is_needed(healthy: Input) -> None:
    status = checklist_status(healthy)
    total = len(checks())
    assert (status.profile, status.summary) == ("edge", f"{total}/{total}")
    assert all(row.fix is None for row in status.results)


def test_long_texts_are_cut(healthy: Input) -> None:
    given = dataclasses.replace(healthy, benchmark=None, benchmark_failure="x" * 5000)
    texts = [
        text for row in evaluate(given, "edge") for text in (row.value, row.threshold, row.evidence, row.fix)
    ]
    assert max(map(len, texts)) == slipway.checks.TEXT_LIMIT


@pytest.mark.parametrize(
    ("asked", "planned", "expected"),
    [(None, "edge", "edge"), ("auto", "chat", "chat"), ("chat", "edge", "chat"), ("edge", "chat", "edge")],
)
def test_profile_is_the_users_or_the_plans(
    asked: str | None, planned: str, expected: str, healthy: Input
) -> None:
    checklist = {"profile": asked} if asked else {}
    spec = ModelDeploymentSpec.model_validate({"model": {"source": "hf://a/b"}, "checklist": checklist})
    assert profile_name(spec, dataclasses.replace(healthy.plan, profile=planned)) == expected


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_threshold_names_its_source(profile: Profile) -> None:
    fields = [getattr(profile, one.name) for one in dataclasses.fields(profile)]
    thresholds = [one for one in fields if isinstance(one, Threshold)]
    assert len(thresholds) >= 8
    assert all(len(one.source) > 20 and one.limit > 0 for one in thresholds)


def test_the_page_in_docs_is_the_generated_one() -> None:
    assert (DOCS / "checklist.md").read_text() == page(), (
        "run: python -m slipway.checks.page > docs/checklist.md"
    )
