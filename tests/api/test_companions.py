"""Drafts and adapters against a real API server: refused, inspected, built, mounted and named."""

from __future__ import annotations

from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.kube import Raw
from tests.support.cluster import Cluster, ended, stage_of
from tests.support.companions import DRAFT, adapter
from tests.support.operating import looked_again, operating, settled
from tests.support.stage_results import FACTS, INSPECTED, RESULTS

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
VOCABULARY = "0123456789abcdef"
BASE = {"facts": {**FACTS, "vocabulary": VOCABULARY}}
ADAPTER = {"rank": 16, "hiddenSize": 576, "weightBytes": 900_000, "downloadBytes": 950_000, "license": ""}


def said_by(job: Raw) -> dict[str, Any]:
    """What a stage says of itself when all goes well; an inspection answers for what it is asked."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    roles = [one["value"] for one in container["env"] if one["name"] == "SLIPWAY_ROLE"]
    if stage_of(job) != "inspect":
        return RESULTS[stage_of(job)]
    return {**INSPECTED, "facts": ADAPTER} if roles == ["lora"] else {**INSPECTED, **BASE}


async def deployment(cluster: Cluster) -> Raw:
    """Play the kubelet for every Job until the engine is asked for."""

    async def probe() -> Raw | None:
        for job in await cluster.list(resources.JOB):
            if not ended(job) and not job.get("status", {}).get("succeeded"):
                await cluster.end_pod(await cluster.pod_of(job), 0, said_by(job))
        found = await cluster.list(resources.DEPLOYMENT)
        return found[0] if found else None

    return dict(await cluster.until("a Deployment", probe))


def mounted(found: Raw) -> dict[str, str]:
    """Path in the engine's container to the claim that lies there."""
    pod = found["spec"]["template"]["spec"]
    claims = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"][3:]}
    mounts = pod["containers"][0]["volumeMounts"]
    return {one["mountPath"]: claims[one["name"]] for one in mounts if one["name"] in claims}


async def test_a_draft_with_another_vocabulary_is_refused(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen", engine={"speculative": {"draft": DRAFT}})
        await cluster.finish("inspect", **BASE)
        await cluster.finish("inspect", facts={**FACTS, "vocabulary": "f" * 16, "vocabSize": 32_000})
        found = await cluster.until_reason("qwen", "Planned", "DraftVocabulary")
        assert found["status"] == "False"
        for figure in ("32000", "49152", "hf://acme/draft", "spec.engine.speculative.draft"):
            assert figure in found["message"]
        await cluster.until_reason("qwen", "Ready", "DraftVocabulary")
        assert await cluster.list(resources.ARTIFACT) == []
        await settled(operator)
        before = operator.kube.writes.total()
        await looked_again(operator)
        assert operator.kube.writes.total() == before


async def test_a_drafts_chain_is_built_and_mounted(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen", engine={"speculative": {"draft": DRAFT}})
        found = await deployment(cluster)
        artifacts = await cluster.list(resources.ARTIFACT)
        levels = {(one["spec"]["source"]["uri"], one["spec"]["recipe"].get("level")) for one in artifacts}
        assert levels == {
            ("hf://acme/model", None), ("hf://acme/model", "F16"), ("hf://acme/model", "Q4_K_M"),
            ("hf://acme/draft", None), ("hf://acme/draft", "F16"), ("hf://acme/draft", "Q8_0"),
        }  # fmt: skip
        claim = mounted(found)["/companions/draft"]
        assert claim.startswith("draft-q8-0-")
        args = found["spec"]["template"]["spec"]["containers"][0]["args"]
        assert args[args.index("--spec-draft-model") + 1] == "/companions/draft/model.gguf"
        await cluster.serve("qwen")
        await cluster.until_reason("qwen", "Ready", "Serving")
        status = (await cluster.get(resources.MODEL, "qwen"))["status"]
        assert [one["kind"] for one in status["companions"]] == ["draft"]
        assert status["plan"]["memory"]["companions"] > 0
        await cluster.finish("benchmark", acceptanceRate="41%")

        async def judged() -> str:
            results = (await cluster.get(resources.MODEL, "qwen"))["status"]["checklist"]["results"]
            (one,) = [one for one in results if one["check"] == "speculative-acceptance"]
            return str(one["result"]) if "41%" in one["value"] else ""

        assert await cluster.until("the verdict on the guesses", judged) == "WARN"
        await settled(operator)
        before = operator.kube.writes.total()
        await looked_again(operator)
        assert operator.kube.writes.total() == before


async def test_adapters_are_mounted_and_named(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        adapters = [adapter("sql"), adapter("tone")]
        await cluster.model("qwen", model={"adapters": adapters}, engine={"name": "vllm"})
        found = await deployment(cluster)
        claims = mounted(found)
        assert {path: claim.rsplit("-", 1)[0] for path, claim in claims.items()} == {
            "/companions/adapter-sql": "sql-source",
            "/companions/adapter-tone": "tone-source",
        }
        args = found["spec"]["template"]["spec"]["containers"][0]["args"]
        start = args.index("--lora-modules") + 1
        assert args[start : start + 2] == ["sql=/companions/adapter-sql", "tone=/companions/adapter-tone"]
        # One adapter less is another plan; what nobody lists any more goes.
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"model": {"adapters": adapters[:1]}}})

        async def alone() -> bool:
            await deployment(cluster)
            (now,) = await cluster.list(resources.DEPLOYMENT)
            return list(mounted(now)) == ["/companions/adapter-sql"]

        await cluster.until("one adapter", alone)
