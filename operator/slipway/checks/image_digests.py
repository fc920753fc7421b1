"""Rule: the engine's images are named by digest. Run by ``slipway.checks``."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.checks.base import Check, Finding, Input
from slipway.checks.lookup import deployment, dig, no_deployment, pod_spec, where
from slipway.checks.profiles import Profile

THRESHOLD = "every image by @sha256 digest"


def _moves(image: str) -> bool:
    """Whether the reference has no tag, or the tag ``latest``: it means something else tomorrow."""
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    return tag in ("", "latest")


def _running(given: Input) -> dict[str, set[str]]:
    """Container name to the digests that its pods really run."""
    found: dict[str, set[str]] = {}
    for pod in given.pods:
        for status in dig(pod, "status", "containerStatuses") or ():
            digest = str(status.get("imageID", "")).rpartition("@")[2].removeprefix("docker://")
            if digest:
                found.setdefault(status["name"], set()).add(digest)
    return found


def _words(running: dict[str, set[str]], names: Iterable[str]) -> str:
    parts = [f"{name} runs {' and '.join(sorted(running[name]))}" for name in names if name in running]
    return "; ".join(parts) or "running digest unknown"


def _run(given: Input, _: Profile) -> Finding:
    spec = pod_spec(given)
    all_of = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    if not all_of:
        return no_deployment(given, THRESHOLD)
    evidence = where("Deployment", deployment(given), "spec.template.spec.containers[*].image", given)
    tagged = [one for one in all_of if "@sha256:" not in one["image"]]
    if not tagged:
        return Finding("PASS", f"{len(all_of)} by digest", THRESHOLD, evidence)
    running = _running(given)
    words = (
        ", ".join(one["image"] for one in tagged) + ": " + _words(running, [one["name"] for one in tagged])
    )
    differs = any(len(digests) > 1 for digests in running.values())
    if differs or any(_moves(one["image"]) for one in tagged):
        return Finding("FAIL", words, THRESHOLD, f"{evidence}, pods' status.containerStatuses[*].imageID")
    return Finding("WARN", words, THRESHOLD, f"{evidence}, pods' status.containerStatuses[*].imageID")


CHECK = Check(
    name="image-digests",
    title="Will the next pod run the very same engine?",
    kind="objects",
    why="A tag can be pushed again: a pod that restarts at night may then run another build "
    "than the measured one.",
    passes="PASS: every image has an @sha256 digest. WARN: a fixed tag. "
    "FAIL: no tag, latest, or pods that run different digests.",
    fix="set the chart's image digests (images.llamacpp.digest, engineImages) or spec.engine.image to "
    "NAME@sha256:DIGEST",
    run=_run,
)
