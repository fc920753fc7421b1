"""The failure table: every row, by what is really seen of Jobs and pods."""

from __future__ import annotations

import pytest

from slipway.api import reasons
from slipway.plan.failures import Kind, judge
from slipway.plan.symptoms import Symptoms
from slipway_runtime.contract import Exit

SAID = {"ok": False, "reason": "PickleOnly", "message": "only pickle files"}
CASES = [
    (
        "oom",
        Symptoms(failed=True, terminated="OOMKilled", exit_code=137),
        "OutOfMemory",
        Kind.LIMITED,
        "memory",
    ),
    (
        "oom-engine",
        Symptoms(terminated="OOMKilled", exit_code=137, engine=True),
        "OutOfMemory",
        Kind.LIMITED,
        "spec.engine.resources.memory",
    ),
    (
        "oom-job",
        Symptoms(failed=True, terminated="OOMKilled", exit_code=137),
        "OutOfMemory",
        Kind.LIMITED,
        "raise jobs.memoryFactor of the chart or give it a node with more memory, then change the annotation",
    ),
    (
        "oom-of-a-tool",
        Symptoms(
            failed=True, exit_code=70, result={"ok": False, "reason": "OutOfMemory", "message": "llama"}
        ),
        "OutOfMemory",
        Kind.LIMITED,
        "llama. Every try gets twice the limit",
    ),
    (
        "evicted-for-memory",
        Symptoms(
            failed=True,
            disrupted="TerminationByKubelet",
            evicted="The node was low on resource: memory. ",
            exit_code=137,
        ),
        "Evicted",
        Kind.LIMITED,
        "low on resource: memory. It needs a node with more free memory; jobs.memoryFactor",
    ),
    (
        "evicted-for-disk",
        Symptoms(failed=True, evicted='Usage of EmptyDir volume "tmp" exceeds the limit "1Gi". '),
        "Evicted",
        Kind.LIMITED,
        'the limit "1Gi". It needs a node with more free disk',
    ),
    (
        "drained",
        Symptoms(failed=True, disrupted="EvictionByEvictionAPI"),
        "Retrying",
        Kind.TRANSIENT,
        "Eviction",
    ),
    (
        "disrupted-wins-over-the-code",
        Symptoms(failed=True, disrupted="PreemptionByScheduler", exit_code=143),
        "Retrying",
        Kind.TRANSIENT,
        "disrupted",
    ),
    ("data", Symptoms(failed=True, exit_code=65, result=SAID), "PickleOnly", Kind.PERMANENT, "only pickle"),
    (
        "no-permission-without-result",
        Symptoms(failed=True, exit_code=Exit.NO_PERMISSION, words="401"),
        "TokenRejected",
        Kind.PERMANENT,
        "401",
    ),
    (
        "full-without-result",
        Symptoms(failed=True, exit_code=Exit.NO_SPACE, words="ENOSPC"),
        "StoreFull",
        Kind.PERMANENT,
        "ENOSPC",
    ),
    (
        "hub-down",
        Symptoms(
            failed=True, exit_code=75, result={"ok": False, "reason": "HubUnavailable", "message": "502"}
        ),
        "HubUnavailable",
        Kind.TRANSIENT,
        "502",
    ),
    ("transient-without-result", Symptoms(failed=True, exit_code=75), "HubUnavailable", Kind.TRANSIENT, ""),
    (
        "internal",
        Symptoms(
            failed=True, exit_code=70, result={"ok": False, "reason": "ConversionFailed", "message": "x"}
        ),
        "ConversionFailed",
        Kind.LIMITED,
        "x",
    ),
    (
        "traceback",
        Symptoms(failed=True, exit_code=1, words="boom"),
        "InternalError",
        Kind.LIMITED,
        "boom (exit code 1)",
    ),
    (
        "deadline",
        Symptoms(failed=True, job_reason="DeadlineExceeded"),
        "DeadlineExceeded",
        Kind.LIMITED,
        "longer",
    ),
    (
        "kill-9",
        Symptoms(failed=True, exit_code=137, terminated="Error"),
        "Retrying",
        Kind.TRANSIENT,
        "signal 9",
    ),
    (
        "sigterm",
        Symptoms(failed=True, exit_code=143, terminated="Error"),
        "Retrying",
        Kind.TRANSIENT,
        "signal 15",
    ),
    ("vanished", Symptoms(failed=True, gone=True), "Retrying", Kind.TRANSIENT, "vanished"),
    ("result-lost", Symptoms(gone=True), "Retrying", Kind.TRANSIENT, "vanished"),
    (
        "pull",
        Symptoms(waiting="ImagePullBackOff", waiting_message="not found", image="reg/x:1"),
        "ImagePullFailed",
        Kind.WAITING,
        "image reg/x:1 can't be pulled: not found. Correct images.runtime of the chart",
    ),
    (
        "pull-of-an-engine",
        Symptoms(waiting="ErrImagePull", waiting_message="not found", image="reg/x:1", engine=True),
        "ImagePullFailed",
        Kind.WAITING,
        "are pinned with the plan: correct them, then change the annotation slipway.dev/replan",
    ),
    (
        "never-ran",
        Symptoms(
            failed=True,
            gone=True,
            job_reason="DeadlineExceeded",
            waited="ImagePullFailed",
            waited_message="x",
        ),
        "ImagePullFailed",
        Kind.WAITING,
        "x",
    ),
    (
        "no-volume",
        Symptoms(
            waiting="ContainerCreating", scheduled_seconds=61, pod="p", mounts=("PersistentVolumeClaim c",)
        ),
        "ContainerCreating",
        Kind.WAITING,
        "(PersistentVolumeClaim c), or the network is not ready; kubectl describe pod p",
    ),
    (
        "slow-pull",
        Symptoms(waiting="ContainerCreating", scheduled_seconds=61, sandboxed=True, image="reg/x:1"),
        "ContainerCreating",
        Kind.WAITING,
        "image reg/x:1 is still being pulled",
    ),
    (
        "bad-reference",
        Symptoms(waiting="InvalidImageName", image="::"),
        "ImagePullFailed",
        Kind.WAITING,
        "::",
    ),
    (
        "config",
        Symptoms(waiting="CreateContainerConfigError", waiting_message='secret "t" not found'),
        "ContainerConfigError",
        Kind.WAITING,
        'secret "t"',
    ),
    (
        "crash-loop",
        Symptoms(waiting="CrashLoopBackOff", words="bad model", exit_code=1),
        "CrashLoop",
        Kind.WAITING,
        "bad model",
    ),
    (
        "unschedulable",
        Symptoms(unschedulable="0/1 nodes: Insufficient memory", unschedulable_seconds=61),
        "Unschedulable",
        Kind.WAITING,
        "Insufficient memory",
    ),
    *(
        (
            f"volume-elsewhere: {words}",
            Symptoms(
                unschedulable=f"0/2 nodes are available: 1 Insufficient memory, 1 node(s) {words}.",
                unschedulable_seconds=61,
                mounts=("PersistentVolumeClaim qwen-q4", "ConfigMap ca"),
            ),
            "StoreCannotSpread",
            Kind.WAITING,
            "qwen-q4 can't leave its node or zone: make room there, or delete ModelArtifact qwen-q4 and",
        )
        for words in ("had volume node affinity conflict", "didn't match PersistentVolume's node affinity")
    ),
    (
        "no-pod",
        Symptoms(job="qwen-fetch-1", podless_seconds=61),
        "PodRefused",
        Kind.WAITING,
        "kubectl describe job qwen-fetch-1",
    ),
]


