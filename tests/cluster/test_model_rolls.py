"""The served model's pods come and go, and whoever calls it notices nothing."""

from __future__ import annotations

import http.client
import time

import pytest

from tests.cluster import access, callers
from tests.cluster.namespaces import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
STREAM_S = 25
"""How long the long answer takes: a new pod comes and the old one is told to go meanwhile."""
SAMPLE, CONTEXT = 48, 3500
"""Tokens by which the speed of now is measured, and that fit the context with a margin."""


def evict(cluster: Cluster, pod: str) -> int:
    """Ask for the pod's eviction, as a drain does; HTTP status of the answer."""
    path = f"{access.path_of('pods', cluster.namespace, pod)}/eviction"
    meta = {"name": pod, "namespace": cluster.namespace}
    return access.request("POST", path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta})[0]


def test_kubectl_scale_follows_and_a_drain_takes_one_pod_at_a_time(served: Cluster) -> None:
    assert served.get("pdb", "smollm2")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert served.get("networkpolicies", "smollm2")
    served.kubectl("scale", "mdl/smollm2", "--replicas=2")
    served.wait("two replicas", lambda: served.mdl("smollm2")["status"].get("readyReplicas") == 2)
    served.wait("a budget of one", lambda: served.get("pdb", "smollm2")["status"]["disruptionsAllowed"] == 1)
    first, second = (pod["metadata"]["name"] for pod in served.engines("smollm2"))
    assert evict(served, first) == http.client.CREATED
    assert evict(served, second) == http.client.TOO_MANY_REQUESTS
    served.wait("another pod", lambda: served.get("pdb", "smollm2")["status"]["disruptionsAllowed"] == 1)
    served.kubectl("scale", "mdl/smollm2", "--replicas=1")
    served.wait("one replica", lambda: served.mdl("smollm2")["status"].get("replicas") == 1)


def long_answer(cluster: Cluster) -> int:
    """Tokens that take the wanted time on this machine, beside the other callers."""
    others = (callers.newcomers(cluster, "smollm2"), callers.regular(cluster, "smollm2"))
    with callers.calling(*others) as busy:
        cluster.wait("the others being answered", lambda: all(caller.answered for caller in busy), 60)
        started = time.monotonic()
        callers.Caller(callers.listener(cluster, "smollm2", SAMPLE)).run()
    return min(CONTEXT, int(STREAM_S * SAMPLE / (time.monotonic() - started)))


def test_rolling_update_drops_no_request_no_connection_and_no_stream(served: Cluster) -> None:
    tokens = long_answer(served)
    before = {pod["metadata"]["uid"] for pod in served.engines("smollm2")}

    def replaced() -> bool:
        now = {pod["metadata"]["uid"] for pod in served.engines("smollm2")}
        return bool(now) and not now & before

    works = (
        callers.newcomers(served, "smollm2"),
        callers.regular(served, "smollm2"),
        callers.listener(served, "smollm2", tokens),
    )
    with callers.calling(*works) as all_of_them:
        new, kept, stream = all_of_them
        served.wait("all three being answered", lambda: all(caller.answered for caller in all_of_them), 60)
        patch = '{"spec":{"engine":{"podOverrides":{"annotations":{"example.com/rolled":"yes"}}}}}'
        served.kubectl("patch", "mdl", "smollm2", "--type=merge", "-p", patch)
        served.wait("no old pod to stay", replaced, 180)
        assert stream.busy, stream.failed  # else nothing was seen of a long answer
        served.wait("the old pods' end", lambda: not left(served, before), 360)
        seen = len(new.answered), len(kept.answered)

        def both_go_on() -> bool:
            return len(new.answered) > seen[0] + 3 and len(kept.answered) > seen[1] + 3

        served.wait("the new pods' answers", lambda: both_go_on() or new.failed or kept.failed, 60)
        served.wait("the end of the long answer", lambda: not stream.busy, 60)
    assert [caller.failed for caller in all_of_them] == [[], [], []]
    assert stream.answered[-1] == "length"
    assert len(stream.answered) >= tokens


def left(cluster: Cluster, uids: set[str]) -> set[str]:
    """Those pods of the uids that are there in any state."""
    return uids & {pod["metadata"]["uid"] for pod in cluster.list("pods")}
