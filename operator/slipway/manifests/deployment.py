"""The Deployment of the engine's pods. Called by serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec, PodOverrides
from slipway.engines import EngineDef, Launch, engine_named, image_of
from slipway.manifests import companions, names, places, pod
from slipway.manifests.owner import Owner, PublishedArtifact, child
from slipway.manifests.placement import placement
from slipway.manifests.places import Place
from slipway.plan.capacity import least_replicas, spreads
from slipway.plan.decision import Plan
from slipway.plan.quantities import bytes_text, cpu_text, quantity
from slipway.resources import DEPLOYMENT, Resource
from slipway.settings import Settings

MODEL_PATH = "/models"
MODEL_VOLUME = "model"
CONTAINER = "engine"
HTTP = "http"
PROGRESS_MARGIN_SECONDS = 300
"""On top of the startup budget: image pull and scheduling."""
DEFAULT_PROGRESS_SECONDS = 600


def selector(name: str) -> dict[str, str]:
    """Labels that select the engine pods of ModelDeployment ``name``; immutable, so there are only two."""
    return {names.MODEL: name, names.COMPONENT: names.ENGINE_COMPONENT}


@dataclass(frozen=True)
class Serving:
    """What the pods of an engine are made from.

    Attributes:
        owner: the ModelDeployment.
        spec: its spec.
        plan: the pinned plan.
        artifact: what is served.
        settings: with the pinned images (``revision.pinned_settings``).
        revision: name of the ControllerRevision.
    """

    owner: Owner
    spec: ModelDeploymentSpec
    plan: Plan
    artifact: PublishedArtifact
    settings: Settings
    revision: str

    @property
    def engine(self) -> EngineDef:
        """The plan's engine."""
        return engine_named(self.settings, self.plan.engine)

    @property
    def launch(self) -> Launch:
        """What its container is started from."""
        name = names.served_name(self.owner.name, self.spec)
        beside = tuple(one.mounted for one in self.artifact.companions)
        return Launch(self.spec, self.plan, name, MODEL_PATH, companions=beside)

    @property
    def places(self) -> dict[str, Place]:
        """Where everything lies that the container mounts, by the name of its volume."""
        return {MODEL_VOLUME: self.artifact.place, **companions.volumes(self.artifact)}

    @property
    def rolling(self) -> dict[str, int]:
        """How an update goes: with one more first, where there is room for one."""
        return rolling(self.plan.surges(least_replicas(self.spec)))

    def workload(self, resource: Resource, body: dict[str, Any], name: str = "") -> dict[str, Any]:
        """The object that keeps the pods; without ``replicas`` while autoscaling is set."""
        about = {"model": self.owner.name, "artifact": self.artifact.name}
        own = names.labels(self.plan.engine, names.ENGINE_COMPONENT, **about)
        count = {} if self.spec.autoscaling else {"replicas": self.spec.replicas}
        marks = {names.REVISION: self.revision}
        return {
            **child(self.owner, resource, own, name=name, annotations=marks),
            "spec": {**body, **count},
        }


