"""Each rule: PASS on a healthy deployment, and what one change makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.checks import Input, NodeState, Result, checks, evaluate
from slipway.manifests.held import HELD

Change = Callable[..., Input]
One = Callable[..., Result]
TEMPLATE = "children/Deployment/spec/template"
ENGINE = f"{TEMPLATE}/spec/containers/0"
BUDGET = "children/PodDisruptionBudget/spec"
POLICY = "children/NetworkPolicy/spec"


@pytest.mark.parametrize("name", [rule.name for rule in checks()])
def test_every_rule_passes_on_a_healthy_deployment(name: str, healthy: Input, one: One) -> None:
    result = one(name, healthy)
    assert result.result == "PASS", result
    assert not result.fix
    assert result.value
    assert result.threshold
    assert "team/" in result.evidence or "status.benchmark" in result.evidence


@pytest.mark.parametrize(
    ("check", "path", "value", "expected", "words"),
    [
        ("speculative-acceptance", "benchmark/acceptanceRate", ("49%",), "WARN", "49%"),
        ("speculative-acceptance", "benchmark/acceptanceRate", ("50%",), "PASS", "50%"),
        ("speculative-acceptance", "benchmark/acceptanceRate", (), "SKIP", "counted no guesses"),
        ("speculative-acceptance", "benchmark", (None,), "SKIP", "not measured yet"),
        ("probes", f"{ENGINE}/readinessProbe", (), "FAIL", "engine.readinessProbe"),
        ("probes", f"{ENGINE}/startupProbe", (), "WARN", "engine.startupProbe"),
        ("probes", f"{ENGINE}/livenessProbe", (), "WARN", "engine.livenessProbe"),
        ("resources", f"{ENGINE}/resources/requests/cpu", (), "FAIL", "engine.requests.cpu"),
        ("resources", f"{ENGINE}/resources/limits", ({},), "FAIL", "engine.limits.memory"),
        ("resources", f"{ENGINE}/resources/limits/memory", ("100Mi",), "FAIL", "limit 100 MiB"),
        ("resources", f"{ENGINE}/resources/requests/memory", ("100Mi",), "WARN", "100 MiB"),
        ("pdb", "children/PodDisruptionBudget", (), "FAIL", "none"),
        ("pdb", f"{BUDGET}/selector", ({"matchLabels": {"a": "b"}},), "FAIL", "selects other pods"),
        ("pdb", f"{BUDGET}/maxUnavailable", (0,), "FAIL", "no node can be drained"),
        ("pdb", f"{BUDGET}/maxUnavailable", ("0%",), "FAIL", "no node can be drained"),
        ("pdb", f"{BUDGET}/unhealthyPodEvictionPolicy", (), "WARN", "unhealthy"),
        ("replicas", "children/Deployment/status/readyReplicas", (1,), "WARN", "1 of 2 ready"),
        ("replicas", "children/Deployment/status", ({},), "FAIL", "0 of 2 ready"),
        ("replicas", "children/Deployment/spec/replicas", (0,), "SKIP", "scaled to 0"),
        ("image-digests", f"{ENGINE}/image", ("docker.io/slipway/llamacpp:0.1.0",), "WARN", "sha256:aaa"),
        ("image-digests", f"{ENGINE}/image", ("host:5000/llamacpp",), "FAIL", "host:5000/llamacpp"),
        ("image-digests", f"{ENGINE}/image", ("x/llamacpp:latest",), "FAIL", "x/llamacpp:latest"),
        ("pod-security", "namespace_labels", ({},), "WARN", "enforces nothing"),
        ("pod-security", "namespace_labels", (None,), "WARN", "could not be read"),
        ("pod-security", f"{TEMPLATE}/spec/hostNetwork", (True,), "FAIL", "hostNetwork"),
        ("pod-security", f"{TEMPLATE}/spec/securityContext/runAsNonRoot", (), "FAIL", "engine: runAsNonRoot"),
        ("pod-security", f"{ENGINE}/securityContext", ({},), "FAIL", "engine: capabilities"),
        (
            "pod-security",
            f"{TEMPLATE}/spec/volumes/0",
            ({"name": "x", "hostPath": {"path": "/"}},),
            "FAIL",
            "hostPath",
        ),
        ("network-policy", "children/NetworkPolicy", (), "FAIL", "none"),
        ("network-policy", f"{POLICY}/podSelector", ({"matchLabels": {"a": "b"}},), "FAIL", "other pods"),
        ("network-policy", f"{POLICY}/ingress", ([{}],), "FAIL", "admits everybody"),
        (
            "network-policy",
            f"{POLICY}/ingress",
            ([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}],),
            "FAIL",
            "everybody",
        ),
        (
            "network-policy",
            f"{POLICY}/ingress",
            ([{"from": [{"namespaceSelector": {}}]}],),
            "FAIL",
            "everybody",
        ),
        ("network-policy", f"{POLICY}/policyTypes", (["Egress"],), "FAIL", "nothing about ingress"),
        ("network-policy", f"{POLICY}/policyTypes", (["Ingress"],), "WARN", "may call out"),
        ("authentication", f"{ENGINE}/args", (["--model", "x"],), "FAIL", "none"),
        ("authentication", f"{ENGINE}/args", (["--api-key", "s3cret"],), "WARN", "--api-key:"),
        ("authentication", f"{ENGINE}/args", (["exec llama-server --api-key=s3"],), "WARN", "--api-key:"),
        (
            "admission",
            "children/PodDisruptionBudget/metadata/annotations",
            ({HELD: "0"},),
            "WARN",
            "changed on admission: PodDisruptionBudget",
        ),
        ("free-disk", "claim", (None,), "SKIP", "not known"),
        ("free-disk", "nodes", ((),), "SKIP", "not known"),
        ("free-disk", "artifact_status/sizeBytes", (126 << 20,), "WARN", "2 % of 128 MiB"),
        ("quality-loss", "artifact_status/quality/loss", ("7.2%",), "WARN", "7.2%"),
        ("quality-loss", "artifact_status/quality", ({},), "FAIL", "not measured"),
        ("metrics-endpoint", "benchmark/metricsOk", (False,), "FAIL", "no answer"),
        ("metrics-endpoint", f"{TEMPLATE}/metadata/annotations", ({},), "WARN", "no prometheus.io/scrape"),
        ("errors", "benchmark/levels/1/errors", (1,), "FAIL", "2.44 % (1 of 41) at 4"),
        ("errors", "benchmark/levels/1", (), "WARN", "at 1"),
        ("errors", "benchmark/levels/1/requests", (0,), "WARN", "none finished at 4"),
        ("errors", "benchmark/levels/1/ttftP50Ms", (None,), "WARN", "0 % (0 of 20) at 1"),
        ("metrics-endpoint", "benchmark/metricsOk", (None,), "SKIP", "not measured yet"),
        ("ttft", "benchmark/levels/1/ttftP95Ms", ("inf",), "FAIL", "P95 inf ms at 4"),
        ("ttft", "benchmark/levels/1/ttftP95Ms", ("5000.1",), "FAIL", "P95 5000 ms at 4"),
        ("ttft", "benchmark/levels/1/ttftP50Ms", ("2000.1",), "WARN", "P50 2000 ms"),
        ("ttft", "benchmark/levels/0/requests", (4,), "WARN", "only 4 requests"),
        ("throughput", "benchmark/levels/0/tokensPerSecond", ("4.9",), "FAIL", "4.9 tokens/s each"),
        (
            "throughput",
            "benchmark/levels/1/tokensPerSecond",
            ("19.9",),
            "WARN",
            "4.97 tokens/s each (19.9 in all) at 4",
        ),
        ("requests-per-second", "benchmark/levels/0/requestsPerSecond", ("0.08",), "FAIL", "0.08/s at 1"),
        ("requests-per-second", "benchmark/levels/1/requestsPerSecond", ("0.34",), "WARN", "0.34/s at 4"),
    ],
)
def test_one_change(
    check: str, path: str, value: tuple[Any, ...], expected: str, words: str, change: Change, one: One
) -> None:
    result = one(check, change(path, *value))
    assert (result.result, words in result.value) == (expected, True), result
    assert bool(result.fix) == (expected in {"WARN", "FAIL"})


def test_one_change_is_seen_by_its_own_rule_only(healthy: Input, change: Change) -> None:
    before = {result.check: result.result for result in evaluate(healthy, "edge")}
    after = evaluate(change("children/PodDisruptionBudget"), "edge")
    assert [result.check for result in after if result.result != before[result.check]] == ["pdb"]


def test_min_available_that_needs_every_replica_blocks_drains(change: Change, one: One) -> None:
    given = change(BUDGET, {"minAvailable": 2, "selector": {"matchLabels": {"slipway.dev/model": "qwen"}}})
    assert one("pdb", given).result == "FAIL"


def test_replicas_on_one_node_are_enough_at_the_edge_only(
    change: Change, one: One, make_pod: Callable[..., Any]
) -> None:
    given = change("pods", (make_pod("n1"), make_pod("n1")))
    assert (one("replicas", given).result, one("replicas", given, "chat").result) == ("PASS", "WARN")


def test_pods_that_run_different_digests_behind_one_tag_fail(
    change: Change, one: One, make_pod: Callable[..., Any]
) -> None:
    tagged = change(f"{ENGINE}/image", "docker.io/slipway/llamacpp:0.1.0")
    given = dataclasses.replace(tagged, pods=(make_pod("n1"), make_pod("n2", "sha256:" + "b" * 64)))
    assert one("image-digests", given).result == "FAIL"


def test_disk_pressure_counts_only_where_the_engine_runs(
    healthy: Input, one: One, make_node: Callable[..., NodeState]
) -> None:
    pressed = dataclasses.replace(healthy, nodes=(make_node("n1"), make_node("n2", "True")))
    assert one("free-disk", pressed).result == "FAIL"
    elsewhere = dataclasses.replace(healthy, nodes=(make_node("n1"), make_node("spare", "True")))
    assert one("free-disk", elsewhere).result == "PASS"


@pytest.mark.parametrize(
    ("gate", "loss", "expected"),
    [("10%", "7.2%", "WARN"), ("10%", "10.1%", "FAIL"), ("4%", "4.4%", "FAIL"), ("10%", "4.4%", "PASS")],
)
def test_the_gate_comes_before_the_band(
    gate: str, loss: str, expected: str, change: Change, one: One
) -> None:
    spec = {"model": {"source": "hf://a/b"}, "optimize": {"maxQualityLoss": gate}}
    given = dataclasses.replace(
        change("artifact_status/quality/loss", loss), spec=ModelDeploymentSpec.model_validate(spec)
    )
    assert one("quality-loss", given).result == expected


def test_a_level_without_a_published_band_only_has_to_be_measured(change: Change, one: One) -> None:
    result = one("quality-loss", change("artifact_status/quality/band"))
    assert (result.result, result.threshold) == ("PASS", "measured")


@pytest.mark.parametrize(
    ("level", "files", "form", "expected"),
    [
        ("Q4_K_M", 1, "gguf", "QualityUnknown: Q4_K_M was not measured, the model comes so (published for"),
        ("UD-Q4_K_XL", 3, "gguf", "QualityUnknown: UD-Q4_K_XL was not measured, the model comes so"),
        ("W4A16", 0, "safetensors", "QualityUnknown: W4A16 was not measured, the model comes so"),
    ],
)
def test_the_loss_of_weights_that_came_quantised_is_unknown(
    level: str, files: int, form: str, expected: str, healthy: Input, one: One
) -> None:
    plan = dataclasses.replace(healthy.plan, level=level, source_files=files, form=form)
    result = one("quality-loss", dataclasses.replace(healthy, plan=plan, artifact_status={"sizeBytes": 1}))
    assert result.result == "WARN"
    assert result.value.startswith(expected)
    assert "original weights" in result.fix


def test_f16_has_no_loss_to_measure(healthy: Input, one: One) -> None:
    plan = dataclasses.replace(healthy.plan, method="none", level="F16")
    given = dataclasses.replace(healthy, plan=plan, artifact_status={"sizeBytes": 1})
    assert one("quality-loss", given).result == "SKIP"


@pytest.mark.parametrize("check", ["ttft", "throughput", "requests-per-second", "errors", "metrics-endpoint"])
def test_measured_rules_wait_for_the_benchmark_and_say_when_it_failed(
    check: str, healthy: Input, one: One
) -> None:
    waiting = dataclasses.replace(healthy, benchmark=None)
    assert one(check, waiting).result == "SKIP"
    broken = dataclasses.replace(waiting, benchmark_failure="LoadToolFailed: no report")
    result = one(check, broken)
    assert result.result == "WARN"
    assert "LoadToolFailed" in result.evidence


@pytest.mark.parametrize("check", ["ttft", "throughput", "requests-per-second", "errors", "metrics-endpoint"])
def test_what_there_was_no_room_to_measure_is_skipped_in_the_schedulers_words(
    check: str, healthy: Input, one: One
) -> None:
    given = dataclasses.replace(healthy, benchmark=None, benchmark_skipped="1 Insufficient memory")
    result = one(check, given)
    assert result.result == "SKIP"
    assert "1 Insufficient memory; once there is room, change annotation slipway.dev/retry" in result.evidence


def test_no_fix_is_told_that_cannot_turn_it_green(change: Change, one: One) -> None:
    fix = one("authentication", change(f"{ENGINE}/args", [])).fix
    assert fix.startswith("nothing can make this PASS yet")
    assert "spec.access.allowFrom" in fix  # what protects meanwhile


def test_a_key_from_a_secret_is_authentication(change: Change, one: One) -> None:
    by_ref = [{"name": "LLAMA_API_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}]
    without = change(f"{ENGINE}/args", [])
    without.children["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"] = by_ref
    assert one("authentication", without).result == "PASS"
    without.children["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "LLAMA_API_KEY", "value": "s3cret"}
    ]
    result = one("authentication", without)
    assert result.result == "WARN"
    assert "s3cret" not in str(result)


@pytest.mark.parametrize("name", ["ttft", "throughput", "requests-per-second"])
def test_a_model_that_makes_vectors_is_not_judged_by_text(healthy: Input, one: One, name: str) -> None:
    vectors = dataclasses.replace(healthy, plan=dataclasses.replace(healthy.plan, embeds=True))
    found = one(name, vectors)
    assert found.result == "SKIP"
    assert "1.1/s, P50 200 ms and P95 300 ms at 1" in found.value
    assert found.evidence.startswith("plan.embeds: a vector comes whole, so there is no ")
    assert "latencyP50Ms" in found.evidence
    assert one("errors", vectors).result == one("metrics-endpoint", vectors).result == "PASS"
    assert one(name, dataclasses.replace(vectors, benchmark=None)).value == "not measured yet"


def test_chat_asks_for_more_than_edge(healthy: Input, one: One, change: Change) -> None:
    given = change("benchmark/levels/1/ttftP95Ms", "1500")
    assert (one("ttft", given).result, one("ttft", given, "chat").result) == ("PASS", "FAIL")
    given = change("benchmark/levels/1/tokensPerSecond", "30")
    assert (one("throughput", given).result, one("throughput", given, "chat").result) == ("PASS", "WARN")


def test_without_any_child_nothing_passes_for_lack_of_evidence(healthy: Input) -> None:
    given = dataclasses.replace(healthy, children={}, pods=(), benchmark=None, claim=None, artifact_status={})
    assert {result.result for result in evaluate(given, "edge")} <= {"SKIP", "FAIL"}


def test_guessing_at_high_concurrency_warns_whatever_is_taken(healthy: Input, one: One) -> None:
    busy = dataclasses.replace(healthy, plan=dataclasses.replace(healthy.plan, concurrency=17))
    result = one("speculative-acceptance", busy)
    assert (result.result, "17 requests at once" in result.value) == ("WARN", True)
    assert "16" in result.fix


def test_without_guesses_there_is_nothing_to_accept(healthy: Input, one: One) -> None:
    plain = dataclasses.replace(healthy, spec=healthy.spec.model_copy(update={"engine": None}))
    assert one("speculative-acceptance", plain).result == "SKIP"


def test_trusted_code_is_warned_of(healthy: Input, change: Change, one: One) -> None:
    model = {"model": {"source": "hf://acme/own", "trustRemoteCode": True}, "replicas": 2}
    trusting = change("spec", ModelDeploymentSpec.model_validate(model))
    result = one("remote-code", trusting)
    assert (result.result, result.value) == (
        "WARN",
        "Python of hf://acme/own may run while it is converted; the engine reads GGUF alone",
    )
    weights = dataclasses.replace(
        healthy.plan, method="none", level="BF16", form="safetensors", engine="vllm"
    )
    result = one("remote-code", dataclasses.replace(trusting, plan=weights))
    assert (result.result, result.value) == ("WARN", "Python of hf://acme/own may run in vllm")
