"""The pods of the demo's model and the operator, from outside and inside: restricted, sized as planned."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.plan.quantities import quantity
from tests.cluster.namespaces import SYSTEM, Cluster
from tests.cluster.pods import restricted_pod, runtime_image, wait_ended

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SHARED = "/dev/shm"  # noqa: S108 - the engine's own
COMPILERS = "for tool in cc c++ gcc g++ clang ld as make cmake; do command -v $tool; done; echo looked"


@pytest.fixture
def engine(served: Cluster) -> dict[str, Any]:
    """The one engine pod."""
    (pod,) = served.engines("smollm2")
    return pod


def test_pods_are_restricted_read_only_and_digest_pinned(engine: dict[str, Any]) -> None:
    container = engine["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert engine["spec"]["automountServiceAccountToken"] is False
    assert "@sha256:" in container["image"]
    model = next(m for m in container["volumeMounts"] if m["mountPath"] == "/models")
    assert model["readOnly"] is True


def test_neither_root_nor_model_can_be_written(served: Cluster, engine: dict[str, Any]) -> None:
    attempt = "for place in / /usr /models; do touch $place/mark 2>/dev/null && echo $place; done; id -u"
    said = served.kubectl("exec", engine["metadata"]["name"], "--", "sh", "-c", attempt)
    assert said.split() == ["65532"]


def test_resources_threads_and_shared_memory_are_the_plan_s(served: Cluster, engine: dict[str, Any]) -> None:
    plan = served.mdl("smollm2")["status"]["plan"]
    container = engine["spec"]["containers"][0]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    planned = plan["resources"]
    assert quantity(requests["cpu"]) == quantity(planned["cpu"])
    assert quantity(requests["memory"]) == quantity(limits["memory"]) == quantity(planned["memory"])
    arguments = container["args"]
    for option in ("--threads", "--threads-batch"):
        assert int(arguments[arguments.index(option) + 1]) == quantity(limits["cpu"]) == plan["threads"]
    # What the running server has, beside what it was told.
    name = engine["metadata"]["name"]
    command = served.kubectl("exec", name, "--", "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline")
    assert f"--threads {plan['threads']} " in command
    shared = served.kubectl("exec", name, "--", "df", "--block-size=1", "--output=size", SHARED)
    assert int(shared.split()[-1]) == quantity(planned["sharedMemory"])


def test_no_compiler_is_left_in_the_images(served: Cluster, engine: dict[str, Any], cluster: Cluster) -> None:
    cluster.apply(restricted_pod("tools", runtime_image(), "sh", "-c", COMPILERS))
    (operator, *_) = SYSTEM.list("pods", "app.kubernetes.io/name=slipway")
    for place, pod in ((served, engine), (SYSTEM, operator)):
        said = place.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", COMPILERS)
        assert said.split() == ["looked"]
    assert wait_ended(cluster, "tools") == "Succeeded"
    assert cluster.kubectl("logs", "tools").split() == ["looked"]
