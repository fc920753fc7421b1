"""What an engine file must state; read by manifests, checks and the CLI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.plan.decision import Plan
from slipway.settings import Settings


@dataclass(frozen=True)
class Metrics:
    """Names of the engine's Prometheus metrics by meaning.

    Attributes:
        prefix: what every metric of this engine starts with.
        running: gauge of the requests generated now.
        waiting: gauge of the requests that wait for a slot.
        prompt_tokens: counter of prompt tokens.
        generated_tokens: counter of generated tokens.
    """

    prefix: str
    running: str
    waiting: str
    prompt_tokens: str
    generated_tokens: str


@dataclass(frozen=True)
class Launch:
    """What one engine container is started from.

    Attributes:
        model_name: the name under which clients ask for the model (the ModelDeployment's name).
        model_path: folder inside the container that holds the published artifact.
    """

    spec: ModelDeploymentSpec
    plan: Plan
    model_name: str
    model_path: str


@dataclass(frozen=True)
class Drain:
    """How a pod leaves without dropping a request.

    Attributes:
        pre_stop: command of the preStop hook; returns once no request is processed, or at its own bound.
        grace_seconds: terminationGracePeriodSeconds, longer than the hook's bound.
    """

    pre_stop: tuple[str, ...]
    grace_seconds: int


@dataclass(frozen=True)
class EngineDef:
    """One engine; the whole of it is one file of this package.

    Attributes:
        name: value of ``spec.engine.name``.
        formats: artifact formats that it loads.
        architectures: node architectures that its default image runs on.
        port: TCP port of the OpenAI routes, ``/health`` and ``/metrics``.
        metrics: names of its metrics.
        reserved_args: argument name (without dashes, aliases included) that Slipway sets itself, to what to
            use in its place.
        image: settings and spec to the image reference.
        command: the container's command.
        args: the container's arguments, from plan and spec.
        env: the container's environment, name to value.
        startup_probe: exec probe that needs one generated token; budget computed from the weights.
        readiness_probe: probe dict of Kubernetes.
        liveness_probe: probe dict of Kubernetes.
        drain: preStop hook and grace period.
        problems: mistakes in the spec that only this engine knows.
    """

    name: str
    formats: frozenset[str]
    architectures: frozenset[str]
    port: int
    metrics: Metrics
    reserved_args: Mapping[str, str]
    image: Callable[[Settings, ModelDeploymentSpec], str]
    command: Callable[[Launch], list[str]]
    args: Callable[[Launch], list[str]]
    env: Callable[[Launch], dict[str, str]]
    startup_probe: Callable[[Plan], dict[str, Any]]
    readiness_probe: Callable[[Plan], dict[str, Any]]
    liveness_probe: Callable[[Plan], dict[str, Any]]
    drain: Drain
    problems: Callable[[ModelDeploymentSpec], list[Problem]]
