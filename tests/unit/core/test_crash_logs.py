"""A crashed engine's log: read once a crash, where its last words say too little, not waited for long."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web

from slipway.errors import ApiError
from slipway.kube import Kube
from slipway.observe import crashes
from slipway.observe.crashes import CrashLogs
from tests.unit.core.test_kube import answering
from tests.unit.core.test_passes import condition
from tests.unit.core.test_rollout import surging
from tests.unit.core.test_upkeep import decide

Raw = dict[str, Any]
POINTS = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
CORE = "(EngineCore_DP0 pid=9) ERROR 11-25 04:12:33 [core.py:708]"
LOG = f"""\
{CORE} Traceback (most recent call last):
{CORE}   File "/x/core.py", line 1, in run
{CORE} ValueError: No available memory for the cache blocks.
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1) {POINTS}
"""


class Kubelet:
    """The log of before, as often as it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.refuses = False

    async def log_before(self, *asked: object) -> str:
        self.asked.append(asked)
        await self.answers.wait()
        if self.refuses:
            raise ApiError(400, "BadRequest", "previous terminated container not found")
        return LOG


def crashed(words: str = POINTS, *, run: str = "containerd://1", ready: bool = False) -> Raw:
    """A pod whose engine died with these last words, and waits to be started again."""
    dead = {"exitCode": 1, "reason": "Error", "message": words, "containerID": run}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}
    container = {"name": "engine", "image": "i", "ready": ready, "restartCount": 1, "state": state}
    labels = {"app.kubernetes.io/component": "engine"}
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": labels},
        "spec": {},
        "status": {
            "phase": "Running",
            "containerStatuses": [{**container, "lastState": {"terminated": dead}}],
        },
    }


def reader(kubelet: Kubelet) -> CrashLogs:
    return CrashLogs(cast("Kube", kubelet))


async def test_each_crash_is_read_once() -> None:
    kubelet = Kubelet()
    logs = reader(kubelet)
    for _ in range(3):
        assert await logs.of([crashed()]) == {"u": LOG}
    assert kubelet.asked == [("n", "p", "engine", crashes.LINES, crashes.BYTES)]
    await logs.of([crashed(run="containerd://2")])
    assert len(kubelet.asked) == 2


@pytest.mark.parametrize(
    "pod",
    [
        crashed("error: unknown model architecture"),
        crashed(ready=True),
        {**crashed(), "status": {"phase": "Pending"}},
        {**crashed(), "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {}}},
    ],
    ids=["says enough", "well again", "never ran", "no engine"],
)
async def test_nothing_is_read_of_who_needs_it_not(pod: Raw) -> None:
    kubelet = Kubelet()
    assert await reader(kubelet).of([pod]) == {}
    assert kubelet.asked == []


async def test_a_log_that_cannot_be_read_is_no_trouble_and_not_asked_for_again() -> None:
    kubelet = Kubelet()
    kubelet.refuses = True
    logs = reader(kubelet)
    for _ in range(2):
        assert await logs.of([crashed()]) == {}
    assert len(kubelet.asked) == 1


async def test_a_kubelet_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "WAIT_SECONDS", 0.05)
    kubelet = Kubelet()
    kubelet.answers.clear()
    logs = reader(kubelet)
    assert await logs.of([crashed()]) == {}
    monkeypatch.setattr(crashes, "WAIT_SECONDS", 5.0)
    async with asyncio.timeout(1):  # asked already: not waited for again
        assert await logs.of([crashed()]) == {}
    kubelet.answers.set()
    for _ in range(10):  # the reading task's turns
        await asyncio.sleep(0)
    assert await logs.of([crashed()]) == {"u": LOG}


async def test_no_more_logs_are_kept_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "KEPT", 1)
    kubelet = Kubelet()
    logs = reader(kubelet)
    for run in ("1", "2", "1"):
        assert await logs.of([crashed(run=run)]) == {"u": LOG}
    assert len(kubelet.asked) == 3


async def test_the_run_before_is_what_the_kubelet_is_asked_for() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"{request.path}?{request.query_string}")

    async with answering(answer) as kube:
        asked = await kube.log_before("n", "p", "engine", 400, 262_144)
    query = "container=engine&previous=true&tailLines=400&limitBytes=262144"
    assert asked == f"/api/v1/namespaces/n/pods/p/log?{query}"


def test_the_root_cause_is_in_the_condition() -> None:
    pod = crashed()
    seen, spec = surging(pod["status"]["containerStatuses"][0])
    seen = replace(seen, engine_pods=({**pod, "metadata": {**pod["metadata"], "name": "new"}},))
    without = condition(decide(seen, **spec)[1], "Progressing")
    assert without[1] == "CrashLoop"
    assert "See root cause above" in without[2]
    told = condition(decide(replace(seen, crash_logs={"u": LOG}), **spec)[1], "Progressing")
    assert "ValueError: No available memory for the cache blocks. (exit code 1)" in told[2]
    assert "See root cause above" not in told[2]
