"""What a person reads of a failure: what happened, and what to do about it. For ``plan.failures`` alone."""

from __future__ import annotations

from typing import Final

from slipway.plan.last_words import last_error
from slipway.plan.symptoms import Symptoms

RETRY: Final = "then change the annotation slipway.dev/retry"


def said(seen: Symptoms) -> str:
    """What the container said last, with its exit code when that says more."""
    words = (last_error(seen.words) or last_error(seen.log) if seen.engine else "") or seen.words
    text = str(seen.result.get("message") or "") or words or "no last words"
    code = "" if seen.result.get("message") or seen.exit_code is None else f" (exit code {seen.exit_code})"
    return f"{text.strip()[-1500:]}{code}"


def creating(seen: Symptoms) -> str:
    """Of a container that is not made."""
    if seen.sandboxed:
        return f"image {seen.image} is still being pulled for pod {seen.pod}"
    needs = f" ({', '.join(seen.mounts)})" if seen.mounts else ""
    return (
        f"pod {seen.pod} has a node, but its container is not made: a volume is not attached or mounted"
        f"{needs}, or the network is not ready; kubectl describe pod {seen.pod} shows why"
    )


def out_of_memory(seen: Symptoms) -> str:
    """Of a container that was killed for memory."""
    if seen.engine:
        return (
            f"killed for memory: {said(seen)}. Its memory limit follows from the model's size: set more in "
            "spec.engine.resources.memory, or use nodes with more memory"
        )
    return (
        f"killed for memory: {said(seen)}. Every try gets twice the limit of the one before; when the "
        "last is not enough, raise jobs.memoryFactor of the chart or give it a node with more memory, "
        f"{RETRY}"
    )


def evicted(seen: Symptoms) -> str:
    """Of a pod that the kubelet ended to save its node."""
    text = f"the kubelet evicted the pod to save its node: {seen.evicted.rstrip('. ')}."
    if "memory" in seen.evicted.lower():
        return (
            f"{text} It needs a node with more free memory; jobs.memoryFactor of the chart makes Jobs "
            f"request more. Give it one, {RETRY}"
        )
    return f"{text} It needs a node with more free disk. Give it one, {RETRY}"


def unpulled(seen: Symptoms) -> str:
    """Of an image that can't be pulled."""
    text = f"image {seen.image} can't be pulled: {(seen.waiting_message or seen.waiting).rstrip('. ')}."
    if seen.engine:
        return (
            f"{text} A pull secret that was missing is used by itself. To correct spec.engine.image is "
            "enough, too; the chart's images (images.llamacpp, engineImages) are pinned with the plan: "
            "correct them, then change the annotation slipway.dev/replan"
        )
    return f"{text} Correct images.runtime of the chart, or give a pull secret: it goes on by itself"


def unreachable(seen: Symptoms) -> str:
    """Of a volume on a node that can't take the pod."""
    claims = [one.partition(" ")[2] for one in seen.mounts if one.startswith("PersistentVolumeClaim ")]
    names = " or ".join(claims)
    return (
        f"no node takes the pod: {seen.unschedulable.rstrip('. ')}. The volume of PersistentVolumeClaim "
        f"{names} can't leave its node or zone: make room there, or delete ModelArtifact {names} and those "
        "that it was made from (spec.parent) to build it anew where there is room. A store with accessMode "
        "ReadWriteMany can be reached from everywhere"
    )


def suspended(seen: Symptoms) -> str:
    """Of a Job that does not run because it is suspended."""
    if seen.queue:
        return f"Job {seen.job} waits for Kueue's queue {seen.queue}"
    return f"Job {seen.job} is suspended, by Kueue or by hand; it goes on when its spec.suspend is false"


def refused(seen: Symptoms) -> str:
    """Of a Job that gets no pod."""
    return (
        f"Job {seen.job} gets no pod: the cluster refuses it, for a quota or an admission policy for "
        f"example; kubectl describe job {seen.job} shows why"
    )
