"""The figures of scale prove what they say: what is not there is no zero, and every wait has an end."""

from __future__ import annotations

import http.client
import logging
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from hack.bench import api_writes, operator_process, scale
from hack.bench.operator_process import OperatorProcess
from hack.cluster.controlplane import ControlPlane
from slipway import metrics, resources
from slipway.logging_ import JsonFormatter


def logged(message: str, **extra: object) -> str:
    """A line of the operator's log."""
    record = logging.makeLogRecord({"msg": message, "levelno": logging.DEBUG, **extra})
    return JsonFormatter().format(record)


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatorProcess]:
    """A process in the operator's place: it logs one pass and lives until it is stopped."""
    lines = [logged("in sync", objects=2), *[logged("pass", key=key) for key in ("a", "b", "a")]]
    program = tmp_path / "python"
    program.write_text(
        "#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\nprintf '{\"half\"'\nexec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with OperatorProcess(tmp_path / "kubeconfig", tmp_path / "log/operator.log") as process:
        yield process


def test_a_metric_that_is_not_there_is_no_zero() -> None:
    metrics.PASS_SECONDS.labels("ModelDeployment").observe(0.1)
    metrics.PASS_SECONDS.labels("ModelArtifact").observe(0.1)
    text = generate_latest().decode()
    assert operator_process.total(scale.PASSES, text) >= 2
    for name in (scale.WRITES, scale.ERRORS):
        assert operator_process.total(name, text) >= 0
    with pytest.raises(LookupError, match="no metric slipway_passes"):
        operator_process.total("slipway_passes", text)


def test_the_log_says_when_caches_were_full_and_each_object_had_its_first_pass(
    operator: OperatorProcess,
) -> None:
    operator.wait("the log", lambda: len(operator.first_passes()) == 2, 30, pause=0.01)
    passes = operator.first_passes()
    assert passes.keys() == {"a", "b"}
    synced = operator.synced_at()
    assert synced is not None
    assert passes["a"] == pytest.approx(synced, abs=5)


def test_an_operator_that_ended_is_not_waited_for(operator: OperatorProcess) -> None:
    operator.kill()
    with pytest.raises(RuntimeError, match=r"first Jobs: the operator ended with -9; log: .*operator\.log"):
        operator.wait("first Jobs", lambda: False, 60)


def test_waiting_has_an_end_and_signs_of_life(
    operator: OperatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operator_process, "SILENCE_S", 0.05)
    with pytest.raises(TimeoutError, match=r"first Jobs: not in 0 s; log: .*operator\.log"):
        operator.wait("first Jobs", lambda: False, 0.3, pause=0.02)
    assert "… first Jobs: 0 s" in capsys.readouterr().out


def test_an_operator_that_does_not_answer_is_never_settled(
    operator: OperatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert math.isnan(operator.metric(scale.WRITES))
    monkeypatch.setattr(scale, "QUIET_S", 0.05)
    monkeypatch.setattr(scale, "SETTLED_S", 0.4)
    with pytest.raises(TimeoutError, match="without a write"):
        scale.settle(operator)


def test_the_peak_of_memory_is_measured(operator: OperatorProcess) -> None:
    deadline = time.monotonic() + 30
    while not operator.peak_mb() > 0.1:
        assert time.monotonic() < deadline


def requests(verb: str, group: str, plural: str, count: int, subresource: str = "") -> str:
    """A line of the API server's metrics."""
    where = f'group="{group}",resource="{plural}",scope="resource",subresource="{subresource}"'
    return f'apiserver_request_total{{code="200",dry_run="",{where},verb="{verb}",version="v1"}} {count}'


SERVED = "\n".join(
    [
        "# TYPE apiserver_request_total counter",
        requests("POST", "slipway.dev", "modeldeployments", 1000),
        requests("APPLY", "slipway.dev", "modeldeployments", 1000, "status"),
        requests("POST", "batch", "jobs", 1000),
        requests("PUT", "batch", "jobs", 500, "status"),  # the Job controller's
        requests("GET", "batch", "jobs", 70),
        requests("POST", "", "pods", 1000),
        requests("PUT", "coordination.k8s.io", "leases", 9),
        requests("PATCH", "apps", "deployments", 3),
    ]
)


def served(text: str) -> ControlPlane:
    """A control plane whose API server has these metrics."""

    def answer(*_: object, **__: object) -> tuple[int, bytes]:
        return http.client.OK, text.encode()

    return cast("ControlPlane", SimpleNamespace(url="https://x", client=SimpleNamespace(request=answer)))


def test_only_what_the_operator_could_have_written_is_counted() -> None:
    proof = {resources.MODEL: 2000, resources.JOB: 1000}
    assert api_writes.written(served(SERVED), proof) == 2000 + 1000 + 3
    counts = api_writes.count(SERVED)
    assert (counts[resources.JOB], counts[resources.DEPLOYMENT], counts[resources.POD]) == (1000, 3, 0)


@pytest.mark.parametrize("text", ["", SERVED.replace("apiserver_request_total", "apiserver_requests")])
def test_counting_nothing_is_an_error(text: str) -> None:
    with pytest.raises(LookupError, match="0 writes of modeldeployments, 2000 were made"):
        api_writes.written(served(text), {resources.MODEL: 2000})


def test_every_kind_that_the_operator_writes_is_looked_at() -> None:
    written: Any = {resource.kind for resource in api_writes.WRITTEN}
    assert {
        "ModelDeployment",
        "ModelArtifact",
        "ControllerRevision",
        "Job",
        "NetworkPolicy",
        "Event",
    } <= written
    assert {resource.kind for resource in resources.SERVING} <= written
