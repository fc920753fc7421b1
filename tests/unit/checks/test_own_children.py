"""What Slipway itself builds passes the rules that read objects; authentication honestly fails."""

from __future__ import annotations

import dataclasses

from slipway.checks import Input, evaluate
from slipway.manifests.owner import Owner
from slipway.manifests.places import Place
from slipway.manifests.serving import PublishedArtifact, build_serving
from slipway.settings import Images, Settings

IMAGES = Images(llamacpp="docker.io/slipway/llamacpp@sha256:" + "c" * 64)


def test_our_own_children(healthy: Input) -> None:
    owner = Owner("slipway.dev/v1alpha1", "ModelDeployment", "qwen", "uid", "team")
    artifact = PublishedArtifact(
        "b-q4-k-m-0123456789", Place(claim="b-q4-k-m-0123456789"), "sha256:" + "d" * 64, "Q4_K_M"
    )
    objects = build_serving(owner, healthy.spec, healthy.plan, artifact, Settings(images=IMAGES), "qwen-1")
    children = {one["kind"]: {**one} for one in objects if one["metadata"]["name"] == "qwen"}
    children["Deployment"] |= {"status": {"readyReplicas": 2}}
    results = evaluate(dataclasses.replace(healthy, children=children), "edge")
    assert {row.check: (row.result, row.value) for row in results if row.result != "PASS"} == {
        "authentication": ("FAIL", "none: every admitted caller is served")
    }
