"""ModelDeployment v1alpha1, ``spec.pools`` and its status. Imported by ``modeldeployment``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.base import Bounded, LabelValue, Model, Name, Rule, Text, keys_rule
from slipway.api.enginespec import Engine, Toleration
from slipway.api.optimize import Optimize

MOST_POOLS = 8
PoolName = Annotated[str, Field(min_length=1, max_length=12, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


class Pool(Model):
    """One kind of nodes for the same model, planned by itself, as a ModelDeployment NAME-POOL of its own."""

    name: PoolName
    """Short name of the pool; with the model's own name at most 40 characters."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels of the pool's nodes; absent leaves the choice to its plan."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = None
    """Taints that the pool's pods tolerate, beside those of spec.engine.podOverrides."""
    optimize: Optimize | None = None
    """What is different from spec.optimize, field by field."""
    engine: Engine | None = None
    """What is different from spec.engine, field by field."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Replicas that the pool keeps whatever the others have; default 0."""
    max_replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Replicas that the pool takes at most; absent is no limit but its nodes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
            holds=lambda pool: pool.max_replicas is None or (pool.min_replicas or 0) <= pool.max_replicas,
            message="minReplicas must not be greater than maxReplicas",
            field="minReplicas",
        ),
        keys_rule("nodeSelector", "node_selector"),
    )


class PoolStatus(Model):
    """One pool, in the order in which pools are filled."""

    name: Name
    """The pool."""
    model_deployment: Name
    """The ModelDeployment that serves it; its status has plan, figures and checklist."""
    replicas: int
    """Replicas that it is given."""
    ready_replicas: int
    """Replicas that answer."""
    state: Literal["Filling", "Full", "Idle"]
    """Filling takes replicas as they come; Full has no room, so that others take them until retryAt; Idle has
    none and needs none."""
    plan: Bounded | None = None
    """Engine, method, level and device, once it is planned."""
    token_price: Bounded | None = None
    """Currency for a million tokens at full load, by the planner's bound; absent without prices of nodes."""
    message: Text | None = None
    """Why it is full."""
    full_since: Annotated[str, Field(max_length=32)] | None = None
    """Since when."""
    retry_at: Annotated[str, Field(max_length=32)] | None = None
    """When it is given a replica again; sooner when it gets more nodes."""
    failures: int | None = None
    """How often in a row it had no room; the wait doubles with each."""
    held: int | None = None
    """Replicas that answered when it was found full."""
    nodes: int | None = None
    """Nodes that it had then."""
