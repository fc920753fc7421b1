"""Candidates on accelerators: for each kind, engine and method the fewest devices that hold the model.

Pure; called by decide. Candidates of llama.cpp, which can leave layers to the CPU, are made in ``offload``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from slipway.plan import offload
from slipway.plan.candidate import NODE, NODES, Candidate, Kind, Miss, Request, loss_of, option_text
from slipway.plan.companion_memory import beside
from slipway.plan.decision import Accelerator, Memory, Parallel
from slipway.plan.device_memory import Need, device_need, kv_tokens, most_requests
from slipway.plan.facts import EngineFacts, Gpu, Loads, NodeFacts
from slipway.plan.fitting import HostNeed, devices_free, host_fits
from slipway.plan.gpus import has_bf16
from slipway.plan.methods import level_of, method_at, weight_bytes
from slipway.plan.preference import SMALL_DEVICE, tier
from slipway.plan.quantities import GIB, MIB, gib_text, round_up
from slipway.plan.servable import UNASKED, Way, refused
from slipway.plan.speed import price, speed_bound
from slipway.plan.spread import spreads

SHARED_MEMORY: Final = (512 * MIB, 2 * GIB)
"""Size of the shared memory volume for one device and for several, whose workers and NCCL talk through it."""
BASE_CPU_MILLIS: Final = 1000
DEVICE_CPU_MILLIS: Final = 1000
"""A process that schedules, and one for each device, each busy while it generates."""
MOST_THREADS: Final = 32


@dataclass(frozen=True)
class _Try:
    """One engine with one method on one kind of device."""

    request: Request
    kind: Kind
    engine: EngineFacts
    loads: Loads

    @property
    def text(self) -> str:
        return option_text(self.engine.name, self.loads.method, self.level, self.kind.text)

    @property
    def way(self) -> Way:
        return Way(self.request, self.engine, self.loads, self.kind)

    @property
    def level(self) -> str:
        return level_of(self.loads.method, self.dtype, self.request.wishes.level)

    @property
    def dtype(self) -> str:
        return "bfloat16" if has_bf16(self.kind.gpu) else "float16"

    @property
    def usable(self) -> int:
        """Bytes of one device that the engine may take."""
        return self.kind.gpu.memory * self.request.wishes.share // 100


def candidates(request: Request, kinds: Sequence[Kind]) -> Iterator[Candidate | Miss]:
    """Every way to serve on these kinds, and why others are none; one for each kind, engine and method."""
    for kind in kinds:
        if not kind.gpu.vendor:
            yield Miss(f"accelerator {kind.gpu.resource}", "its vendor is not known to this version")
            continue
        if not kind.gpu.memory:
            yield Miss(f"accelerator {kind.text}", _unlabelled(kind.gpu))
            continue
        for engine in request.engines:
            for loads in engine.loads.get(kind.gpu.vendor, ()):
                yield from _of_method(_Try(request, kind, engine, loads))


def _unlabelled(gpu: Gpu) -> str:
    makers = {
        "nvidia": "install GPU feature discovery (nvidia.com/gpu.memory)",
        "amd": "install the ROCm node labeller (amd.com/gpu.vram)",
        "intel": "label it gpu.intel.com/product",
    }
    hint = makers.get(gpu.vendor, "label its product")
    return f"the nodes' labels don't say how much memory it has: {hint}, or describe it in nodePools"


def _of_method(one: _Try) -> Iterator[Candidate | Miss]:
    method = one.loads.method
    if reason := refused(one.way, one.kind):
        if reason != UNASKED:
            yield Miss(one.text, reason)
    elif method == "gguf":
        yield from offload.candidates(one.request, one.kind, one.engine)
    else:
        yield _fewest(one)


def _fewest(one: _Try) -> Candidate | Miss:
    """The smallest spread that holds the model, or what is missing on the largest."""
    miss: Miss | None = None
    for parallel in spreads(one.request, one.kind, one.engine):
        found = _fit(one, parallel)
        if isinstance(found, Candidate):
            return found
        miss = found
    return _with_more_nodes(one, miss or Miss(one.text, _no_spread(one)))


def _with_more_nodes(one: _Try, miss: Miss) -> Miss:
    """What several nodes would need, if together they would hold it."""
    if not one.request.one_node or "multi-node" not in one.engine.capabilities:
        return miss
    every = spreads(replace(one.request, one_node=""), one.kind, one.engine)
    found = (_fit(one, parallel) for parallel in every if parallel.pods > 1)  # on one node all were tried
    fits = next((fit for fit in found if isinstance(fit, Candidate)), None)
    if fits is None:
        return miss
    needs = f"{fits.parallel.pods} such nodes together hold it: that needs {one.request.one_node}"
    return replace(miss, reason=f"{miss.reason}; {needs}")


def _no_spread(one: _Try) -> str:
    wishes = one.request.wishes
    asked = f"tensor parallel {wishes.tensor or 1} x pipeline parallel {wishes.pipeline or 1}"
    alone = wishes.guesses in one.engine.unstaged
    guesses = "; guessed tokens go with no pipeline (spec.engine.speculative)" if alone else ""
    return f"{asked} x data parallel {wishes.data} can't be had of these nodes by {one.engine.name}{guesses}"


def _fit(one: _Try, parallel: Parallel) -> Candidate | Miss:
    """The candidate of this spread, or why the devices or the nodes are too small."""
    wishes, facts, gpu = one.request.wishes, one.request.facts, one.kind.gpu
    weights = weight_bytes(facts, one.loads.method, one.level)
    spread = (parallel.tensor, parallel.pipeline)
    plain = device_need(facts, gpu, weights, *spread, wishes.kv_dtype, one.engine.overhead)
    need = _with_companions(one, parallel, plain)
    shared_by = parallel.tensor * parallel.pipeline
    room = one.usable - (weights + need.companions) / shared_by - need.fixed
    requests = most_requests(room, need.kv_token, wishes.context_length, _each(wishes.concurrency, parallel))
    rule = method_at(one.loads.method, one.level).fits_in * facts.parameters / shared_by
    if not requests or rule > gpu.memory:
        return _short(one, parallel, need, weights)
    candidate = _candidate(one, parallel, need, requests)
    if candidate.fitting:
        return candidate
    host = _host(one, parallel.devices // parallel.pods)
    return Miss(one.text, f"node memory or CPU: {host_reason(host, one.kind)}")


def _with_companions(one: _Try, parallel: Parallel, need: Need) -> Need:
    """The need with draft, heads and adapters; a draft's KV cache is shared out as the model's."""
    request = one.request
    more = beside(request.facts, request.companions, request.wishes.kv_dtype)
    shared_by = min(parallel.tensor, request.facts.kv_heads or 1) * parallel.pipeline
    return replace(need, companions=more.weights, kv_token=need.kv_token + more.kv_token / shared_by)


def _each(concurrency: int | None, parallel: Parallel) -> int | None:
    """Requests of one copy of the model."""
    return None if concurrency is None else -(-concurrency // parallel.data)


def host_reason(host: HostNeed, kind: Kind) -> str:
    """What a pod wants of a node beside devices."""
    best = max(kind.nodes, key=lambda node: (node.memory, node.cpu))
    return (
        f"a pod needs {gib_text(host.memory)} and {host.cpu_millis / 1000:g} cores; {best.name} has "
        f"{gib_text(best.memory)} and {best.cpu:g}"
    )


def _short(one: _Try, parallel: Parallel, need: Need, weights: int) -> Miss:
    wishes, facts, gpu = one.request.wishes, one.request.facts, one.kind.gpu
    shared_by = parallel.tensor * parallel.pipeline
    tokens = kv_tokens(wishes.context_length, wishes.concurrency or 1, asked=bool(wishes.concurrency))
    total = (
        round((weights + need.companions) / shared_by + need.fixed + tokens * need.kv_token)
        * 100
        // wishes.share
    )
    total = max(total, round(method_at(one.loads.method, one.level).fits_in * facts.parameters / shared_by))
    spread = f" each of {parallel.devices} ({parallel.text})" if parallel.devices > 1 else ""
    reason = f"needs {gib_text(total)} of device memory{spread}, {gib_text(gpu.memory)} are there"
    names = ", ".join(node.name for node in one.kind.nodes[:1])
    return Miss(one.text, reason, total * shared_by, gpu.memory * shared_by, device=True, nearest=names)


def _candidate(one: _Try, parallel: Parallel, need: Need, requests: int) -> Candidate:
    wishes, facts, gpu, method = one.request.wishes, one.request.facts, one.kind.gpu, one.loads.method
    per_pod = parallel.devices // parallel.pods
    concurrency = wishes.concurrency or requests * parallel.data
    memory = _memory(one, parallel, need, requests)
    host = _host(one, per_pod)
    fitting = tuple(node for node in one.kind.nodes if host_fits(node, host))
    bound = speed_bound(gpu, parallel, need.weights, facts.active_parameters / facts.parameters)
    step = bound + speed_bound(gpu, parallel, memory.kv_cache // parallel.data, 1)
    return Candidate(
        engine=one.engine,
        method=method,
        level=one.level,
        form="safetensors",
        at_load=one.way.at_load,
        made=one.way.made,
        place=NODE if parallel.pods == 1 else NODES,
        tier=tier(wishes.goal, method, 0, small=gpu.memory <= SMALL_DEVICE),
        loss=loss_of(method, one.level),
        context_length=wishes.context_length,
        concurrency=concurrency,
        memory=memory,
        container_memory=host.memory,
        shared_memory=SHARED_MEMORY[per_pod > 1],
        cpu_millis=host.cpu_millis,
        threads=threads(fitting, per_pod, wishes.cpu_millis),
        fitting=fitting if sum(node.most for node in fitting) >= parallel.pods else (),
        accelerator=Accelerator(gpu.vendor, gpu.resource, per_pod, gpu.product, gpu.memory, share(one)),
        parallel=parallel,
        dtype="" if facts.quantization else one.dtype,
        free=any(devices_free(node, gpu.resource) >= per_pod for node in fitting),
        token_seconds=bound,
        price=price(fitting, gpu, parallel, concurrency / step),
        device_bytes=gpu.memory * parallel.devices,
    )


def _memory(one: _Try, parallel: Parallel, need: Need, requests: int) -> Memory:
    """Of one replica: all copies of the model on all devices."""
    wishes = one.request.wishes
    tokens = kv_tokens(wishes.context_length, requests, asked=bool(wishes.concurrency)) * parallel.data
    return Memory(
        weights=need.weights * parallel.data,
        kv_cache=round(tokens * kv_whole(need, parallel)),
        activations=need.activations * parallel.devices,
        overhead=(need.fixed - need.activations) * parallel.devices,
        companions=need.companions * parallel.data,
    )


def _host(one: _Try, per_pod: int) -> HostNeed:
    """Node memory and CPU of one pod with this many devices."""
    wishes = one.request.wishes
    computed = one.engine.host_memory * (1 + per_pod) + SHARED_MEMORY[per_pod > 1]
    return HostNeed(
        wishes.memory or round_up(computed, MIB),
        wishes.cpu_millis or BASE_CPU_MILLIS + DEVICE_CPU_MILLIS * per_pod,
        one.kind.gpu.resource,
        per_pod,
    )


def share(one: _Try) -> int:
    """Percent of a device for the engine: of a device that several pods share, its part of it."""
    return max(1, one.request.wishes.share // one.kind.gpu.shares)


def kv_whole(need: Need, parallel: Parallel) -> float:
    """KV cache of one token on all devices of one copy."""
    return need.kv_token * parallel.tensor * parallel.pipeline


def threads(fitting: Sequence[NodeFacts], per_pod: int, fixed: int | None) -> int:
    """CPU limit in whole cores: the pod's part of the node by its devices."""
    if fixed:
        return max(1, fixed // 1000)
    parts = [node.cpu * per_pod / max(1, *(gpu.count for gpu in node.gpus)) for node in fitting]
    return max(1 + per_pod, min(int(min(parts, default=1)), MOST_THREADS))
