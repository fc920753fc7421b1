"""Specs and revisions, each read once: that costs more than the rest of a settled pass. For both passes."""

from __future__ import annotations

from slipway import engines
from slipway.api import reasons, validate
from slipway.api.base import LocalRef
from slipway.api.modeldeployment import REMOTE, ModelDeploymentSpec, Store
from slipway.errors import InvalidSpecError
from slipway.manifests.revision import Pinned, read_pinned
from slipway.observe.observed import Raw
from slipway.plan.spec_hash import planning_hash
from slipway.settings import Settings

_KEPT = 4096
_read: dict[tuple[str, int, int], ModelDeploymentSpec | InvalidSpecError] = {}
_revisions: dict[str, Pinned] = {}


def read_spec(model: Raw, settings: Settings | None) -> ModelDeploymentSpec:
    """The typed spec; kept by generation, since validation costs more than the rest of a settled pass.

    Another set of engines may make a wrong name right; without settings the engines are not asked.

    Raises:
        InvalidSpecError: reason of the first problem, messages of all.
    """
    meta = model["metadata"]
    key = (str(meta["uid"]), int(meta.get("generation", 0)), hash(settings and settings.serving_engines))
    if key not in _read:
        while len(_read) >= _KEPT:
            del _read[next(iter(_read))]
        _read[key] = _parse(model, settings)
    found = _read[key]
    if isinstance(found, InvalidSpecError):
        raise found
    return found


def _parse(model: Raw, settings: Settings | None) -> ModelDeploymentSpec | InvalidSpecError:
    try:
        spec = validate.parse({"metadata": {"name": model["metadata"]["name"]}, "spec": model["spec"]})
    except InvalidSpecError as error:
        return error
    found = engines.problems(spec, settings) if settings else []
    if found:
        return InvalidSpecError(found[0].reason, "; ".join(one.message for one in found))
    return spec


def with_store(spec: ModelDeploymentSpec, settings: Settings) -> ModelDeploymentSpec:
    """The spec with what the installation says of stores, where it says nothing itself.

    Raises:
        InvalidSpecError: what is served is to be pushed, and nobody says where.
    """
    store = spec.store or Store()
    kind = store.type or settings.store_type
    if kind not in REMOTE:
        return spec
    repository = store.repository or settings.store_repository
    if not repository:
        message = f"spec.store.repository: type {kind} needs one, and the chart's store.repository names none"
        raise InvalidSpecError(reasons.INVALID_SPEC, message)
    # The installation's Secret is for the installation's repository alone.
    secret = store.secret_ref
    if secret is None and settings.store_secret and not store.repository:
        secret = LocalRef(name=settings.store_secret)
    update = {"type": kind, "repository": repository, "secret_ref": secret}
    return spec.model_copy(update={"store": store.model_copy(update=update)})


def spec_hash(written: ModelDeploymentSpec, spec: ModelDeploymentSpec) -> str:
    """The planning hash of a spec whose store may be the installation's.

    Where a registry or bucket keeps what is served, its name is made of type and repository: another one is
    another plan, whoever says it. The installation's Secret is none, nor is anything about claims.

    Args:
        written: as the user wrote it.
        spec: the same, from ``with_store``.
    """
    if spec.store is None or spec.store.type not in REMOTE:
        return planning_hash(written)
    update = {"type": spec.store.type, "repository": spec.store.repository}
    return planning_hash(
        written.model_copy(update={"store": (written.store or Store()).model_copy(update=update)})
    )


def read_revision(raw: Raw) -> Pinned:
    """What a ControllerRevision pins; kept by uid, since a revision never changes.

    Raises:
        ValueError: its data is of another shape.
    """
    uid = str(raw["metadata"]["uid"])
    if uid not in _revisions:
        while len(_revisions) >= _KEPT:
            del _revisions[next(iter(_revisions))]
        _revisions[uid] = read_pinned(raw)
    return _revisions[uid]
