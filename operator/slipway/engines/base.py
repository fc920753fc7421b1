"""What an engine file must state; read by manifests, checks and the CLI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway.api.modeldeployment import ModelDeploymentSpec, Speculative
from slipway.api.validate import Problem
from slipway.engines import lifecycle
from slipway.plan.companions import LORA
from slipway.plan.decision import Plan
from slipway.plan.facts import EngineFacts
from slipway_runtime.gguf_files import model_file

GGUF_CAPABILITIES: Final = frozenset({"remote-code"})
"""What every engine of GGUF can: the file has no code in it, so there is none to run or to refuse."""


@dataclass(frozen=True)
class Metrics:
    """Names of the engine's Prometheus metrics by meaning.

    Attributes:
        prefix: what every metric of this engine starts with.
        running: gauge of the requests generated now.
        waiting: gauge of the requests that wait for a slot.
        prompt_tokens: counter of prompt tokens.
        generated_tokens: counter of generated tokens.
        ttft: histogram of the time to the first token, seconds; empty when the engine has none.
        kv_use: gauge of the KV cache in use, 0 to 1; empty when the engine has none.
        drafted: counter of tokens guessed by speculative decoding; empty when the engine has none.
        accepted: counter of those that the model took.
        path: where they are served.
    """

    prefix: str
    running: str
    waiting: str
    prompt_tokens: str
    generated_tokens: str
    ttft: str = ""
    kv_use: str = ""
    drafted: str = ""
    accepted: str = ""
    path: str = "/metrics"


@dataclass(frozen=True)
class Mounted:
    """A companion inside the container.

    Attributes:
        name: ``draft``, or the adapter's name.
        kind: ``draft``, ``mlp``, ``medusa`` or ``lora``.
        path: folder that holds its published artifact.
        rank: the largest of an adapter.
    """

    name: str
    kind: str
    path: str
    rank: int = 0

    @property
    def pair(self) -> str:
        """NAME=PATH, as engines are told of an adapter."""
        return f"{self.name}={self.path}"


@dataclass(frozen=True)
class Launch:
    """What one engine container is started from.

    Attributes:
        model_name: the name under which clients ask for the model (the ModelDeployment's name).
        model_path: folder inside the container that holds the published artifact.
        companions: what is mounted beside it. Engines take draft and adapters from here: the spec may be
            ahead of the revision that serves.
    """

    spec: ModelDeploymentSpec
    plan: Plan
    model_name: str
    model_path: str
    companions: tuple[Mounted, ...] = ()

    @property
    def model_file(self) -> str:
        """The GGUF file, or the first of its parts: engines find the others by its name."""
        return f"{self.model_path}/{self.file_name}"

    @property
    def file_name(self) -> str:
        """Its name inside the folder."""
        return model_file(self.plan.source_files)

    @property
    def embeds(self) -> bool:
        """The model turns text into vectors."""
        return self.plan.embeds

    @property
    def trusts_code(self) -> bool:
        """The model's own Python may run."""
        return self.spec.model.trust_remote_code is True

    @property
    def ngram(self) -> Speculative | None:
        """Guesses by n-gram, when the spec asks for them."""
        guess = self._guess
        return guess if guess and guess.kind == "ngram" else None

    @property
    def draft(self) -> Mounted | None:
        """The weights that guess, when the spec asks for them and they are there."""
        kind = self._guess.kind if self._guess else ""
        return next((one for one in self.companions if one.kind == kind), None)

    @property
    def guessed(self) -> int:
        """Tokens guessed at once; 0 without speculative decoding."""
        return self._guess.count if self._guess else 0

    @property
    def adapters(self) -> tuple[Mounted, ...]:
        """Adapters, in the order of the spec."""
        return tuple(one for one in self.companions if one.kind == LORA)

    @property
    def _guess(self) -> Speculative | None:
        return self.spec.engine.speculative if self.spec.engine else None


@dataclass(frozen=True)
class EngineDef:
    """One engine; the whole of it is one file of this package.

    Attributes:
        facts: what the planner knows of it: name, methods by accelerator, capabilities.
        images: accelerator to the default image; empty where the installation's settings name it.
        port: TCP port of the OpenAI routes, the health route and the metrics.
        metrics: names of its metrics.
        reserved_args: argument name (without dashes, aliases included) that Slipway sets itself, to what to
            use in its place.
        command: the container's command; empty for the image's own.
        args: the container's arguments, from plan and spec.
        env: the container's environment, name to value.
        startup_probe: exec probe that needs one generated token; budget computed from the weights.
        problems: mistakes in the spec that only this engine knows.
        health: route that answers 200 while the server lives.
        scratch: size of /tmp, where it keeps caches.
    """

    facts: EngineFacts
    images: Mapping[str, str]
    port: int
    metrics: Metrics
    reserved_args: Mapping[str, str]
    command: Callable[[Launch], list[str]]
    args: Callable[[Launch], list[str]]
    env: Callable[[Launch], dict[str, str]]
    startup_probe: Callable[[Launch], dict[str, Any]]
    problems: Callable[[ModelDeploymentSpec], list[Problem]]
    health: str = "/health"
    scratch: str = "256Mi"

    @property
    def name(self) -> str:
        """Value of ``spec.engine.name``."""
        return self.facts.name

    @property
    def readiness_probe(self) -> dict[str, Any]:
        """Probe dict of Kubernetes."""
        return lifecycle.readiness_probe(self.health)

    @property
    def liveness_probe(self) -> dict[str, Any]:
        """Probe dict of Kubernetes."""
        return lifecycle.liveness_probe(self.health)

    @property
    def drain(self) -> lifecycle.Drain:
        """The preStop hook and the grace period."""
        return lifecycle.drain(self.port)
