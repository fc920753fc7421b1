"""Engines of ServingEngine objects, as if each were a file of this package. Called by the package alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from slipway.api import reasons
from slipway.api.modeldeployment import Engine, Generation, ModelDeploymentSpec
from slipway.api.optimize import FOLDERS
from slipway.api.servingengine import ServingEngineSpec, unknown_placeholders
from slipway.api.validate import Problem
from slipway.engines import openai
from slipway.engines.arguments import argument_problems, user_args
from slipway.engines.base import EngineDef, Launch, Metrics
from slipway.errors import InvalidSpecError
from slipway.plan.capabilities import CAPABILITIES
from slipway.plan.facts import EngineFacts, Loads
from slipway.plan.quantities import GIB, quantity

DEFAULT_PORT: Final = 8000
GGUF_FILE: Final = "model.gguf"
OWN_CAPABILITIES: Final = frozenset({*CAPABILITIES, "multi-node"} - {"system-prompt", "adapters"})
"""A placeholder stands for one text: adapters would be as many as the spec has."""
RANK: Final = 50
_NAME: Final = re.compile(r"\{([A-Za-z]+)\}")


def build_engine(name: str, given: Mapping[str, Any]) -> EngineDef:
    """The engine of a ServingEngine.

    Args:
        name: of the object.
        given: its ``spec``.

    Raises:
        InvalidSpecError: ``UnknownEngine``, the object makes no sense; the message names it and says what.
    """
    spec = _read(name, given)
    form_methods = ("gguf",) if spec.format == "gguf" else tuple(spec.methods or ("none",))
    loads = tuple(Loads(method, at_load=method in (spec.at_load or ())) for method in form_methods)
    architectures = frozenset(spec.architectures or ("amd64",))
    port = spec.port or DEFAULT_PORT
    health = spec.health_path or "/health"
    return EngineDef(
        facts=EngineFacts(
            name=name,
            loads=dict.fromkeys(spec.images, loads),
            architectures=dict.fromkeys(spec.images, architectures),
            reads=dict.fromkeys(spec.images, _reads(form_methods)),
            capabilities=frozenset(spec.capabilities or ()),
            rank=RANK,
            overhead=int(quantity(spec.device_overhead or GIB)),
            host_memory=int(quantity(spec.host_memory or 2 * GIB)),
        ),
        images=dict(spec.images),
        port=port,
        metrics=_metrics(spec),
        reserved_args={},
        command=lambda launch: _filled(spec.command or (), launch, port),
        args=lambda launch: _args(spec, launch, port),
        env=lambda launch: _env(spec, launch, port),
        startup_probe=lambda launch: _startup_probe(spec, launch, port),
        health=health,
        problems=_problems,
        scratch=spec.scratch or "1Gi",
    )


def _reads(loaded: tuple[str, ...]) -> frozenset[str]:
    """Levels that Jobs make, of its methods: what reads compressed-tensors is taken to read all of them."""
    made = (level for method in loaded for level in FOLDERS.get(method, ()))
    return frozenset(made if "compressed-tensors" in loaded else ())


def _read(name: str, given: Mapping[str, Any]) -> ServingEngineSpec:
    try:
        spec = ServingEngineSpec.model_validate_json(json.dumps(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _wrong(name, f"spec.{where}: {first['msg']}") from error
    for rule in spec.rules:
        if not rule.holds(spec):
            raise _wrong(name, f"spec.{rule.field}: {rule.message}")
    if unknown := unknown_placeholders(spec):
        raise _wrong(name, f"nothing is put in place of {{{unknown[0]}}}")
    types = {one for one in spec.capabilities or () if not one.startswith("kv-cache-")}
    if strange := sorted(types - OWN_CAPABILITIES):
        known = ", ".join(sorted(OWN_CAPABILITIES))
        raise _wrong(name, f"spec.capabilities: {strange[0]} is none; known are kv-cache-TYPE, {known}")
    return spec


def _wrong(name: str, text: str) -> InvalidSpecError:
    return InvalidSpecError(reasons.UNKNOWN_ENGINE, f"ServingEngine {name} can't be used: {text}")


def _metrics(spec: ServingEngineSpec) -> Metrics:
    given = spec.metrics
    return Metrics(
        prefix=given.prefix,
        running=given.running or "",
        waiting=given.waiting or "",
        prompt_tokens=given.prompt_tokens or "",
        generated_tokens=given.generated_tokens or "",
        ttft=given.ttft or "",
        kv_use=given.kv_use or "",
        path=given.path or "/metrics",
    )


def _args(spec: ServingEngineSpec, launch: Launch, port: int) -> list[str]:
    """The arguments, then those of what plan and spec ask for, then the user's own."""
    wished, plan = launch.spec.engine or Engine(), launch.plan
    asked = {name for name, one in CAPABILITIES.items() if one.asked(launch.spec)}
    parallel = {
        "tensor-parallel": plan.parallel.tensor,
        "pipeline-parallel": plan.parallel.pipeline,
        "data-parallel": plan.parallel.data,
        "multi-node": plan.parallel.pods,
    }
    asked |= {name for name, size in parallel.items() if size > 1}
    if wished.kv_cache_dtype not in (None, "auto"):
        asked.add(f"kv-cache-{wished.kv_cache_dtype}")
    more = [one for name in sorted(asked) for one in (spec.capabilities or {}).get(name, ())]
    return [*_filled([*spec.args, *more], launch, port), *user_args(launch.spec)]


