"""What serves goes on while another revision is made, or can't be: its children heal and scale as asked.

A step of the ModelDeployment's pass.
"""

from __future__ import annotations

import orjson
from pydantic import ValidationError

from slipway import engines
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.manifests.names import ARTIFACT_DIGEST, REVISION
from slipway.manifests.places import Place, place_of
from slipway.manifests.revision import Pinned, pinned_settings
from slipway.manifests.serving import PublishedArtifact, build_serving
from slipway.observe.observed import Raw
from slipway.passes import companions, serving
from slipway.passes.artifact import is_ready
from slipway.passes.kept import read_revision
from slipway.passes.outcome import Draft
from slipway.passes.scene import Chosen, Scene
from slipway.plan.workload import KINDS, template, with_pods_of


def loose_spec(model: Raw) -> ModelDeploymentSpec | None:
    """The spec, well-formed though a rule refuses it: replicas, autoscaling and access are as meant.

    None when its form is wrong: then nothing of it may be trusted.
    """
    try:
        return ModelDeploymentSpec.model_validate_json(orjson.dumps(model["spec"]))
    except ValidationError:
        return None


def keep_serving(scene: Scene, draft: Draft) -> None:
    """Ask for the children of the revision that serves, if one does, with the scale and access of now."""
    chosen = _serving(scene, draft)
    served = _served(scene, chosen.pinned) if chosen else None
    if chosen and served:
        settings = pinned_settings(scene.settings, chosen.pinned)
        wished = build_serving(scene.owner, scene.spec, chosen.pinned.plan, served, settings, chosen.name)
        kept = [one for one in (_as_it_runs(scene, one, served) for one in wished) if one]
        planned = {_name(one) for one in draft.apply}
        draft.apply += [one for one in kept if _name(one) not in planned]
        serving.prune(scene, wished, draft)
        serving.hand_over_replicas(scene, serving.workload_of(wished), draft)
    serving.report_available(scene.seen, draft)


def _serving(scene: Scene, draft: Draft) -> Chosen | None:
    """The revision that the workload names, or else the one that was measured while it served."""
    marks = (scene.seen.workload or {}).get("metadata", {}).get("annotations", {})
    measured = str((draft.fields.get("benchmark") or {}).get("revision", "")).partition("@")[0]
    name = str(marks.get(REVISION, "") or measured)
    raw = next((raw for raw in scene.seen.revisions if raw["metadata"]["name"] == name), None)
    try:
        return Chosen(name, read_revision(raw)) if raw else None
    except ValueError:
        return None


def _served(scene: Scene, pinned: Pinned) -> PublishedArtifact | None:
    """What the revision serves: as the artifact says, or else as the running pods' template does."""
    name = pinned.artifacts[-1]
    artifact = scene.seen.artifacts.get(name)
    level = pinned.plan.level
    beside = companions.published(scene, pinned)
    if beside is None and scene.seen.workload is None:
        return None  # there is no template to keep
    if artifact is not None and is_ready(artifact):
        status = artifact["status"]
        place = place_of(artifact, scene.spec.store)
        return PublishedArtifact(name, place, status["digest"], level, beside or ())
    marks = template(scene.seen.workload).get("metadata", {}).get("annotations", {})
    place = Place(claim=name)  # the running pods keep their own template: only what stands beside it is new
    return PublishedArtifact(name, place, marks[ARTIFACT_DIGEST], level) if ARTIFACT_DIGEST in marks else None


def _as_it_runs(scene: Scene, wished: Raw, served: PublishedArtifact) -> Raw | None:
    """The child with the running pods' own template: the spec of now is another one's. None to let be."""
    if wished["kind"] not in KINDS:
        return wished
    observed = scene.workload(wished["kind"])
    if observed is None:
        artifact = scene.seen.artifacts.get(served.name)
        whole = is_ready(artifact) and not engines.problems(scene.spec, scene.settings)
        return wished if whole else None
    if wished["spec"].get("replicas") in (None, observed["spec"].get("replicas", 1)):
        return None
    return with_pods_of(wished, observed)


def _name(raw: Raw) -> tuple[str, str]:
    return raw["kind"], raw["metadata"]["name"]