def build_deployment(served: Serving) -> dict[str, Any]:
    """The Deployment, named as its owner."""
    startup = served.engine.startup_probe(served.launch)
    budget = startup["periodSeconds"] * startup["failureThreshold"] + PROGRESS_MARGIN_SECONDS
    body: dict[str, Any] = {
        # Said though it is the default: ``kubectl rollout pause`` would keep every later update from coming.
        "paused": False,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": max(DEFAULT_PROGRESS_SECONDS, budget),
        "selector": {"matchLabels": selector(served.owner.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": served.rolling},
        "template": build_template(served),
    }
    return served.workload(DEPLOYMENT, body)


def rolling(surge: bool) -> dict[str, int]:
    """One more before one less: nothing is dropped, and a candidate that never gets ready changes nothing.

    Where one more has no room, one less comes first: a moment of less, in place of an update that never ends.
    """
    return {"maxSurge": 1, "maxUnavailable": 0} if surge else {"maxSurge": 0, "maxUnavailable": 1}


def without_surge(deployment: dict[str, Any]) -> dict[str, Any]:
    """The Deployment with updates that stop one pod before they start the next."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling(surge=False)}
    return {**deployment, "spec": {**deployment["spec"], "strategy": strategy}}


def build_template(served: Serving) -> dict[str, Any]:
    """Template of a pod that serves; of several pods of one replica, of their leader."""
    owner, spec, plan, artifact = served.owner, served.spec, served.plan, served.artifact
    engine, settings = served.engine, served.settings
    overrides = (spec.engine.pod_overrides if spec.engine else None) or PodOverrides()
    own = {**dict(owner.labels), **names.labels(engine.name, names.ENGINE_COMPONENT, model=owner.name)}
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(engine.port),
        "prometheus.io/path": engine.metrics.path,
        **(overrides.annotations or {}),
        # Another artifact is another pod, though its name may be the same.
        names.ARTIFACT_DIGEST: artifact.digest,
        **companions.marks(artifact),
    }
    body: dict[str, Any] = {
        **places.pulling(pod.pod_basics(settings), served.places.values(), settings),
        **placement(spec, plan).fields(None if spreads(spec) else _together(owner.name)),
        "terminationGracePeriodSeconds": engine.drain.grace_seconds,
        **(_apart(owner.name) if spreads(spec) else {}),
        "containers": [_container(served)],
        "volumes": _volumes(served),
    }
    if fetchers := places.copies(served.places, settings):
        body["initContainers"] = fetchers
    if overrides.priority_class_name:
        body["priorityClassName"] = overrides.priority_class_name
    return {
        "metadata": {"labels": {**(overrides.labels or {}), **own}, "annotations": annotations},
        "spec": body,
    }


def _together(name: str) -> dict[str, Any]:
    """A ReadWriteOnce volume is attached to one node at a time: all pods go there.

    A preference: a volume on a node's own disk pins its pods anyway, and where all pods move, the first of
    them has no neighbour. A zonal disk pins the zone alone: there, a pod of an update may get another node
    and wait for the disk until the pass lets an old one go (``without_surge``).
    """
    wish = [{"weight": 100, "podAffinityTerm": _mine(name)}]
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wish}}


def _apart(name: str) -> dict[str, Any]:
    """Nodes can share the volume: one that goes takes as few replicas as can be with it."""
    spread = {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", **_mine(name)}
    return {"topologySpreadConstraints": [spread]}


def _mine(name: str) -> dict[str, Any]:
    return {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector(name)}}


def _container(served: Serving) -> dict[str, Any]:
    engine, launch, settings = served.engine, served.launch, served.settings
    spec, plan = served.spec, served.plan
    return {
        "name": CONTAINER,
        "image": image_of(settings, spec, plan),
        "imagePullPolicy": settings.images.pull_policy,
        "command": pod.literal(engine.command(launch)),
        "args": pod.literal(engine.args(launch)),
        "env": pod.env_list(engine.env(launch)),
        "ports": [{"name": HTTP, "containerPort": engine.port, "protocol": "TCP"}],
        "resources": _resources(spec, plan),
        "startupProbe": engine.startup_probe(launch),
        "readinessProbe": engine.readiness_probe,
        "livenessProbe": engine.liveness_probe,
        "lifecycle": {"preStop": {"exec": {"command": list(engine.drain.pre_stop)}}},
        "securityContext": pod.container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(served),
    }


def _volumes(served: Serving) -> list[dict[str, Any]]:
    model, *beside = (places.volume(name, one, served.settings) for name, one in served.places.items())
    return [
        model,
        pod.scratch("tmp", served.engine.scratch),
        pod.scratch("shm", bytes_text(served.plan.resources.shared_memory), "Memory"),
        *beside,
        *places.copy_volumes(served.places, served.settings),
    ]


def _mounts(served: Serving) -> list[dict[str, Any]]:
    paths = {MODEL_VOLUME: MODEL_PATH, **companions.paths(served.artifact)}
    model, *beside = (
        places.mount(name, path, served.places[name], served.settings) for name, path in paths.items()
    )
    return [
        model,
        pod.mount("tmp", "/tmp"),  # noqa: S108 - an emptyDir
        pod.mount("shm", "/dev/shm"),  # noqa: S108 - an emptyDir
        *beside,
    ]


def _resources(spec: ModelDeploymentSpec, plan: Plan) -> dict[str, Any]:
    """Memory is requested whole; CPU as the user fixed it, else the threads are the limit."""
    given = (spec.engine or Engine()).resources
    # As the planner reads it: 0, in an object of before the API refused it, is as good as nothing said.
    fixed = given is not None and round(quantity(given.cpu or 0) * 1000) > 0
    limit = plan.resources.cpu_millis if fixed else plan.threads * 1000
    memory = bytes_text(plan.resources.memory)
    # An extended resource is requested as often as it is limited.
    devices = {plan.accelerator.resource: str(plan.accelerator.count)} if plan.accelerator else {}
    return {
        "requests": {"cpu": cpu_text(plan.resources.cpu_millis), "memory": memory, **devices},
        "limits": {"cpu": cpu_text(limit), "memory": memory, **devices},
    }
