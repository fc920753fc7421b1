"""Candidates on CPU: GGUF by llama.cpp, 16 bits by engines that the spec names. Pure; called by decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from slipway.api.optimize import FOLDERS
from slipway.plan.candidate import HOST, NO_NODE, Candidate, Miss, Request, loss_of, requests_text
from slipway.plan.capacity import largest
from slipway.plan.companion_memory import beside, gguf_bytes
from slipway.plan.companions import no_gguf
from slipway.plan.decision import Memory
from slipway.plan.device_memory import kv_bytes
from slipway.plan.facts import CPU, EngineFacts, ModelFacts, NodeFacts
from slipway.plan.fitting import NODE_RESERVE
from slipway.plan.memory import SHARED_MEMORY, engine_memory
from slipway.plan.methods import level_of, weight_bytes
from slipway.plan.preference import cpu_levels
from slipway.plan.quantities import GIB, MIB, gib_text, round_up
from slipway.plan.servable import Way, unmakeable

MAX_THREADS: Final = 16
"""Decoding on CPU is bound by memory bandwidth before more cores are busy; ``resources.cpu`` overrides."""
BASE_CPU_MILLIS: Final = 250
CPU_MILLIS_PER_BILLION: Final = 250
"""Requested CPU grows with the model; the limit is the threads, so a lone replica still uses them all."""
CPU_SHARE: Final = 4
"""At most a quarter of a node's cores is requested: a second replica and a rollout's surge fit beside."""
CONCURRENCIES: Final = (4, 2, 1)
"""Requests at once when the spec doesn't say; fewer come before a lower level: quality is worth more."""
MEMORY_MARGIN: Final = 1.1
"""Container memory over computed memory: the figures of ``memory`` are within 10 %."""
HOST_BANDWIDTH: Final = 30e9
"""Bytes a second that decoding reads on CPU: two channels of DDR4. Orders plans; no promise."""
QUANTISED_ON: Final = frozenset({"amd64"})
"""Node architectures for which PyTorch engines have kernels of quantised weights."""
BATCHED: Final = 2048
LIVE_FLOATS: Final = 16
"""Tokens computed at once, and floats alive for each of them, in hidden sizes."""
WORKERS_MEMORY: Final = 512 * MIB
"""Size of the shared memory volume of PyTorch engines: vLLM 0.32 refuses to start with less than 240 MiB."""
LEAST_KV: Final = GIB
"""PyTorch engines on CPU are given whole GiB for the KV cache."""


def candidates(request: Request, usable: Sequence[NodeFacts]) -> Iterator[Candidate | Miss]:
    """Every way to serve on CPU, the best level first; after the first that fits, no lower level is tried."""
    wishes = request.wishes
    if max(wishes.tensor or 1, wishes.pipeline or 1, wishes.data) > 1:
        yield Miss("CPU", "has no devices that could share the model, as spec.engine asks for")
        return
    for engine in request.engines:
        for loads in engine.loads.get(CPU, ()):
            if loads.method == "gguf" and wishes.method in ("", "gguf", "none"):
                if engine.name != wishes.engine and not engine.goals:
                    continue
                yield from _gguf(request, engine, usable)
            elif loads.method != "gguf" and loads.method in _asked(request, engine):
                yield from _folder(Way(request, engine, loads), usable)


def _asked(request: Request, engine: EngineFacts) -> tuple[str, ...]:
    """Methods of an engine that reads safetensors on CPU: only when it is named, or its method is.

    Else llama.cpp is the default, which has none of them.
    """
    wishes = request.wishes
    by_method = wishes.method in FOLDERS and not wishes.engine and bool(engine.goals)
    if wishes.engine != engine.name and not request.facts.quantization and not by_method:
        return ()
    return (request.facts.quantization or wishes.method or "none",)


def _gguf(request: Request, engine: EngineFacts, usable: Sequence[NodeFacts]) -> Iterator[Candidate | Miss]:
    wishes, facts = request.wishes, request.facts
    if facts.quantization:
        yield Miss(f"{engine.name} on CPU", f"weights that come as {facts.quantization} can't become GGUF")
        return
    if not facts.convertible or facts.modality not in engine.modalities:
        yield Miss(f"{engine.name} on CPU", f"{engine.name} can't serve {facts.architecture}")
        return
    if why := no_gguf(request.companions):
        yield Miss(f"{engine.name} on CPU", why)
        return
    fixed = wishes.level or ("F16" if wishes.method == "none" else "")
    levels = (fixed,) if fixed else cpu_levels(wishes.goal)
    for position, level in enumerate(levels):
        for concurrency in (wishes.concurrency,) if wishes.concurrency else CONCURRENCIES:
            plain = engine_memory(facts, level, wishes.context_length, concurrency)
            more = gguf_bytes(request.companions, wishes.context_length, concurrency)
            memory = replace(plain, companions=more)
            method = "none" if level in ("F16", "BF16") else "gguf"
            found = _on_nodes(request, engine, (method, level, position), memory, concurrency, usable)
            yield found
            if isinstance(found, Candidate):
                return


