"""The main job as a user lives it: apply one object, get a quantised, measured endpoint that answers."""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
import yaml
from openai.types.chat import ChatCompletionMessageParam

from tests.cluster.conftest import DIRECT, Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@contextmanager
def client(cluster: Cluster, name: str = "smollm2") -> Iterator[openai.OpenAI]:
    base = cluster.endpoint(name)
    url = f"{base}/v1"

    def reachable() -> bool:
        try:
            with DIRECT.open(f"{base}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    # kube-proxy may write a new Service's rules a second after its first pod is ready.
    cluster.wait(f"the node's route to Service {name}", reachable, 10)
    direct = openai.DefaultHttpxClient(trust_env=False)  # no proxy knows the cluster's addresses
    with openai.OpenAI(
        base_url=url, api_key="none", max_retries=0, timeout=60, http_client=direct
    ) as connected:
        yield connected


def test_chat_completions_streaming_and_models_by_the_openai_client(served: Cluster) -> None:
    with client(served) as ai:
        assert [m.id for m in ai.models.list()] == ["smollm2"]
        chat = ai.chat.completions.create(
            model="smollm2", messages=[{"role": "user", "content": "Say hello."}], max_tokens=16, temperature=0
        )
        assert chat.choices[0].message.content
        assert chat.usage is not None
        assert chat.usage.completion_tokens > 0
        text = ai.completions.create(
            model="smollm2", prompt="The capital of France is", max_tokens=4, temperature=0
        )
        assert text.choices[0].text.strip()
        stream = ai.chat.completions.create(
            model="smollm2", messages=[{"role": "user", "content": "Count to five."}], max_tokens=24, stream=True
        )
        chunks = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
        assert len(chunks) > 1


def test_status_pins_the_commit_and_says_the_plan_and_the_measured_loss(served: Cluster) -> None:
    status = served.mdl("smollm2")["status"]
    assert re.fullmatch(r"[0-9a-f]{40}", status["source"]["commit"])
    assert status["plan"]["engine"] == "llamacpp"
    assert status["plan"]["level"] == "Q4_K_M"
    assert status["plan"]["reason"]
    assert status["plan"]["rejected"]
    loss = float(status["qualityLoss"].rstrip("%"))
    assert 0 < loss < 20
    assert status["url"].startswith("http://smollm2.")
    revision = served.get("controllerrevision", status["revision"])
    assert revision["data"]["source"]["commit"] == status["source"]["commit"]


def test_artifacts_have_digest_size_quality_and_place(served: Cluster) -> None:
    artifacts = {
        a["spec"]["recipe"].get("level", "source"): a for a in served.list("modelartifacts.slipway.dev")
    }
    assert set(artifacts) == {"source", "F16", "Q4_K_M"}
    for artifact in artifacts.values():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", artifact["status"]["digest"])
        assert artifact["status"]["sizeBytes"] > 1_000_000
        assert artifact["status"]["location"]["path"] == "published"
    base, level = artifacts["F16"]["status"]["quality"], artifacts["Q4_K_M"]["status"]["quality"]
    measured = float(level["perplexity"]) / float(base["perplexity"]) - 1
    assert float(level["loss"].rstrip("%")) == pytest.approx(100 * measured, abs=0.06)
    assert level["textDigest"] == base["textDigest"]


def test_checklist_is_measured_and_honest(served: Cluster) -> None:
    def done() -> dict[str, object]:
        return dict(served.mdl("smollm2")["status"].get("checklist") or {})

    checklist = served.wait(
        "the checklist", lambda: done() if served.mdl("smollm2")["status"].get("benchmark") else {}
    )
    results = {r["check"]: r for r in checklist["results"]}
    assert len(results) >= 12
    assert results["authentication"]["result"] == "FAIL"
    assert results["authentication"]["fix"]
    assert results["pod-security"]["result"] == "PASS"
    assert results["image-digests"]["result"] == "PASS"
    for result in results.values():
        assert result["evidence"]
    levels = served.mdl("smollm2")["status"]["benchmark"]["levels"]
    assert len(levels) == 2
    for level in levels:
        assert level["errors"] == 0
        assert float(level["tokensPerSecond"]) > 0
        assert float(level["ttftP95Ms"]) >= float(level["ttftP50Ms"]) > 0


def test_pods_are_restricted_read_only_and_digest_pinned(served: Cluster) -> None:
    pods = served.list("pods", "app.kubernetes.io/component=engine")
    assert pods
    for pod in pods:
        container = pod["spec"]["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert "@sha256:" in container["image"]
        model = next(m for m in container["volumeMounts"] if m["mountPath"] == "/models")
        assert model["readOnly"] is True


def test_kubectl_scale_follows_and_pdb_exists(served: Cluster) -> None:
    assert served.get("pdb", "smollm2")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert served.get("networkpolicy", "smollm2")
    served.kubectl("scale", "mdl/smollm2", "--replicas=2")
    served.wait("two replicas", lambda: served.mdl("smollm2")["status"].get("readyReplicas") == 2)
    served.kubectl("scale", "mdl/smollm2", "--replicas=1")
    served.wait("one replica", lambda: served.mdl("smollm2")["status"].get("replicas") == 1)


def test_rolling_update_drops_no_request(served: Cluster) -> None:
    url = f"{served.endpoint('smollm2')}/v1/completions"
    body = b'{"model":"smollm2","prompt":"Once upon a time","max_tokens":12}'
    stop, answered, failed = threading.Event(), [], []

    def call() -> None:
        while not stop.is_set():
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            try:
                with DIRECT.open(request, timeout=60) as response:
                    answered.append(response.status)
            except (urllib.error.URLError, OSError) as error:
                failed.append(repr(error))
            time.sleep(0.1)

    before = {p["metadata"]["uid"] for p in served.list("pods", "app.kubernetes.io/component=engine")}
    caller = threading.Thread(target=call)
    caller.start()
    try:
        patch = '{"spec":{"engine":{"podOverrides":{"annotations":{"example.com/rolled":"yes"}}}}}'
        served.kubectl("patch", "mdl", "smollm2", "--type=merge", "-p", patch)

        def replaced() -> bool:
            pods = served.list("pods", "app.kubernetes.io/component=engine")
            return bool(pods) and not before & {p["metadata"]["uid"] for p in pods}

        served.wait("all pods replaced", replaced, 180)
        already = len(answered)
        served.wait("the new pods' answers", lambda: failed or len(answered) > already + 3, 120)
    finally:
        stop.set()
        caller.join()
    assert not failed, failed[:3]
    assert already


def test_a_second_level_reuses_source_and_f16_and_an_equal_recipe_is_shared(served: Cluster) -> None:
    before = {a["metadata"]["name"]: a["metadata"]["uid"] for a in served.list("modelartifacts.slipway.dev")}
    served.model("shared")
    served.model("bigger", optimize={"level": "Q8_0"})
    served.wait_ready("shared", 120)
    served.wait_ready("bigger", 240)
    after = {a["metadata"]["name"]: a for a in served.list("modelartifacts.slipway.dev")}
    assert {n: after[n]["metadata"]["uid"] for n in before} == before
    assert len(after) == len(before) + 1
    owners = {o["name"] for o in after[next(n for n in before if "q4" in n)]["metadata"]["ownerReferences"]}
    assert owners == {"smollm2", "shared"}
    served.kubectl("delete", "mdl", "bigger", "shared", "--wait=true")

    def collected() -> bool:
        return {a["metadata"]["name"] for a in served.list("modelartifacts.slipway.dev")} == set(before)

    served.wait("the second level's artifact collected", collected, 120)


def test_generation_defaults_and_system_prompt_reach_the_engine(served: Cluster) -> None:
    prompt = 'Answer every message with "quack\\quack".'
    served.model(
        "duck", engine={"generation": {"temperature": "0", "topK": 1, "maxTokens": 7, "systemPrompt": prompt}}
    )
    served.wait_ready("duck", 180)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me a long story."}]
    with client(served, "duck") as ai:
        answer = ai.chat.completions.create(model="duck", messages=messages)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    with client(served) as ai:
        plain = ai.chat.completions.create(model="smollm2", messages=messages, max_tokens=1)
    assert plain.usage is not None
    assert answer.usage.prompt_tokens != plain.usage.prompt_tokens
    served.kubectl("delete", "mdl", "duck")


def test_autoscaling_makes_a_working_hpa(served: Cluster) -> None:
    served.model("scaled", autoscaling={"minReplicas": 1, "maxReplicas": 2, "target": {"cpuUtilization": 80}})
    served.wait_ready("scaled", 180)

    def able() -> bool:
        conditions = served.get("hpa", "scaled").get("status", {}).get("conditions", [])
        return any(c["type"] == "ScalingActive" and c["status"] == "True" for c in conditions)

    served.wait("the HPA to read the CPU", able, 180)
    served.kubectl("delete", "mdl", "scaled")


def test_settled_object_causes_no_writes(served: Cluster) -> None:
    kinds = "mdl,mart,deploy,svc,pdb,networkpolicy,pvc,controllerrevision"

    def quiet() -> bool:
        models = served.list("modeldeployments.slipway.dev")
        left = {deploy["metadata"]["name"] for deploy in served.list("deploy")}
        return left == {"smollm2"} and not any(m["status"].get("progress") for m in models)

    served.wait("the other tests' models gone and every Job done", quiet, 180)
    time.sleep(5)

    def versions() -> str:
        path = "{range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}"
        return served.kubectl("get", kinds, "-o", f"jsonpath={path}")

    first = versions()
    time.sleep(20)
    assert versions() == first


def test_delete_leaves_nothing(cluster: Cluster) -> None:
    root = Path(__file__).resolve().parents[2]
    cluster.apply(yaml.safe_load((root / "examples/smollm2.yaml").read_text()))
    cluster.wait("the first Job", lambda: cluster.list("jobs"))
    cluster.kubectl("delete", "mdl", "smollm2")
    kinds = "mart,jobs,pods,pvc,deploy,svc,pdb,networkpolicy,controllerrevision"
    cluster.wait(
        "everything collected", lambda: not cluster.list(kinds, "app.kubernetes.io/managed-by=slipway"), 120
    )
