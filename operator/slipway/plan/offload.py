"""Candidates of llama.cpp on devices: GGUF, all layers there or some of them (``-ngl``). Called by on_gpu."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slipway.plan.candidate import (
    IN_PARTS,
    MOSTLY,
    NODE,
    PARTLY,
    Candidate,
    Kind,
    Miss,
    Request,
    gguf_method,
    loss_of,
    option_text,
)
from slipway.plan.companion_memory import gguf_bytes
from slipway.plan.companions import no_gguf
from slipway.plan.decision import Accelerator, Memory, Parallel
from slipway.plan.device_memory import KV_BYTES
from slipway.plan.facts import EngineFacts, Gpu, NodeFacts
from slipway.plan.fitting import HostNeed, devices_free, host_fits
from slipway.plan.gpus import bandwidth
from slipway.plan.memory import KV_BYTES as HALF
from slipway.plan.memory import SHARED_MEMORY, engine_memory
from slipway.plan.on_cpu import CONCURRENCIES, HOST_BANDWIDTH, MAX_THREADS, cpu_request
from slipway.plan.preference import SMALL_DEVICE, gguf_levels, gpu_levels, tier
from slipway.plan.quantities import GIB, MIB, gib_text, round_up
from slipway.plan.speed import EFFICIENCY

CONTEXT_BYTES: Final = 512 * MIB
"""CUDA, ROCm or Vulkan context and scratch on each device, beside llama-server's own buffers. Judged."""
HOST_BYTES: Final = GIB
"""Node memory of llama-server with all layers on a device: the file is mapped and its pages can go."""
LEAST: Final = 0.25
"""Part of the layers on the device below which the CPU alone is nearly as fast. Judged."""
MOST: Final = 0.75


def candidates(request: Request, kind: Kind, engine: EngineFacts) -> Iterator[Candidate | Miss]:
    """Levels as the goal prefers them: with all layers on devices, then with most, then with some."""
    wishes, facts = request.wishes, request.facts
    levels = gguf_levels(request, engine, gpu_levels(wishes.goal))
    if not levels:
        reason = IN_PARTS.format(engine=engine.name)
        yield Miss(option_text(engine.name, "gguf", "GGUF", kind.text), reason)
        return
    if not facts.convertible:
        yield Miss(
            option_text(engine.name, "gguf", levels[0], kind.text), "llama.cpp can't convert this model"
        )
        return
    if why := no_gguf(request.companions):
        yield Miss(option_text(engine.name, "gguf", levels[0], kind.text), why)
        return
    found = [
        one
        for position, level in enumerate(levels)
        if (one := _best(request, kind, engine, level, position)) is not None
        # Below three quarters speed is lost anyway: the smallest level has most layers on the device. Else a
        # larger device, which has three quarters of that one, would get a lower level than a smaller one.
        and (one.place < PARTLY or wishes.goal == "quality" or level == levels[-1])
    ]
    yield from found
    if not found:
        yield _miss(request, kind, engine, levels[-1])


def _best(request: Request, kind: Kind, engine: EngineFacts, level: str, position: int) -> Candidate | None:
    """The level with most of it on devices; more requests at once come second, as they cost layers."""
    wished = request.wishes.concurrency
    best: Candidate | None = None
    for concurrency in (wished,) if wished else CONCURRENCIES:
        one = _candidate(request, kind, engine, level, position, concurrency)
        if one is not None and (best is None or one.place < best.place):
            best = one
        if best is not None and best.place == NODE:
            break
    return best


