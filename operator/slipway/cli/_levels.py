"""What was measured of a model's levels, read from its objects. For ``slipway compare`` and its picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.cli._cluster import UnreadableError, no_whole


@dataclass(frozen=True)
class Level:
    """One level, or the unquantised model; None for what was not measured.

    Attributes:
        size: of the published files, bytes.
        bits: a weight.
        loss: relative increase in perplexity, percent.
        band: published loss, such as ``3-5%``.
        kld: mean KL divergence, nats a token.
        agreement: percent of tokens whose likeliest is the same.
        speed: output tokens a second at the highest load of the benchmark; of the served level alone.
        served: it is what answers.
        unquantised: the others are measured against it.
        message: what is wrong, or that it is not there yet.
    """

    name: str
    size: int | None = None
    bits: float | None = None
    perplexity: float | None = None
    loss: float | None = None
    band: str | None = None
    kld: float | None = None
    agreement: float | None = None
    speed: float | None = None
    served: bool = False
    unquantised: bool = False
    message: str | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the band, percent; the same twice where one figure is published."""
        found = [float(one) for one in re.findall(r"[0-9]+(?:\.[0-9]+)?", self.band or "")]
        return (found[0], found[-1]) if found else None


def artifact_names(model: Mapping[str, Any]) -> list[str]:
    """Names of the ModelArtifacts that a ModelDeployment's status speaks of.

    Raises:
        UnreadableError: it is another kind, has pools, or nothing is planned yet.
    """
    name, status = (model.get("metadata") or {}).get("name"), model.get("status") or {}
    if model.get("kind") != "ModelDeployment" or not name:
        kind = model.get("kind") or "file without a kind"
        raise UnreadableError(f"this is a {kind}, not one ModelDeployment; see slipway compare --help")
    no_whole(dict(model))
    named = [one.get("name") for one in status.get("artifacts") or ()]
    named += [one.get("artifact") for one in status.get("compare") or ()]
    if not any(named):
        raise UnreadableError(
            f"{name} has no artifacts yet: `kubectl describe mdl {name}` says what it waits for"
        )
    return list(dict.fromkeys(str(one) for one in named if one))


def read_levels(model: Mapping[str, Any], artifacts: Iterable[Mapping[str, Any]]) -> list[Level]:
    """The levels of a model, the largest first.

    Args:
        model: a ModelDeployment with its status.
        artifacts: those that exist of ``artifact_names``; what belongs to companions is left out.
    """
    status = model.get("status") or {}
    source = status.get("source") or {}
    weights = int(source.get("parameters") or 0)
    named = {one["name"] for one in status.get("artifacts") or () if one["level"] == _served_level(status)}
    held = [one for one in artifacts if one["spec"]["source"]["uri"] == source.get("uri")]
    found = [_level(one, weights, status, served=one["metadata"]["name"] in named) for one in held]
    found = _with_source(held, [one for one in found if one.name != "source"], weights)
    made = {one.name for one in found}
    found += [
        Level(str(row["level"]), message=str(row.get("message") or "is not made yet"))
        for row in status.get("compare") or ()
        if row["level"] not in made
    ]
    return sorted(found, key=lambda one: (-(one.size or 0), one.name))


def _served_level(status: Mapping[str, Any]) -> str:
    return str((status.get("plan") or {}).get("level"))


def _level(artifact: Mapping[str, Any], weights: int, model: Mapping[str, Any], *, served: bool) -> Level:
    status = artifact.get("status") or {}
    quality = status.get("quality") or {}
    name = artifact["spec"]["recipe"].get("level") or "source"
    size = status.get("sizeBytes")
    return Level(
        name=name,
        size=size,
        bits=_bits(size, weights),
        perplexity=_number(quality.get("perplexity")),
        loss=_number(quality.get("loss")),
        band=quality.get("band"),
        kld=_number(quality.get("kld")),
        agreement=_number(quality.get("topAgreement")),
        speed=_speed(model) if served else None,
        served=served,
        unquantised=name in ("F16", "BF16", "source"),
        message=_trouble(status),
    )


def _with_source(held: list[Mapping[str, Any]], levels: list[Level], weights: int) -> list[Level]:
    """With the source as the unquantised model, where no f16 was made of it."""
    source = next((one for one in held if one["spec"]["recipe"]["method"] == "source"), None)
    if source is None or any(one.unquantised for one in levels):
        return levels
    status = source.get("status") or {}
    bases = [((one.get("status") or {}).get("quality") or {}).get("basePerplexity") for one in held]
    base = next((_number(one) for one in bases if one), None)
    size = status.get("sizeBytes")
    return [Level("source", size, _bits(size, weights), base, unquantised=True), *levels]


def _bits(size: int | None, weights: int) -> float | None:
    return 8 * size / weights if size and weights else None


def _number(text: str | None) -> float | None:
    try:
        return float(str(text).rstrip("%"))
    except ValueError:
        return None


def _speed(status: Mapping[str, Any]) -> float | None:
    levels = (status.get("benchmark") or {}).get("levels") or ()
    return max((_number(one.get("tokensPerSecond")) or 0.0 for one in levels), default=0.0) or None


def _trouble(status: Mapping[str, Any]) -> str | None:
    if failure := status.get("failure"):
        return str(failure["message"])
    ready = next((one for one in status.get("conditions") or () if one["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        return str((ready or {}).get("message") or "is not made yet")
    unknown = status.get("qualityUnknown")
    return f"QualityUnknown: {unknown}" if unknown else None
