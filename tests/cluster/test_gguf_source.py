"""A repository of GGUF alone: its file is served as it came, and what it lost is unknown."""

from __future__ import annotations

import hashlib

import pytest

from hack.hub.gguf_source import fetch_gguf
from tests.cluster.callers import client
from tests.cluster.namespaces import Cluster
from tests.cluster.stages import level_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
SOURCE = "hf://slipway-test/smollm2-gguf"
STAGE = "slipway.dev/stage"


def test_a_gguf_file_is_served_untouched(cluster: Cluster) -> None:
    cluster.model("came", SOURCE)
    cluster.wait_true("came", "Available")
    status = cluster.mdl("came")["status"]
    assert (status["plan"]["engine"], status["plan"]["level"]) == ("llamacpp", "Q4_1")
    (artifact,) = cluster.list("mart")
    assert level_of(artifact) == "Q4_1"
    assert artifact["spec"]["recipe"]["method"] == "source"
    stages = {job["metadata"]["labels"][STAGE] for job in cluster.list("jobs")}
    assert stages <= {"inspect", "fetch", "benchmark"}
    (pod, *_) = cluster.engines("came")
    printed = cluster.kubectl("exec", pod["metadata"]["name"], "--", "sha256sum", "/models/model.gguf")
    assert printed.split()[0] == hashlib.sha256(fetch_gguf().read_bytes()).hexdigest()
    with client(cluster, "came") as ai:
        chat = ai.chat.completions.create(
            model="came",
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=8,
            temperature=0,
        )
    assert chat.choices[0].message.content

    def judged() -> str:
        results = (cluster.mdl("came")["status"].get("checklist") or {}).get("results", ())
        said = {one["check"]: f"{one['result']} {one['value']}" for one in results}
        return said.get("quality-loss", "")

    assert cluster.wait("the checklist", judged, 60).startswith("WARN QualityUnknown: Q4_1")


def test_a_gate_or_another_level_is_refused(cluster: Cluster) -> None:
    cluster.model("gated", SOURCE, optimize={"maxQualityLoss": "5%"})
    cluster.model("other", SOURCE, optimize={"level": "Q4_K_M"})
    refused = cluster.wait_reason("other", "Ready", "UnknownLevel", 60)
    assert "it has Q4_1" in refused["message"]
    cluster.wait_reason("gated", "Ready", "QualityUnknown", 120)
    assert not cluster.list("deploy")
