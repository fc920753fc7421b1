"""The mark of what admission made of a wish: it holds until somebody changes the object, or the wish."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway import drift
from slipway.manifests.held import HELD, build_mark, overruled

WISH: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "a", "labels": {"x": "1"}},
    "spec": {"paused": False, "template": {"spec": {"containers": [{"name": "engine", "image": "ours"}]}}},
}


def admitted() -> dict[str, Any]:
    """What the API server holds of it: another image, defaults, and an autoscaler's count."""
    raw = copy.deepcopy(drift.stamped(WISH))
    raw["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror/ours"
    raw["spec"] |= {"replicas": 2, "revisionHistoryLimit": 10}
    return raw


def marked() -> dict[str, Any]:
    raw = admitted()
    raw["metadata"]["annotations"] = build_mark(drift.stamped(WISH), raw)["metadata"]["annotations"]
    return raw


def test_without_the_mark_nothing_is_taken_as_it_is() -> None:
    assert not overruled(drift.stamped(WISH), None)
    assert not overruled(drift.stamped(WISH), admitted())


def test_the_mark_is_the_only_difference_of_the_second_apply() -> None:
    again = build_mark(drift.stamped(WISH), admitted())
    assert again["metadata"]["annotations"].pop(HELD)
    assert again == drift.stamped(WISH)


def test_what_admission_made_is_taken_as_it_is() -> None:
    raw = marked()
    assert not drift.settled(drift.stamped(WISH), raw)
    assert overruled(drift.stamped(WISH), raw)
    raw["spec"]["replicas"] = 3  # the autoscaler counts
    raw["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2"
    raw["status"] = {"replicas": 3}
    assert overruled(drift.stamped(WISH), raw)


def edits() -> list[Any]:
    def image(raw: Any) -> None:
        raw["spec"]["template"]["spec"]["containers"][0]["image"] = "by/hand"

    def field(raw: Any) -> None:
        raw["spec"]["minReadySeconds"] = 9

    def label(raw: Any) -> None:
        del raw["metadata"]["labels"]["x"]

    return [image, field, label]


@pytest.mark.parametrize("edit", edits(), ids=lambda edit: edit.__name__)
def test_a_hand_is_not(edit: Any) -> None:
    raw = marked()
    edit(raw)
    assert not overruled(drift.stamped(WISH), raw)


def test_another_wish_is_applied() -> None:
    other = {**WISH, "spec": {**WISH["spec"], "minReadySeconds": 1}}
    assert not overruled(drift.stamped(other), marked())
