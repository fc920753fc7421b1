"""The spec of one pool: that of all, and what the pool says otherwise. Pure; for manifests and validate."""

from __future__ import annotations

from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec, Pool


def pool_wish(spec: ModelDeploymentSpec, name: str, pool: Pool, replicas: int) -> dict[str, Any]:
    """The spec of one pool as JSON: that of all, with what the pool says otherwise, field by field.

    Args:
        spec: of the ModelDeployment with pools.
        name: its name, by which clients ask for the model at any pool.
        pool: one of them.
        replicas: dealt to it.
    """
    whole = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    own = pool.model_dump(mode="json", by_alias=True, exclude_none=True)
    engine = _over(whole.get("engine"), own.get("engine"))
    engine.setdefault("servedModelName", name)
    if guess := (own.get("engine") or {}).get("speculative"):
        engine["speculative"] = guess  # a revision of one draft is none of another
    pod = engine.setdefault("podOverrides", {})
    # Jobs need no node of the pool where volumes reach every node: there may be none yet.
    place = engine if spec.shares_store else pod
    if selector := {**place.get("nodeSelector", {}), **own.get("nodeSelector", {})}:
        place["nodeSelector"] = selector
    if tolerations := [*pod.get("tolerations", ()), *own.get("tolerations", ())]:
        pod["tolerations"] = tolerations
    if not pod:
        del engine["podOverrides"]
    made = {key: value for key, value in whole.items() if key not in ("pools", "autoscaling", "suspend")}
    made |= {"engine": engine, "replicas": replicas}
    if optimize := _over(whole.get("optimize"), own.get("optimize")):
        made["optimize"] = optimize
    return made


def pool_spec(spec: ModelDeploymentSpec, name: str, pool: Pool, replicas: int) -> ModelDeploymentSpec:
    """``pool_wish``, typed.

    Raises:
        ValidationError: the sum is wrong, which ``validate.problems`` says of the whole.
    """
    return ModelDeploymentSpec.model_validate(pool_wish(spec, name, pool, replicas))


def _over(below: Any, above: Any) -> dict[str, Any]:
    """Two maps, the second over the first, maps inside them likewise; lists are taken whole."""
    merged = dict(below or {})
    for key, value in (above or {}).items():
        merged[key] = _over(merged.get(key), value) if isinstance(value, dict) else value
    return merged