def _env(spec: ServingEngineSpec, launch: Launch, port: int) -> dict[str, str]:
    values = placeholders(launch, port)
    own = {name: _fill(text, values) for name, text in (spec.env or {}).items()}
    return {"HOME": "/tmp", "HF_HUB_OFFLINE": "1", **own}  # noqa: S108 - the pod's own emptyDir


def _startup_probe(spec: ServingEngineSpec, launch: Launch, port: int) -> dict[str, Any]:
    probe = openai.startup_probe(launch, port)
    if spec.request is None:
        return probe
    body = _fill(spec.request.body, placeholders(launch, port))
    command = (
        f"curl -fsS -m {openai.TOKEN_SECONDS} -H 'Content-Type: application/json' -d '{body}' "
        f"http://127.0.0.1:{port}{spec.request.path} | grep -Eq '{spec.request.expect}'"
    )
    return {**probe, "exec": {"command": ["/bin/sh", "-c", command]}}


def _filled(texts: list[str] | tuple[str, ...], launch: Launch, port: int) -> list[str]:
    values = placeholders(launch, port)
    return [_fill(text, values) for text in texts]


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: values.get(match[1], match[0]), text)


def placeholders(launch: Launch, port: int) -> dict[str, str]:
    """What ``api.servingengine.PLACEHOLDERS`` stand for; what nobody said is empty."""
    plan, wished = launch.plan, launch.spec.engine or Engine()
    generation, guess, draft = wished.generation or Generation(), launch.ngram, launch.draft
    device = plan.accelerator
    values: dict[str, Any] = {
        "modelPath": launch.model_path,
        "modelFile": f"{launch.model_path}/{GGUF_FILE}",
        "modelName": launch.model_name,
        "port": port,
        "contextLength": plan.context_length,
        "concurrency": plan.concurrency,
        "threads": plan.threads,
        "dtype": plan.dtype or "auto",
        "tensorParallel": plan.parallel.tensor,
        "pipelineParallel": plan.parallel.pipeline,
        "dataParallel": plan.parallel.data,
        "devices": device.count if device else 0,
        "gpuMemoryShare": f"{device.share / 100:g}" if device else "",
        "quantization": plan.method if plan.at_load else "",
        "kvCacheDtype": wished.kv_cache_dtype,
        "loadFormat": wished.load_format,
        "structuredOutput": wished.structured_output,
        "toolParser": wished.tool_parser,
        "reasoningParser": wished.reasoning_parser,
        "speculativeTokens": launch.guessed or None,
        "speculativeWindow": guess.longest_run if guess else None,
        "draftPath": draft.path if draft else None,
        "temperature": generation.temperature,
        "topP": generation.top_p,
        "topK": generation.top_k,
        "maxTokens": generation.max_tokens,
    }
    return {name: "" if value is None else str(value) for name, value in values.items()}


def _problems(spec: ModelDeploymentSpec) -> list[Problem]:
    return argument_problems(spec, {})