def _folder(way: Way, usable: Sequence[NodeFacts]) -> Iterator[Candidate | Miss]:
    """A folder of safetensors, of 16 bits in bfloat16, which PyTorch computes in on any CPU."""
    request, engine, method = way.request, way.engine, way.loads.method
    wishes, facts = request.wishes, request.facts
    if why := unmakeable(way):
        yield Miss(f"{engine.name} on CPU", why)
        return
    if facts.modality not in engine.modalities:
        yield Miss(f"{engine.name} on CPU", f"{engine.name} serves no {facts.modality} models")
        return
    more = beside(facts, request.companions)
    for concurrency in (wishes.concurrency,) if wishes.concurrency else CONCURRENCIES:
        tokens = wishes.context_length * concurrency
        memory = Memory(
            weights=weight_bytes(facts, method, wishes.level),
            kv_cache=max(LEAST_KV, round_up((kv_bytes(facts) + more.kv_token) * tokens, GIB)),
            activations=4 * LIVE_FLOATS * facts.hidden_size * min(BATCHED, wishes.context_length)
            + 4 * facts.vocab_size * concurrency,
            overhead=engine.host_memory,
            companions=more.weights,
        )
        level = level_of(method, "bfloat16", wishes.level) if way.made or method == "none" else method
        found = _on_nodes(request, engine, (method, level, 0), memory, concurrency, usable)
        yield replace(found, made=way.made) if isinstance(found, Candidate) else found
        if isinstance(found, Candidate):
            return


def _on_nodes(
    request: Request,
    engine: EngineFacts,
    how: tuple[str, str, int],
    memory: Memory,
    concurrency: int,
    usable: Sequence[NodeFacts],
) -> Candidate | Miss:
    """The candidate on the nodes that hold it, or why there are none."""
    wishes, (method, level, position) = request.wishes, how
    container = round_up(round(memory.total * MEMORY_MARGIN) if wishes.memory is None else wishes.memory, MIB)
    form = "gguf" if engine.loads[CPU][0].method == "gguf" else "safetensors"
    text = requests_text(level, concurrency, wishes.context_length)
    if wishes.memory is not None and wishes.memory < memory.total:
        allowed = f"spec.engine.resources.memory allows {gib_text(wishes.memory)}"
        return Miss(text, f"needs {gib_text(memory.total)}, and {allowed}", container, wishes.memory)
    fitting = _fitting(request, engine, method, container, usable)
    if not fitting:
        return _miss(text, container, request, usable)
    cores = min(node.cpu for node in fitting)
    return Candidate(
        engine=engine,
        method=method,
        level=level,
        form=form,
        at_load=False,
        place=HOST,
        tier=position,
        loss=loss_of(method, level),
        context_length=wishes.context_length,
        concurrency=concurrency,
        memory=memory,
        container_memory=container,
        shared_memory=SHARED_MEMORY if form == "gguf" else WORKERS_MEMORY,
        cpu_millis=wishes.cpu_millis or cpu_request(request.facts, cores),
        threads=max(1, wishes.cpu_millis // 1000 if wishes.cpu_millis else min(int(cores), MAX_THREADS)),
        fitting=fitting,
        dtype="bfloat16" if form == "safetensors" and method == "none" else "",
        token_seconds=memory.weights / HOST_BANDWIDTH,
        price=_price(fitting, container, memory, concurrency),
    )


def _fitting(
    request: Request, engine: EngineFacts, method: str, container: int, usable: Sequence[NodeFacts]
) -> tuple[NodeFacts, ...]:
    """Nodes that hold a pod of this memory, and that the engine's image is built for."""
    built_for = engine.architectures.get(CPU, frozenset())
    if engine.loads[CPU][0].method != "gguf" and method != "none":
        built_for &= QUANTISED_ON
    need, cpu = container + NODE_RESERVE, request.wishes.cpu_millis
    # Most nodes fall by memory, which is one comparison: a plan against 5,000 nodes takes milliseconds.
    return tuple(
        node
        for node in usable
        if node.memory >= need
        and node.architecture in built_for
        and not shortage(container, cpu, request.facts, node)
    )


def _price(nodes: Sequence[NodeFacts], container: int, memory: Memory, concurrency: int) -> float | None:
    """Currency for a million tokens at full load: a replica pays for its part of the node's memory."""
    hourly = [node.price * min(1.0, container / node.memory) for node in nodes if node.price is not None]
    tokens = concurrency * HOST_BANDWIDTH / (memory.weights + memory.kv_cache)
    return min(hourly) / (tokens * 3600) * 1e6 if hourly else None


def _miss(text: str, container: int, request: Request, usable: Sequence[NodeFacts]) -> Miss:
    if not usable:
        return Miss(text, NO_NODE, container)
    nearest = largest(usable)
    lacks = shortage(container, request.wishes.cpu_millis, request.facts, nearest)
    lacks = lacks or f"no image for {nearest.architecture}"
    return Miss(text, f"node {nearest.name}: {lacks}", container, nearest.memory, nearest=nearest.name)


def shortage(container: int, cpu_millis: int | None, facts: ModelFacts, node: NodeFacts) -> str:
    """What this node lacks for a pod of this memory; empty when it lacks nothing."""
    room = node.memory - NODE_RESERVE
    if container > room:
        return f"needs {gib_text(container)} of memory, {gib_text(max(0, room))} are there"
    cpu = cpu_millis or cpu_request(facts, node.cpu)
    if cpu > node.cpu * 1000:
        return f"needs {cpu / 1000:g} cores, {node.cpu:g} are there"
    return ""


def cpu_request(facts: ModelFacts, cores: float) -> int:
    """Requested millicores: by the model's size, at most a share of the node."""
    wanted = max(BASE_CPU_MILLIS, round(CPU_MILLIS_PER_BILLION * facts.parameters / 1e9))
    return max(1, min(wanted, int(cores * 1000) // CPU_SHARE))
