"""What users get wrong, and what is in their way: each ends in a condition that a person understands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.plan.stages import BACKOFF_FIRST, LAG_SECONDS
from tests.cluster.access import CHILDREN
from tests.cluster.hub import SMOLLM2, TINY
from tests.cluster.namespaces import Cluster, model_manifest, own_namespace, tries

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
TRIED, UNTRIED, BOTH = 1, 0, 2
"""Inspections: of the model, of none, of the model and what is to be served beside it."""
STRANGE = "hf://slipway-test/unsupported-architecture"


@dataclass(frozen=True)
class Mistake:
    """A spec that can't be served: what is said of it, words of that, and how often the hub is asked."""

    name: str
    source: str
    reason: str
    jobs: int = TRIED
    words: str = ""
    spec: dict[str, Any] = field(default_factory=dict)


# One namespace holds them all. Those that are planned before they are refused have a source of their own: a
# second deployment of the same source would be spared the inspection that is counted.
MISTAKES = [
    Mistake("unknown-scheme", "ftp://example/model", "UnknownScheme", UNTRIED),
    Mistake("no-repository", "hf://slipway-test/no-such-model", "RepositoryNotFound"),
    Mistake("no-revision", SMOLLM2, "RevisionNotFound", spec={"model": {"revision": "no-such-branch"}}),
    Mistake("gated", "hf://slipway-test/gated", "GatedRepository"),
    Mistake(
        "locked", "hf://slipway-test/private", "TokenRejected", spec={"model": {"secretRef": {"name": "hub"}}}
    ),
    Mistake("no-config", "hf://slipway-test/no-config", "NoConfig"),
    Mistake("pickle", "hf://slipway-test/pickle-only", "PickleOnly"),
    Mistake(
        "architecture",
        "hf://slipway-test/unsupported-architecture",
        "UnsupportedArchitecture",
        TRIED,
        "Hovercraft",
    ),
    Mistake("truncated", "hf://slipway-test/truncated", "TruncatedWeights"),
    Mistake("level", SMOLLM2, "UnknownLevel", UNTRIED, "Q4_K_M", {"optimize": {"level": "Q9_Z"}}),
    Mistake("small", SMOLLM2, "StoreTooSmall", TRIED, "16Mi", {"store": {"size": "16Mi"}}),
    Mistake("hungry", TINY, "NothingFits", TRIED, "900", {"engine": {"resources": {"memory": "900Gi"}}}),
    Mistake("huge", "hf://slipway-test/huge", "NothingFits", TRIED, "GiB"),
    Mistake(
        "draft",
        TINY,
        "DraftVocabulary",
        BOTH,
        "another vocabulary",
        {"engine": {"speculative": {"draft": {"source": "hf://slipway-test/other-vocabulary"}}}},
    ),
    Mistake(
        "adapter",
        TINY,
        "NotAnAdapter",
        BOTH,
        "adapter_config.json",
        {
            "engine": {"name": "vllm"},
            "model": {"adapters": [{"name": "sql", "source": "hf://slipway-test/branches", "mode": "serve"}]},
        },
    ),
]
PLANNED = ("architecture", "small", "hungry", "huge", "draft")
PERMANENT = {m.name for m in MISTAKES if m.jobs and m.name not in PLANNED}
"""Those that a stage refused; the others are refused by the plan, which changes when nodes do."""


def secret(token: str) -> dict[str, Any]:
    """The credential that one of them names."""
    meta = {"name": "hub"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"token": token}}


