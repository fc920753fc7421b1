"""Addresses by scheme: each form with what is right and wrong, what is pinned, what is a claim."""

from __future__ import annotations

import re

import pytest

from slipway.api import reasons
from slipway.api.base import matches
from slipway.api.sources import FORMS, claim_of, is_commit, scheme_of
from slipway.api.validate import problems
from slipway_runtime.sources import SCHEMES
from tests.support.spec_cases import PIN, RIGHT_SOURCES, WRONG_SOURCES


@pytest.mark.parametrize("source", RIGHT_SOURCES)
def test_right(source: str) -> None:
    (form,) = [one for one in FORMS if one.scheme == scheme_of(source)]
    assert matches(form.whole, source)


@pytest.mark.parametrize("source", WRONG_SOURCES)
def test_wrong(source: str) -> None:
    (form,) = [one for one in FORMS if one.scheme == scheme_of(source)]
    assert not matches(form.whole, source)


@pytest.mark.parametrize("source", [one for one in WRONG_SOURCES if scheme_of(one) in SCHEMES])
def test_a_malformed_address_is_said_with_the_form_of_its_scheme(source: str) -> None:
    (found,) = problems({"metadata": {"name": "model"}, "spec": {"model": {"source": source}}})
    (form,) = [one for one in FORMS if one.scheme == scheme_of(source)]
    assert (found.path, found.reason) == ("spec.model.source", reasons.INVALID_SOURCE)
    assert form.form in found.message


def test_every_source_has_a_form_and_its_example_fits() -> None:
    assert {one.scheme for one in FORMS} >= set(SCHEMES)
    for form in FORMS:
        example = re.search(rf"such as ({form.scheme}://[^ ,;]+)", form.form)
        assert example is not None
        assert matches(form.whole, example[1])


def test_patterns_stand_in_cel_as_they_are() -> None:
    assert [one.scheme for one in FORMS if re.search(r"[\\']", one.whole + one.form + one.where)] == []


def test_an_unknown_scheme_names_the_known_ones() -> None:
    (found,) = problems({"metadata": {"name": "model"}, "spec": {"model": {"source": "ftp://acme/model"}}})
    assert found.reason == reasons.UNKNOWN_SCHEME
    assert all(one in found.message for one in SCHEMES)


@pytest.mark.parametrize(
    ("revision", "fixed"),
    [
        ("a" * 40, True),
        (PIN, True),
        ("main", False),
        ("a" * 39, False),
        ("A" * 40, False),
        (PIN + "\n", False),
        ("sha256:" + "g" * 64, False),
        (None, False),
    ],
)
def test_what_is_the_same_for_ever(revision: str | None, *, fixed: bool) -> None:
    assert is_commit(revision) is fixed


@pytest.mark.parametrize(
    ("uri", "claim"),
    [
        ("pvc://models/a/b", "models"),
        ("pvc://models", "models"),
        ("hf://models/a", ""),
        ("s3://models/a", ""),
    ],
)
def test_the_claim_of_a_source(uri: str, claim: str) -> None:
    assert claim_of(uri) == claim


def test_a_pin_may_be_the_revision_where_branches_may_not() -> None:
    def paths(**model: str) -> list[str]:
        return [one.path for one in problems({"metadata": {"name": "model"}, "spec": {"model": model}})]

    assert paths(source="pvc://models/a", revision="main") == ["spec.model.revision"]
    assert paths(source="pvc://models/a", revision=PIN) == []
    assert paths(source="modelscope://acme/model", revision="master") == []
