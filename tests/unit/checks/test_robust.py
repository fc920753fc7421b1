"""A rule never fails for a field that the API server may leave out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from slipway.checks import Input, evaluate

ALWAYS_THERE = {"name", "image", "type", "status"}
"""Required by the API wherever the rules read them."""


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested data."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*so_far, step)
        yield from paths(inner, (*so_far, step))


def without(value: Any, path: tuple[Any, ...]) -> Any:
    copied = copy.deepcopy(value)
    target = copied
    for step in path[:-1]:
        target = target[step]
    del target[path[-1]]
    return copied


@pytest.mark.parametrize("part", ["children", "claim", "artifact_status"])
def test_any_optional_field_may_be_absent(part: str, healthy: Input) -> None:
    whole = getattr(healthy, part)
    removed = [path for path in paths(whole) if path[-1] not in ALWAYS_THERE]
    assert len(removed) >= 3
    for path in removed:
        results = evaluate(dataclasses.replace(healthy, **{part: without(whole, path)}), "edge")
        assert {row.result for row in results} <= {"PASS", "WARN", "FAIL", "SKIP"}, path


def test_any_field_of_a_pod_may_be_absent(healthy: Input) -> None:
    first = healthy.pods[0]
    for path in paths(first):
        if path[-1] not in ALWAYS_THERE or path == ("status",):
            evaluate(dataclasses.replace(healthy, pods=(without(first, path),)), "edge")


def test_a_fresh_deployment_has_no_status_yet(healthy: Input) -> None:
    bare = {kind: {"metadata": {"name": "qwen"}} for kind in healthy.children}
    evaluate(dataclasses.replace(healthy, children=bare, pods=({"metadata": {}},)), "chat")
