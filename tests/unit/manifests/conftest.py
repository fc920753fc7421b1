"""A planned model and its owner."""

from __future__ import annotations

import pytest

from slipway.engines import decide
from slipway.manifests.owner import Owner, PublishedArtifact
from slipway.manifests.places import Place
from slipway.plan.decision import Plan
from slipway.settings import Settings
from tests.support.planning import MODELS, NODES, spec

API_VERSION = "slipway.dev/v1alpha1"
LEVEL_ARTIFACT = "model-q4-k-m-0123456789"


@pytest.fixture
def owner() -> Owner:
    return Owner(API_VERSION, "ModelDeployment", "chat", "uid-1", "team")


@pytest.fixture
def artifact_owner() -> Owner:
    return Owner(API_VERSION, "ModelArtifact", LEVEL_ARTIFACT, "uid-2", "team")


@pytest.fixture
def plan() -> Plan:
    return decide(spec(), MODELS["smollm2-135m"], [NODES["local"]], Settings())


@pytest.fixture
def published() -> PublishedArtifact:
    return PublishedArtifact(LEVEL_ARTIFACT, Place(claim=LEVEL_ARTIFACT), "sha256:" + "a" * 64, "Q4_K_M")
