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
        field: of the spec's ``part`` that asks for it.
        asked: whether a spec's engine does.
        what: for people.
        wished: whether a spec does, where it is no field of the engine.
    """

    field: str
    asked: Callable[[Engine], bool]
    what: str
    part: str = "engine"
    wished: Callable[[ModelDeploymentSpec], bool] | None = None

    @property
    def name(self) -> str:
        """The field, with its part unless that is the engine."""
        return self.field if self.part == "engine" else f"{self.part}.{self.field}"

    def by(self, spec: ModelDeploymentSpec) -> bool:
        """Whether this spec asks for it."""
        return self.wished(spec) if self.wished else self.asked(spec.engine or Engine())


def _more(size: int | None) -> bool:
    return size is not None and size > 1


def _guesses(kind: str, what: str) -> Capability:
    def asked(engine: Engine) -> bool:
        return engine.speculative is not None and engine.speculative.kind == kind

    return Capability("speculative", asked, what)


CAPABILITIES: Final[Mapping[str, Capability]] = {
    "system-prompt": Capability(
        "generation.systemPrompt",
        lambda engine: engine.generation is not None and engine.generation.system_prompt is not None,
        "system prompt of the server's own",
    ),
    "sampling-defaults": Capability(
        "generation",
        lambda engine: (
            engine.generation is not None
            and bool(engine.generation.model_dump(exclude_none=True).keys() - {"system_prompt"})
        ),
        "defaults for requests that don't say otherwise",
    ),
    "tensor-parallel": Capability(
        "tensorParallel", lambda engine: _more(engine.tensor_parallel), "tensor parallel"
    ),
    "pipeline-parallel": Capability(
        "pipelineParallel", lambda engine: _more(engine.pipeline_parallel), "pipeline parallel"
    ),
    "data-parallel": Capability("dataParallel", lambda engine: _more(engine.data_parallel), "data parallel"),
    "memory-share": Capability(
        "gpuMemoryShare", lambda engine: engine.gpu_memory_share is not None, "share of device memory"
    ),
    "prefix-caching": Capability(
        "prefixCaching", lambda engine: engine.prefix_caching is not None, "switch for prefix caching"
    ),
    "chunked-prefill": Capability(
        "chunkedPrefill", lambda engine: engine.chunked_prefill is not None, "switch for chunked prefill"
    ),
    "load-format": Capability(
        "loadFormat", lambda engine: engine.load_format is not None, "choice of how weights are read"
    ),
    "structured-output": Capability(
        "structuredOutput",
        lambda engine: engine.structured_output is not None,
        "choice of grammar backends",
    ),
    "tool-parser": Capability("toolParser", lambda engine: engine.tool_parser is not None, "tool parsers"),
    "reasoning-parser": Capability(
        "reasoningParser", lambda engine: engine.reasoning_parser is not None, "reasoning parsers"
    ),
    "speculative-ngram": _guesses("ngram", "speculative decoding by n-grams"),
    "speculative-draft": _guesses("draft", "speculative decoding by a draft model"),
    "speculative-mlp": _guesses("mlp", "speculative decoding by MLP heads"),
    "speculative-medusa": _guesses("medusa", "speculative decoding by Medusa heads"),
    "adapters": Capability(
        "adapters",
        lambda _: False,
        "LoRA adapters under names of their own",
        part="model",
        wished=lambda spec: bool(spec.model.adapters),
    ),
}
"""Capability to what asks for it; ``multi-node`` and ``kv-cache-TYPE`` are asked for by plans, not here."""


def lacking(spec: ModelDeploymentSpec, engine: EngineFacts) -> list[str]:
    """What the spec asks for and the engine has not, in words; empty when it has all."""
    wished = spec.engine or Engine()
    found = [
        f"{engine.name} has no {one.what} (spec.{one.part}.{one.field})"
        for name, one in CAPABILITIES.items()
        if name not in engine.capabilities and one.by(spec)
    ]
    dtype = wished.kv_cache_dtype
    if dtype not in (None, "auto") and f"kv-cache-{dtype}" not in engine.capabilities:
        types = sorted(
            name.removeprefix("kv-cache-") for name in engine.capabilities if name.startswith("kv-cache-")
        )
        offer = f"; it has {', '.join(types)}" if types else ""
        found.append(f"{engine.name} has no KV cache of type {dtype} (spec.engine.kvCacheDtype){offer}")
    return found