@pytest.mark.parametrize(
    ("seen", "reason", "kind", "text"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_row(seen: Symptoms, reason: str, kind: Kind, text: str) -> None:
    verdict = judge(seen)
    assert verdict is not None
    assert (verdict.reason, verdict.kind) == (reason, kind)
    assert text in verdict.message


@pytest.mark.parametrize("code", [65, 66, 73, 77, 78])
def test_every_permanent_code_is_permanent_even_without_a_result(code: int) -> None:
    verdict = judge(Symptoms(failed=True, exit_code=code))
    assert verdict is not None
    assert verdict.kind is Kind.PERMANENT


@pytest.mark.parametrize(
    "seen",
    [
        Symptoms(),
        Symptoms(waiting="ContainerCreating"),
        Symptoms(waiting="PodInitializing"),
        Symptoms(unschedulable="0/1 nodes", unschedulable_seconds=59),
        Symptoms(job="j", podless_seconds=59),
        Symptoms(exit_code=0, result={"ok": True}),
    ],
)
def test_nothing_is_wrong_with_what_just_takes_its_time(seen: Symptoms) -> None:
    assert judge(seen) is None


def test_reasons_of_the_table_are_documented() -> None:
    known = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert {case[2] for case in CASES} - {"PickleOnly", "ConversionFailed"} <= known
