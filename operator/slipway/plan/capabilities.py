"""What a spec asks of an engine beyond answering; one that lacks it says so. Called by decide, engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.plan.facts import EngineFacts


@dataclass(frozen=True)
class Capability:
    """Something that some engines can do.

    Attributes:
        field: below ``spec`` that asks for it.
        asked: whether a spec does.
        what: for people.
    """

    field: str
    asked: Callable[[ModelDeploymentSpec], bool]
    what: str


def _engine(field: str, asked: Callable[[Engine], bool], what: str) -> Capability:
    return Capability(f"engine.{field}", lambda spec: asked(spec.engine or Engine()), what)


def _more(size: int | None) -> bool:
    return size is not None and size > 1


def _guesses(kind: str, what: str) -> Capability:
    def asked(engine: Engine) -> bool:
        return engine.speculative is not None and engine.speculative.kind == kind

    return _engine("speculative", asked, what)


CAPABILITIES: Final[Mapping[str, Capability]] = {
    "system-prompt": _engine(
        "generation.systemPrompt",
        lambda engine: engine.generation is not None and engine.generation.system_prompt is not None,
        "system prompt of the server's own",
    ),
    "sampling-defaults": _engine(
        "generation",
        lambda engine: (
            engine.generation is not None
            and bool(engine.generation.model_dump(exclude_none=True).keys() - {"system_prompt"})
        ),
        "defaults for requests that don't say otherwise",
    ),
    "tensor-parallel": _engine(
        "tensorParallel", lambda engine: _more(engine.tensor_parallel), "tensor parallel"
    ),
    "pipeline-parallel": _engine(
        "pipelineParallel", lambda engine: _more(engine.pipeline_parallel), "pipeline parallel"
    ),
    "data-parallel": _engine("dataParallel", lambda engine: _more(engine.data_parallel), "data parallel"),
    "memory-share": _engine(
        "gpuMemoryShare", lambda engine: engine.gpu_memory_share is not None, "share of device memory"
    ),
    "prefix-caching": _engine(
        "prefixCaching", lambda engine: engine.prefix_caching is not None, "switch for prefix caching"
    ),
    "chunked-prefill": _engine(
        "chunkedPrefill", lambda engine: engine.chunked_prefill is not None, "switch for chunked prefill"
    ),
    "load-format": _engine(
        "loadFormat", lambda engine: engine.load_format is not None, "choice of how weights are read"
    ),
    "structured-output": _engine(
        "structuredOutput",
        lambda engine: engine.structured_output is not None,
        "choice of grammar backends",
    ),
    "tool-parser": _engine("toolParser", lambda engine: engine.tool_parser is not None, "tool parsers"),
    "reasoning-parser": _engine(
        "reasoningParser", lambda engine: engine.reasoning_parser is not None, "reasoning parsers"
    ),
    "speculative-ngram": _guesses("ngram", "speculative decoding by n-grams"),
    "speculative-draft": _guesses("draft", "speculative decoding by a draft model"),
    "speculative-mlp": _guesses("mlp", "speculative decoding by MLP heads"),
    "speculative-medusa": _guesses("medusa", "speculative decoding by Medusa heads"),
    "remote-code": Capability(
        "model.trustRemoteCode",
        lambda spec: spec.model.trust_remote_code is True,
        "way to serve a model that brings code of its own",
    ),
    "adapters": Capability(
        "model.adapters",
        lambda spec: bool(spec.model.served),
        "LoRA adapters under names of their own",
    ),
}
"""Capability to what asks for it; ``multi-node`` and ``kv-cache-TYPE`` are asked for by plans, not here."""


def lacking(spec: ModelDeploymentSpec, engine: EngineFacts) -> list[str]:
    """What the spec asks for and the engine has not, in words; empty when it has all."""
    found = [
        f"{engine.name} has no {one.what} (spec.{one.field})"
        for name, one in CAPABILITIES.items()
        if name not in engine.capabilities and one.asked(spec)
    ]
    dtype = spec.engine.kv_cache_dtype if spec.engine else None
    if dtype not in (None, "auto") and f"kv-cache-{dtype}" not in engine.capabilities:
        types = sorted(
            name.removeprefix("kv-cache-") for name in engine.capabilities if name.startswith("kv-cache-")
        )
        offer = f"; it has {', '.join(types)}" if types else ""
        found.append(f"{engine.name} has no KV cache of type {dtype} (spec.engine.kvCacheDtype){offer}")
    return found
