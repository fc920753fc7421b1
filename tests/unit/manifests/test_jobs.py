"""Jobs: what each stage is given, and what it is kept from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.manifests.jobs import (
    StageInputs,
    build_benchmark_job,
    build_inspect_job,
    build_stage_job,
    job_name,
    stages,
    with_memory,
)
from slipway.manifests.owner import Owner
from slipway.manifests.placement import Placement, job_placement, placement
from slipway.manifests.places import Place
from slipway.plan.decision import Accelerator, Plan
from slipway.settings import Settings
from slipway_runtime.contract import CREDENTIAL_KEYS, PERMANENT, STAGES
from tests.support.planning import COMMIT, artifact, spec

SITE = Settings(
    hub_endpoint="https://hub.example.com",
    job_env=(("HTTPS_PROXY", "http://proxy:3128"),),
    ca_config_map="site-ca",
    job_deadline_seconds=7200,
)


def pod(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def env(job: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod(job)["containers"][0]["env"]}


def mounts(job: dict[str, Any]) -> dict[str, bool]:
    return {one["mountPath"]: one.get("readOnly", False) for one in pod(job)["containers"][0]["volumeMounts"]}


def test_stages_of_each_kind() -> None:
    assert stages(artifact("source", None)) == ("fetch",)
    assert stages(artifact("gguf", "F16")) == ("convert", "evaluate", "publish")
    assert stages(artifact("gguf", "Q8_0")) == ("quantize", "evaluate", "publish")
    assert stages(artifact("gguf", "BF16")) == ("convert", "evaluate", "publish")


def test_inspect(owner: Owner) -> None:
    wish = spec(model={"source": "hf://acme/model", "revision": "v1", "secretRef": {"name": "token"}})
    job = build_inspect_job(owner, wish, SITE, 2, "0123456789")
    assert job["metadata"]["name"] == "chat-012345-inspect-2"
    assert job["metadata"]["labels"]["slipway.dev/spec-hash"] == "0123456789"
    assert job["spec"]["template"]["metadata"]["labels"]["slipway.dev/stage"] == "inspect"
    assert env(job)["SLIPWAY_SOURCE"] == "hf://acme/model"
    assert env(job)["SLIPWAY_REVISION"] == "v1"
    assert env(job)["HF_ENDPOINT"] == "https://hub.example.com"
    assert env(job)["HTTPS_PROXY"] == "http://proxy:3128"
    assert env(job)["SLIPWAY_CA_FILE"] == "/etc/slipway-ca/ca.crt"
    assert mounts(job) == {"/tmp": False, "/credentials": True, "/etc/slipway-ca": True}  # noqa: S108
    assert env(build_inspect_job(owner, spec(), Settings(), 1, "a" * 10))["SLIPWAY_REVISION"] == "main"
    assert "HF_ENDPOINT" not in env(build_inspect_job(owner, spec(), Settings(), 1, "a" * 10))


def test_fetch_writes_its_own_store(artifact_owner: Owner) -> None:
    raw = artifact("source", None, 270_000_000)
    job = build_stage_job(artifact_owner, raw, "fetch", 1, StageInputs(secret="token"), SITE)  # noqa: S106
    assert job["metadata"]["name"] == f"{artifact_owner.name}-fetch-1"
    assert env(job)["SLIPWAY_REVISION"] == COMMIT
    assert env(job)["SLIPWAY_EXPECTED_BYTES"] == "270000000"
    assert "SLIPWAY_LEVEL" not in env(job)
    assert mounts(job)["/store"] is False
    secret = next(one["secret"] for one in pod(job)["volumes"] if one["name"] == "credentials")
    assert secret["items"] == [{"key": key, "path": key} for key in CREDENTIAL_KEYS]
    claim = next(one for one in pod(job)["volumes"] if one["name"] == "store")
    assert claim["persistentVolumeClaim"] == {"claimName": artifact_owner.name}


@pytest.mark.parametrize("stage", ["quantize", "evaluate", "publish"])
def test_later_stages_see_no_hub_and_no_credential(artifact_owner: Owner, stage: str) -> None:
    inputs = StageInputs(secret="token", parent_claim="parent")  # noqa: S106
    job = build_stage_job(artifact_owner, artifact(), stage, 1, inputs, SITE)
    assert mounts(job) == {"/tmp": False, "/store": False, "/parent": True}  # noqa: S108
    assert not {"HF_ENDPOINT", "HTTPS_PROXY", "SLIPWAY_CA_FILE"} & set(env(job))
    assert env(job)["SLIPWAY_METHOD"] == "gguf"
    assert env(job)["SLIPWAY_LEVEL"] == "Q4_K_M"
    assert {name for name in env(job) if name.startswith("SLIPWAY_")} == {
        *("SLIPWAY_SOURCE", "SLIPWAY_REVISION", "SLIPWAY_EXPECTED_BYTES", "SLIPWAY_METHOD", "SLIPWAY_LEVEL")
    }


def test_benchmark_asks_the_service(owner: Owner, plan: Plan) -> None:
    job = build_benchmark_job(owner, spec(), plan, Place(claim="source-claim"), SITE, 1, "chat-0123456789")
    assert job["metadata"]["name"] == "chat-0123456789-benchmark-1"
    assert job["metadata"]["labels"]["slipway.dev/revision"] == "chat-0123456789"
    assert env(job)["SLIPWAY_ENDPOINT"] == "http://chat.team.svc.cluster.local:8080"
    assert env(job)["SLIPWAY_CONCURRENCIES"] == "1,4"
    assert mounts(job) == {"/tmp": False, "/parent": True}  # noqa: S108
    assert "HTTPS_PROXY" not in env(job)
    assert "SLIPWAY_BENCHMARK_ROUTE" not in env(job)
    vectors = replace(plan, embeds=True)
    job = build_benchmark_job(owner, spec(), vectors, Place(claim="source-claim"), SITE, 1, "chat-0123456789")
    assert env(job)["SLIPWAY_BENCHMARK_ROUTE"] == "/v1/embeddings"


def test_failures_are_the_operators_to_judge(artifact_owner: Owner) -> None:
    job = build_stage_job(artifact_owner, artifact("source", None), "fetch", 1, StageInputs(), SITE)
    body = job["spec"]
    assert body["backoffLimit"] == 0
    assert pod(job)["restartPolicy"] == "Never"
    (rule,) = body["podFailurePolicy"]["rules"]  # none that ignores what a node threw out for its appetite
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == sorted(PERMANENT)
    assert rule["onExitCodes"]["containerName"] == pod(job)["containers"][0]["name"]
    assert pod(job)["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_placement_goes_into_the_pod(artifact_owner: Owner, plan: Plan) -> None:
    overrides = {"nodeSelector": {"pool": "models"}, "tolerations": [{"key": "a", "operator": "Exists"}]}
    where = job_placement(spec(engine={"podOverrides": overrides}), plan)
    job = build_stage_job(
        artifact_owner, artifact("source", None), "fetch", 1, StageInputs(placement=where), SITE
    )
    assert pod(job)["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "models"}
    assert pod(job)["tolerations"] == [{"key": "a", "operator": "Exists"}]
    bare = build_stage_job(artifact_owner, artifact("source", None), "fetch", 1, StageInputs(), SITE)
    assert pod(bare)["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "tolerations" not in pod(bare)
    assert pod(bare)["affinity"] == pod(job)["affinity"]
    assert job_placement(spec()) == Placement()


def test_jobs_need_no_node_of_the_engine_where_every_node_reads_the_volume(plan: Plan) -> None:
    device = Accelerator("nvidia", "nvidia.com/gpu", 1)
    planned = replace(plan, node_selector=(("nvidia.com/gpu.product", "NVIDIA-L4"),), accelerator=device)
    engine = {"podOverrides": {"nodeSelector": {"team": "a"}}}
    shared = {"accessMode": "ReadWriteMany"}
    wish = spec(engine={**engine, "nodeSelector": {"disk": "ssd"}}, store=shared)
    assert job_placement(wish, planned) == Placement((("team", "a"),))
    assert dict(placement(wish, planned).node_selector) == {
        "team": "a", "disk": "ssd", "nvidia.com/gpu.product": "NVIDIA-L4",
    }  # fmt: skip
    alone = spec(engine=engine)
    assert job_placement(alone, planned) == placement(alone, planned)


def test_dollars_are_not_expanded(owner: Owner) -> None:
    wish = spec(model={"source": "hf://acme/model", "revision": "$(HOME)"})
    assert env(build_inspect_job(owner, wish, Settings(), 1, "a" * 10))["SLIPWAY_REVISION"] == "$$(HOME)"


def test_more_memory_is_a_larger_limit_and_nothing_else(artifact_owner: Owner) -> None:
    job = build_stage_job(artifact_owner, artifact("source", None), "fetch", 1, StageInputs(), SITE)
    assert with_memory(job, 1) == job
    more = with_memory(job, 4)
    assert pod(more)["containers"][0]["resources"]["limits"] == {"memory": "4Gi"}
    assert pod(job)["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    pod(more)["containers"][0]["resources"]["limits"] = {"memory": "1Gi"}
    assert more == job


@given(st.from_regex(r"\A[a-z][a-z0-9-]{0,90}[a-z0-9]\Z"), st.sampled_from(STAGES), st.integers(1, 9999))
def test_job_names_are_short_and_apart(subject: str, stage: str, attempt: int) -> None:
    name = job_name(subject, stage, attempt)
    assert len(name) <= 63
    assert name.endswith(f"-{stage}-{attempt}")
    assert job_name(subject + "x", stage, attempt) != name
