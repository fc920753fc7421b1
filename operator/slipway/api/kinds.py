"""The kinds of the API: names, columns, rules on the whole object. Read by ``schema`` and ``validate``."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.base import Model, Rule, matches
from slipway.api.modelartifact import ModelArtifactSpec, ModelArtifactStatus
from slipway.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus
from slipway.api.servingengine import ServingEngineSpec

NAME_LIMIT = 40
"""Bytes of a ModelDeployment's name: children append up to 23 to it and must stay DNS labels of 63."""
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""RFC 1035 label: a Service of this name must be valid."""
ENGINE_NAME = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


@dataclass(frozen=True)
class Column:
    """One printer column of ``kubectl get``; priority 1 shows with ``-o wide`` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    priority: int = 0

    def build(self) -> dict[str, str | int]:
        """The entry of ``additionalPrinterColumns``."""
        built: dict[str, str | int] = {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
        }
        return built | ({"priority": self.priority} if self.priority else {})


@dataclass(frozen=True)
class Kind:
    """One kind.

    Attributes:
        spec_rules: rules of ``spec`` that only make sense inside the object, such as immutability.
        root_rules: rules of the whole object; ``holds`` gets the object's name.
        named_rules: rules of name and spec together; ``holds`` gets both, as a pair.
        scale: whether it has the scale subresource.
        status: None for a kind that nobody reports on.
        namespaced: false for one of the whole cluster.
    """

    name: str
    plural: str
    short: str
    description: str
    spec: type[Model]
    status: type[Model] | None
    columns: tuple[Column, ...]
    root_rules: tuple[Rule, ...]
    spec_rules: tuple[Rule, ...] = ()
    named_rules: tuple[Rule, ...] = ()
    scale: bool = False
    namespaced: bool = True


_READY = '.status.conditions[?(@.type=="Ready")]'
_AGE = Column("Age", ".metadata.creationTimestamp", "Time since it was made.", "date")

NAME_RULE = Rule(
    cel=f"size(self.metadata.name) <= {NAME_LIMIT} && self.metadata.name.matches('{NAME_PATTERN}')",
    holds=lambda name: len(name) <= NAME_LIMIT and matches(NAME_PATTERN, name),
    message=f"the name must be at most {NAME_LIMIT} characters: lower-case letters, digits and dashes, "
    "starting with a letter (the Service and the Jobs are named after it)",
    field="metadata.name",
    reason="InvalidName",
)


def _served(name: str, spec: ModelDeploymentSpec) -> str:
    """Name by which clients ask for the model itself."""
    return (spec.engine.served_model_name if spec.engine else None) or name


ADAPTERS_RULE = Rule(
    cel="!has(self.spec.model.adapters) || self.spec.model.adapters.all(one, one.mode == 'merge' || "
    "one.name != (has(self.spec.engine) && has(self.spec.engine.servedModelName)"
    " ? self.spec.engine.servedModelName : self.metadata.name))",
    holds=lambda pair: all(one.name != _served(*pair) for one in pair[1].model.served),
    message="an adapter has the name of the model itself: requests choose by it, so it needs another",
    field="spec.model.adapters",
)

MODEL_DEPLOYMENT = Kind(
    name="ModelDeployment",
    plural="modeldeployments",
    short="mdl",
    description="A language model in production: pinned to a commit, optimised, measured, and served at an "
    "OpenAI-compatible URL. Only spec.model.source is required; status says what was decided, what it costs "
    "in quality, and what to do when it does not work.",
    spec=ModelDeploymentSpec,
    status=ModelDeploymentStatus,
    columns=(
        Column("Ready", f"{_READY}.status", "Whether the model answers as specified."),
        Column("Reason", f"{_READY}.reason", "Why, or why not."),
        Column("Progress", ".status.progress", "What works now."),
        Column("Engine", ".status.plan.engine", "Engine that serves."),
        Column("Format", ".status.plan.level", "Level that is served."),
        Column("Replicas", ".status.readyReplicas", "Engine pods that answer.", "integer"),
        Column("Checklist", ".status.checklist.summary", "Production checklist: PASS over all that applied."),
        Column("URL", ".status.url", "OpenAI-compatible base URL."),
        _AGE,
        Column("Source", ".spec.model.source", "The model.", priority=1),
        Column("Loss", ".status.qualityLoss", "Measured increase in perplexity against f16.", priority=1),
        Column("Message", f"{_READY}.message", "The whole reason.", priority=1),
    ),
    root_rules=(NAME_RULE,),
    named_rules=(ADAPTERS_RULE,),
    scale=True,
)

MODEL_ARTIFACT = Kind(
    name="ModelArtifact",
    plural="modelartifacts",
    short="mart",
    description="One result that models of this namespace share: a source at a commit, its f16, "
    "or one level. "
    "Made and removed by the operator; its name carries the hash of source and recipe.",
    spec=ModelArtifactSpec,
    status=ModelArtifactStatus,
    columns=(
        Column("Ready", f"{_READY}.status", "Whether it is whole and verified."),
        Column("Reason", f"{_READY}.reason", "Why, or why not."),
        Column("Level", ".spec.recipe.level", "Level; empty for a source."),
        Column("Stage", ".status.stage", "Stage that runs or comes next."),
        Column("Percent", ".status.progress.percent", "How far the stage is.", "integer"),
        Column("Bytes", ".status.sizeBytes", "Size of what is published.", "integer"),
        Column("Loss", ".status.quality.loss", "Increase in perplexity against f16."),
        _AGE,
        Column("Source", ".spec.source.uri", "The model.", priority=1),
        Column("Commit", ".spec.source.commit", "Its commit.", priority=1),
    ),
    root_rules=(
        Rule(
            cel="size(self.metadata.name) <= 63",
            holds=lambda name: len(name) <= 63,  # noqa: PLR2004 - RFC 1123
            message="the name must be at most 63 characters: its claim and label carry it",
            field="metadata.name",
            reason="InvalidName",
        ),
    ),
    spec_rules=(
        Rule(
            cel="self == oldSelf",
            holds=lambda _: True,
            message="a ModelArtifact never changes: its name carries the hash of its spec",
        ),
    ),
)

SERVING_ENGINE = Kind(
    name="ServingEngine",
    plural="servingengines",
    short="seng",
    description="An inference server of one's own, for the whole cluster: spec.engine.name of a "
    "ModelDeployment takes its name like that of a built-in engine.",
    spec=ServingEngineSpec,
    status=None,
    columns=(
        Column("Format", ".spec.format", "What it loads."),
        Column("Port", ".spec.port", "Where it listens.", "integer"),
        _AGE,
    ),
    root_rules=(
        Rule(
            cel=f"size(self.metadata.name) <= {NAME_LIMIT} && self.metadata.name.matches('{ENGINE_NAME}')"
            " && self.metadata.name != 'auto'",
            holds=lambda name: len(name) <= NAME_LIMIT and matches(ENGINE_NAME, name) and name != "auto",
            message="the name must be at most 40 lower-case letters, digits and dashes, and not auto: "
            "spec.engine.name takes it",
            field="metadata.name",
            reason="InvalidName",
        ),
    ),
    namespaced=False,
)

KINDS = (MODEL_DEPLOYMENT, MODEL_ARTIFACT, SERVING_ENGINE)