@pytest.fixture(scope="module")
def mistakes(installed: None) -> Iterator[Cluster]:
    """Every mistake at once, and a deployment that its user has suspended."""
    with own_namespace("mistakes") as made:
        paused = model_manifest("paused", "hf://slipway-test/branches", suspend=True)
        made.apply(
            secret("hf_wrong"), paused, *(model_manifest(m.name, m.source, **m.spec) for m in MISTAKES)
        )
        yield made


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_mistakes_are_named(mistakes: Cluster, mistake: Mistake) -> None:
    ready = mistakes.wait_reason(mistake.name, "Ready", mistake.reason, 180)
    assert ready["status"] == "False"
    assert len(ready["message"]) > 20
    assert mistake.words in ready["message"]
    failure = mistakes.mdl(mistake.name)["status"].get("failure")
    assert mistake.name not in PERMANENT or failure["reason"] == mistake.reason


def test_suspended_is_said(mistakes: Cluster) -> None:
    mistakes.wait_reason("paused", "Progressing", "Suspended", 60)


def test_no_mistake_is_tried_again_and_nothing_is_made_of_it(mistakes: Cluster) -> None:
    for mistake in MISTAKES:
        mistakes.wait_reason(mistake.name, "Ready", mistake.reason, 180)
    ended = [datetime.fromisoformat(end_of(job)) for job in mistakes.list("jobs")]
    passed = (datetime.now(UTC) - max(ended)).total_seconds()
    # Longer than the operator waits before a second try: that there is none shows in no condition.
    time.sleep(max(0.0, BACKOFF_FIRST + LAG_SECONDS - passed))
    expected = {(m.name, "inspect"): m.jobs for m in MISTAKES if m.jobs}
    assert dict(tries(mistakes)) == expected
    pods = [pod["metadata"]["labels"]["slipway.dev/model"] for pod in mistakes.list("pods")]
    assert Counter(pods) == {name: jobs for (name, _), jobs in expected.items()}
    made = [one for one in mistakes.list(CHILDREN) if one["kind"] not in ("Job", "Pod")]
    kinds = {one["kind"] for one in made}
    assert kinds <= {"NetworkPolicy", "ControllerRevision"}, kinds


def end_of(job: dict[str, Any]) -> str:
    """When the Job ended."""
    return next(
        c["lastTransitionTime"] for c in job["status"]["conditions"] if c["type"] in ("Complete", "Failed")
    )


def test_a_resumed_deployment_and_a_corrected_token_go_on_by_themselves(mistakes: Cluster) -> None:
    mistakes.apply(secret("hf_reader"))
    mistakes.kubectl("patch", "mdl", "paused", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    mistakes.wait("the first Job", lambda: ("paused", "inspect") in tries(mistakes), 30)
    mistakes.wait_true("locked", "SourceResolved", 120)


def test_every_mistake_that_the_schema_knows_is_refused_by_the_api_server(mistakes: Cluster) -> None:
    with pytest.raises(AssertionError, match="replicas"):
        mistakes.model("bad", replicas=-1)
    with pytest.raises(AssertionError, match="minReplicas"):
        mistakes.model("bad", autoscaling={"minReplicas": 3, "maxReplicas": 2})


def test_image_that_cannot_be_pulled_is_said_and_healed(built: Cluster) -> None:
    built.model("image", TINY, engine={"image": "198.18.0.1:1/nobody/nothing:1"})
    ready = built.wait_reason("image", "Ready", "ImagePullFailed", 120)
    assert "198.18.0.1:1/nobody/nothing:1" in ready["message"]
    built.kubectl("patch", "mdl", "image", "--type=json", "-p", '[{"op":"remove","path":"/spec/engine"}]')
    built.wait_ready("image", 120)
    built.delete_models("image")


def test_a_foreign_service_of_that_name_is_never_touched(built: Cluster) -> None:
    spec = {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}
    built.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken"}, "spec": spec})
    before = built.get("services", "taken")["metadata"]["resourceVersion"]
    built.model("taken", TINY)
    ready = built.wait_reason("taken", "Ready", "NameConflict", 120)
    assert "Service" in ready["message"]
    assert built.get("services", "taken")["metadata"]["resourceVersion"] == before
    built.kubectl("delete", "service", "taken")
    built.wait_ready("taken", 120)
    built.delete_models("taken")
