"""How a pod gets at a published artifact: by its claim, as an image that its node mounts, as its own copy.

Called by deployment, companions and job_pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.modeldeployment import REMOTE, Store
from slipway.manifests import pod, sources
from slipway.plan.quantities import MIB, bytes_text, round_up
from slipway.settings import Settings
from slipway_runtime.contract import PUBLISHED, STORE

COPY_PERCENT = 105
COPY_MORE = 64 * MIB
"""On top of the files: what a copy's file system needs, and the manifest."""
PROGRAM = "slipway-runtime"


@dataclass(frozen=True)
class Place:
    """Where a published artifact lies; what is empty does not apply.

    Attributes:
        claim: holds ``published/``.
        image: reference by digest of an image that has the files at its root.
        uri: what the fetch stage takes, at ``revision``.
        revision: pins ``uri``.
        secret: of a Secret that may pull the image or fetch the URI.
        bytes: of the files.
        digest: of the artifact.
    """

    claim: str = ""
    image: str = ""
    uri: str = ""
    revision: str = ""
    secret: str = ""
    bytes: int = 0
    digest: str = ""


def place_of(artifact: Mapping[str, Any], store: Store | None = None) -> Place:
    """Where a ready ModelArtifact lies.

    Args:
        artifact: as the API server returns it.
        store: of the model that mounts it: the Secret that it names now opens what is kept there, not the one
            of whoever made the artifact.
    """
    status = artifact["status"]
    found = status["location"]
    kept = artifact["spec"].get("store") or {}
    secret = (kept.get("secretRef") or {}).get("name", "")
    if store and store.type in REMOTE and (store.type, store.repository) == _where(kept):
        secret = store.secret_ref.name if store.secret_ref else ""
    image, uri = found.get("image") or "", found.get("uri") or ""
    return Place(
        claim=found.get("claim") or "",
        image=image,
        uri=uri or (f"oci://{image}" if image else ""),
        revision=found.get("revision") or image.partition("@")[2],
        secret=secret,
        bytes=int(status.get("sizeBytes") or 0),
        digest=status.get("digest") or "",
    )


def _where(store: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return store.get("type"), store.get("repository")


def volume(name: str, place: Place, settings: Settings) -> dict[str, Any]:
    """The volume by which a pod reads it."""
    if _by_image(place, settings):
        return {"name": name, "image": {"reference": place.image, "pullPolicy": "IfNotPresent"}}
    if place.uri:
        return pod.scratch(name, bytes_text(_copy_bytes(place)))
    return pod.claim_volume(name, place.claim, read_only=True)


def mount(name: str, path: str, place: Place, settings: Settings) -> dict[str, Any]:
    """Its mount at ``path``: the files themselves are there."""
    below = "" if _by_image(place, settings) else PUBLISHED
    return pod.mount(name, path, read_only=True, sub_path=below)


def pulling(body: Mapping[str, Any], places: Iterable[Place], settings: Settings) -> dict[str, Any]:
    """A pod's body with the Secrets that the node needs beside the installation's, to pull what it mounts."""
    secrets = sorted({one.secret for one in places if one.secret and _by_image(one, settings)})
    more = [{"name": one} for one in secrets]
    return {**body, **({"imagePullSecrets": [*body.get("imagePullSecrets", ()), *more]} if more else {})}


def copies(places: Mapping[str, Place], settings: Settings) -> list[dict[str, Any]]:
    """Init containers that bring the artifacts which a node can't mount, by the names of their volumes."""
    return [
        _copy(name, place, settings)
        for name, place in places.items()
        if place.uri and not _by_image(place, settings)
    ]


def copy_volumes(places: Mapping[str, Place], settings: Settings) -> list[dict[str, Any]]:
    """Volumes of the Secrets and the CA that ``copies`` mount."""
    copied = [place for place in places.values() if place.uri and not _by_image(place, settings)]
    secrets = sorted({place.secret for place in copied if place.secret})
    ca, _ = sources.volumes("", None, settings) if copied else ([], [])
    return [*(sources.credentials(f"credentials-{name}", name) for name in secrets), *ca]


def copied_uris(places: Iterable[Place], settings: Settings) -> list[str]:
    """What a pod fetches itself, so that it has to reach what holds it."""
    return [place.uri for place in places if place.uri and not _by_image(place, settings)]


def _by_image(place: Place, settings: Settings) -> bool:
    return bool(place.image) and settings.image_volumes


def _copy_bytes(place: Place) -> int:
    return round_up(place.bytes * COPY_PERCENT // 100 + COPY_MORE, MIB)


def _copy(name: str, place: Place, settings: Settings) -> dict[str, Any]:
    size = bytes_text(_copy_bytes(place))
    env = {"HOME": "/tmp", "SLIPWAY_SOURCE": place.uri, "SLIPWAY_REVISION": place.revision}  # noqa: S108 - an emptyDir
    if place.image:
        env |= {"SLIPWAY_COPY": "true", "SLIPWAY_DIGEST": place.digest}
    _, ca = sources.volumes("", None, settings)
    mounts = [pod.mount(name, STORE), pod.mount("tmp", "/tmp"), *ca]  # noqa: S108 - the same
    if place.secret:
        mounts.append(pod.mount(f"credentials-{place.secret}", sources.CREDENTIALS, read_only=True))
    return {
        "name": f"fetch-{name}",
        "image": settings.images.runtime,
        "imagePullPolicy": settings.images.pull_policy,
        "command": [PROGRAM, "fetch"],
        "env": pod.env_list({**sources.environment(settings, place.uri), **env}),
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": size},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": pod.container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
