"""Who keeps an artifact: what is current or runs, no mere history."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from slipway.kube import Kube
from slipway.observe.observer import Observer
from slipway.observe.users import user
from slipway.queue import Key

Raw = dict[str, Any]
OLD, NEW = ({"metadata": {"name": name}} for name in ("r1", "r2"))


def model(revision: str = "r2", observed: int = 1, measured: str = "") -> Raw:
    status = {"revision": revision, "observedGeneration": observed, "benchmark": {"revision": measured}}
    return {"metadata": {"name": "m", "generation": 1}, "status": status}


def deployment(revision: str, *, updated: int = 1) -> Raw:
    meta = {"generation": 1, "annotations": {"slipway.dev/revision": revision}}
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": updated, "availableReplicas": 1}
    return {"kind": "Deployment", "metadata": meta, "spec": {"replicas": 1}, "status": status}


@pytest.mark.parametrize(
    ("seen", "runs", "expected"),
    [
        pytest.param(model(), deployment("r2"), (None, True), id="history"),
        pytest.param(model(), deployment("r1"), (OLD, False), id="serving"),
        pytest.param(model(), deployment("r2", updated=0), (OLD, False), id="rolling"),
        pytest.param(model("r1"), deployment("r2"), (OLD, True), id="turned-back"),
        pytest.param(model(observed=0), deployment("r2"), (OLD, False), id="spec-not-looked-at"),
        pytest.param(model(""), None, (OLD, False), id="nothing-known"),
        pytest.param(model(), None, (None, True), id="never-served"),
        pytest.param(model(measured="r1"), None, (OLD, False), id="deployment-deleted"),
    ],
)
def test_a_superseded_revision_counts_while_it_runs(
    seen: Raw, runs: Raw | None, expected: tuple[Raw | None, bool]
) -> None:
    found = user(seen, runs, [OLD], planned=True)
    assert (found.revision, found.lasting) == expected


def test_the_newest_of_those_that_count() -> None:
    assert user(model(), deployment("r1"), [OLD, NEW], planned=True).revision is NEW


def test_another_current_revision_wakes_the_artifacts_of_the_one_before() -> None:
    keys: list[Key] = []
    observer = Observer(cast("Kube", None), (), keys.append, time.monotonic)
    ref = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelDeployment", "name": "m", "uid": "u"}
    meta = {"namespace": "n", "resourceVersion": "1"}
    level = {"apiVersion": ref["apiVersion"], "kind": "ModelArtifact", "spec": {}}
    observer.remember({**level, "metadata": {**meta, "name": "q4", "ownerReferences": [ref]}})
    one = {"apiVersion": ref["apiVersion"], "kind": "ModelDeployment", "spec": {}}
    for version, revision in (("1", "r1"), ("2", "r1"), ("3", "r2")):
        keys.clear()
        metadata = {**meta, "name": "m", "uid": "u", "resourceVersion": version}
        observer.remember(
            {**one, "metadata": metadata, "status": {"revision": revision, "replicas": version}}
        )
        woken = Key("ModelArtifact", "n", "q4") in keys
        assert woken == (version in ("1", "3"))
