"""The decision in words: why this one, why not the others, what is missing. Pure; called by decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from slipway.api import reasons
from slipway.api.optimize import FOLDERS
from slipway.plan.candidate import HOST, NO_NODE, NODES, Candidate, Miss, Request, how_text
from slipway.plan.capacity import largest
from slipway.plan.decision import Rejected
from slipway.plan.facts import NodeFacts
from slipway.plan.fitting import NODE_RESERVE
from slipway.plan.preference import cpu_levels
from slipway.plan.quantities import gib_text

NAMED_NODES: Final = 3
LESS: Final = "Give it more, or ask for a smaller model, less context, less concurrency or a lower level."


@dataclass(frozen=True)
class Seen:
    """What the decision looked at.

    Attributes:
        usable: nodes that the pods may use.
        refusals: node to why it can't be used.
        lacking: engines that lack what the spec asks for.
    """

    request: Request
    usable: Sequence[NodeFacts]
    refusals: dict[str, str]
    misses: Sequence[Miss]
    lacking: tuple[Rejected, ...] = ()


def reason(seen: Seen, chosen: Candidate) -> str:
    """One sentence: why this level, what it needs, who holds it."""
    facts, wishes = seen.request.facts, seen.request.wishes
    billions = f"{facts.parameters / 1e9:.3g} billion parameters"
    where = f"{len(chosen.fitting)} of {len(seen.usable)} usable nodes can hold that"
    context = f"{chosen.concurrency} x {chosen.context_length} tokens of context"
    if (
        not wishes.concurrency
        and chosen.form == "safetensors"
        and chosen.accelerator
        and chosen.concurrency > 1
    ):
        context = (
            f"{chosen.concurrency} requests at once, one with all of its {chosen.context_length} tokens of "
            "context and the others with an eighth"
        )
    if chosen.accelerator is None:
        served = "llama.cpp" if chosen.engine.name == "llamacpp" else chosen.engine.name
        return (
            f"{_why(seen, chosen)}: {billions} served by {served} on CPU need "
            f"{gib_text(chosen.container_memory)} with {context}; {where}."
        )
    device, spread = chosen.accelerator, chosen.parallel.text
    on = f"{chosen.parallel.devices} x {device.product or device.resource}"
    partly = f", {chosen.gpu_layers} of {facts.layers} layers on the device" if chosen.gpu_layers else ""
    waits = "" if chosen.free else " All devices are in use now: the pods wait until some are free."
    planned = " None of them exists yet: the pool adds one." if all(n.planned for n in chosen.fitting) else ""
    comes = f", as the model comes {wishes.method}" if facts.quantization else ""
    return (
        f"{_why(seen, chosen)}{comes}: {billions} served by {chosen.engine.name} need "
        f"{gib_text(chosen.memory.total)} of device memory with {context} on {on}"
        f"{f' ({spread})' if spread else ''}{partly}; {where}.{waits}{planned}"
    )


def _why(seen: Seen, chosen: Candidate) -> str:
    wishes = seen.request.wishes
    what = how_text(chosen.method, chosen.level)
    if wishes.level or (wishes.method and chosen.form != "gguf") or wishes.method == "none":
        return f"{what} as asked for" if not seen.request.facts.quantization else what
    first = chosen.tier <= 0
    return (
        f"{what} is what {wishes.goal_text} prefers"
        if first
        else f"{what} is the best level for {wishes.goal_text} that fits"
    )


def rejected(seen: Seen, chosen: Candidate, others: Sequence[Candidate]) -> tuple[Rejected, ...]:
    """Every option not taken: what did not fit, what came later, what no engine has, nodes of no use."""
    later = [Rejected(one.what, _later(seen, chosen, one)) for one in others if one.what != chosen.what]
    return (
        *later,
        *_misses(seen.misses),
        *_lower_levels(seen, chosen),
        *seen.lacking,
        *refused_nodes(seen.refusals),
    )


def _misses(misses: Sequence[Miss]) -> Iterator[Rejected]:
    """What did not fit; levels that no node was there to be tried on are one line."""
    unused = [one for one in misses if one.reason == NO_NODE]
    if len(unused) > 1:
        yield Rejected("CPU", NO_NODE)
    for one in misses:
        if one.reason != NO_NODE or len(unused) == 1:
            yield Rejected(one.option, one.reason)


def _later(seen: Seen, chosen: Candidate, one: Candidate) -> str:
    """Why a possible option came after the chosen one."""
    wishes = seen.request.wishes
    if chosen.free and not one.free:
        return "its devices are in use now"
    if one.place == HOST and chosen.place != HOST:
        return "a device serves it faster than the CPU"
    if wishes.goal in ("cost", "latency"):
        figure = "a dearer token at full load" if wishes.goal == "cost" else "more time for each token"
        return f"{figure}, by the bandwidth of the memory that is read"
    if one.place == NODES:
        return "takes several nodes where one is enough"
    if one.tier != chosen.tier or one.loss != chosen.loss:
        return f"{wishes.goal_text} prefers {chosen.method if chosen.form != 'gguf' else chosen.level}"
    return f"the same on {chosen.accelerator.product if chosen.accelerator else 'CPU'} costs less"


def _lower_levels(seen: Seen, chosen: Candidate) -> list[Rejected]:
    """On CPU: levels that would have been possible, and why they were not taken."""
    wishes = seen.request.wishes
    if chosen.place != HOST or chosen.form != "gguf" or wishes.level or wishes.method == "none":
        return []
    levels = cpu_levels(wishes.goal)
    why = f"loses more quality than {chosen.level}, which fits"
    found = [Rejected(level, why) for level in levels[levels.index(chosen.level) + 1 :]]
    if "Q8_0" not in levels:
        slower = f"{wishes.goal_text} prefers fewer bytes a token; set optimize.goal: quality to have it"
        found.insert(0, Rejected("Q8_0", slower))
    return found


def refused_nodes(refusals: dict[str, str]) -> list[Rejected]:
    """Nodes that could not be used, grouped by reason, so that a large cluster stays readable."""
    groups: dict[str, list[str]] = {}
    for name, why in refusals.items():
        groups.setdefault(why, []).append(name)
    return [Rejected(f"node {_names(names)}", why) for why, names in groups.items()]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_NODES])
    return shown if len(names) <= NAMED_NODES else f"{shown} and {len(names) - NAMED_NODES} more"


def refusal(seen: Seen) -> tuple[str, str]:
    """Reason and message of a model that nothing serves here; other nodes or engines may change that."""
    facts, wishes = seen.request.facts, seen.request.wishes
    if (
        facts.convertible
        or wishes.engine
        or wishes.method in FOLDERS
        or any(one.device for one in seen.misses)
    ):
        return reasons.NOTHING_FITS, nearest_miss(seen)
    return reasons.UNSUPPORTED_ARCHITECTURE, (
        f"{facts.architecture} is no architecture that llama.cpp's converter makes text with, and no node "
        "has a device on which vLLM might serve it. Name an engine in spec.engine.name that loads it on CPU "
        "(transformers, vllm), add such a node, or choose another model."
    )


def nearest_miss(seen: Seen) -> str:
    """One paragraph: the smallest option, the nearest node, what is missing, what to do."""
    unused = "; ".join(f"{one.option}: {one.reason}" for one in refused_nodes(seen.refusals)[:NAMED_NODES])
    skipped = f" Not usable: {unused}." if unused else ""
    devices = [one for one in seen.misses if one.device]
    others = [one for one in seen.misses if not one.device and one.need and seen.usable]
    if devices and not others:
        least = min(devices, key=lambda one: one.need / max(1, one.have))
        also = _also(seen, least)
        return f"Nothing fits. The nearest is {least.option}: {least.reason}.{also}{skipped} {LESS}"
    if not others:
        return _without_figures(seen, skipped)
    return _on_cpu(seen, min(others, key=lambda one: one.need), skipped)


def _also(seen: Seen, least: Miss, *, on_cpu: bool = True) -> str:
    """Other options that are none, in short; those on CPU need no word when the nearest is one of them."""
    others = [one for one in seen.misses if one is not least and (on_cpu or one.device or not one.need)]
    more = [f"{one.option}: {one.reason}" for one in others][:NAMED_NODES]
    return f" Also not: {'; '.join(more)}." if more else ""


def _without_figures(seen: Seen, skipped: str) -> str:
    if not seen.usable and all(one.nearest == "" and one.need for one in seen.misses):
        return f"No node can be used.{skipped} Free or add a node; planning goes on by itself."
    misses = list(_misses(seen.misses))[:NAMED_NODES]
    reasons = "; ".join(f"{one.option}: {one.reason}" for one in misses)
    lacking = "; ".join(f"{one.option}: {one.reason}" for one in seen.lacking[:NAMED_NODES])
    why = (
        "; ".join(part for part in (reasons, lacking) if part) or "no node has an accelerator for this engine"
    )
    return f"Nothing fits: {why}.{skipped} Choose another engine or method, or add such a node."


def _on_cpu(seen: Seen, smallest: Miss, skipped: str) -> str:
    wishes = seen.request.wishes
    if wishes.memory is not None and smallest.have == wishes.memory and "allows" in smallest.reason:
        needs = smallest.reason.partition("needs ")[2].partition(",")[0]
        return (
            f"spec.engine.resources.memory of {gib_text(wishes.memory)} is too small: {smallest.option} "
            f"needs {needs}. {LESS}"
        )
    asked = "spec.engine.resources.memory" if wishes.memory is not None else smallest.option
    nearest = largest(seen.usable)
    missing = smallest.need + NODE_RESERVE - nearest.memory
    kept = f"{gib_text(NODE_RESERVE)} of them kept for the node's own pods"
    lacks = f"{kept}: {gib_text(missing)} are missing" if missing > 0 else smallest.reason.partition(": ")[2]
    return (
        f"Nothing fits: {asked} needs {gib_text(smallest.need)} of memory; the nearest node is "
        f"{nearest.name} with {nearest.cpu:g} cores and {gib_text(nearest.memory)}, {lacks}."
        f"{_also(seen, smallest, on_cpu=False)}{skipped} {LESS}"
    )