def _candidate(
    request: Request, kind: Kind, engine: EngineFacts, level: str, position: int, concurrency: int
) -> Candidate | None:
    """The level with as many layers on the fewest devices as there is room for; None below a quarter."""
    wishes, facts, gpu = request.wishes, request.facts, kind.gpu
    memory = _memory(request, level, concurrency)
    devices, layers = _layers(request, kind, memory)
    part = layers / facts.layers
    if part < LEAST:
        return None
    whole = layers >= facts.layers
    host = _host(request, kind, memory, devices, 0 if whole else 1 - part)
    fitting = tuple(node for node in kind.nodes if host_fits(node, host))
    if not fitting:
        return None
    seconds = memory.weights * (part / (bandwidth(gpu) * (1e9 * EFFICIENCY)) + (1 - part) / HOST_BANDWIDTH)
    own = max(1, wishes.share // gpu.shares)
    return Candidate(
        engine=engine,
        method=gguf_method(level),
        level=level,
        form="gguf",
        at_load=False,
        place=NODE if whole else MOSTLY if part >= MOST else PARTLY,
        tier=tier(wishes.goal, "gguf", position, small=gpu.memory <= SMALL_DEVICE),
        loss=loss_of("gguf", level),
        context_length=wishes.context_length,
        concurrency=concurrency,
        memory=memory,
        container_memory=host.memory,
        shared_memory=SHARED_MEMORY,
        cpu_millis=host.cpu_millis,
        threads=_threads(wishes.cpu_millis, devices, fitting),
        fitting=fitting,
        accelerator=Accelerator(gpu.vendor, gpu.resource, devices, gpu.product, gpu.memory, own),
        parallel=Parallel(pipeline=devices),
        gpu_layers=None if whole else layers,
        free=any(devices_free(node, gpu.resource) >= devices for node in fitting),
        token_seconds=seconds,
        device_bytes=gpu.memory * devices,
    )


def _host(request: Request, kind: Kind, memory: Memory, devices: int, left: float) -> HostNeed:
    """Of one pod; ``left`` is the part of the layers that stays in node memory."""
    wishes = request.wishes
    stays = round((memory.weights + memory.kv_cache) * left)
    cpu = wishes.cpu_millis or cpu_request(request.facts, min(node.cpu for node in kind.nodes))
    return HostNeed(wishes.memory or round_up(HOST_BYTES + stays, MIB), cpu, kind.gpu.resource, devices)


def _threads(fixed: int | None, devices: int, fitting: tuple[NodeFacts, ...]) -> int:
    """CPU limit in whole cores: the pod's part of the node by its devices."""
    if fixed:
        return max(1, fixed // 1000)
    most = max(1, *(one.count for node in fitting for one in node.gpus))
    cores = min(node.cpu for node in fitting)
    return max(1, min(int(cores) * devices // most, MAX_THREADS))


def _memory(request: Request, level: str, concurrency: int) -> Memory:
    wishes = request.wishes
    plain = engine_memory(request.facts, level, wishes.context_length, concurrency)
    kv = round(plain.kv_cache * KV_BYTES[wishes.kv_dtype] / HALF)
    more = gguf_bytes(request.companions, wishes.context_length, concurrency)
    return Memory(plain.weights, kv, plain.activations, CONTEXT_BYTES, more)


def _layers(request: Request, kind: Kind, memory: Memory) -> tuple[int, int]:
    """Devices, and the layers that they hold: the fewest devices for all, else all devices for most."""
    layers = request.facts.layers
    most = 1 if kind.gpu.sharing else max(_count(kind.gpu, node.gpus) for node in kind.nodes)
    held = 0
    for devices in range(1, most + 1):
        # A draft is on a device whole, whatever part of the model is.
        fixed = (memory.activations + memory.overhead) * devices + memory.companions
        room = kind.gpu.memory * request.wishes.share // 100 * devices - fixed
        held = int(max(0, room) / max(1.0, (memory.weights + memory.kv_cache) / layers))
        if held >= layers:
            return devices, layers
    return most, min(held, layers)


def _count(gpu: Gpu, gpus: tuple[Gpu, ...]) -> int:
    return next((one.count for one in gpus if one.resource == gpu.resource), 0)


def _miss(request: Request, kind: Kind, engine: EngineFacts, level: str) -> Miss:
    memory = _memory(request, level, request.wishes.concurrency or 1)
    total = memory.total * 100 // request.wishes.share
    have = kind.gpu.memory
    reason = (
        f"needs {gib_text(total)}, {gib_text(have)} of device memory are there, and node memory for the rest "
        "of the layers, or less than a quarter of them would be on the device"
    )
    return Miss(option_text(engine.name, "gguf", level, kind.text), reason, total, have, device=True)
