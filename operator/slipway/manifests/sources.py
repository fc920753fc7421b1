"""What Jobs that read a source are given: where it is, and what opens it. Called by jobs and network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.sources import claim_of, scheme_of
from slipway.manifests import pod
from slipway.plan.companions import wanted
from slipway.settings import Settings
from slipway_runtime import contract

CA_PATH: Final = "/etc/slipway-ca"
VARIABLES: Final = {
    "hf": "HF_ENDPOINT",
    **{one: f"SLIPWAY_ENDPOINT_{one.upper()}" for one in ("modelscope", "s3", "oci", "https", "ollama")},
}
"""Scheme to what tells Jobs of its endpoint; a claim has none."""


def endpoints(settings: Settings) -> dict[str, str]:
    """Scheme to the URL that stands for its public service: its own value, else its folder of the mirror."""
    own = {"hf": settings.hub_endpoint, **dict(settings.sources.endpoints)}
    mirror = settings.sources.mirror.rstrip("/")
    found = {one: own.get(one) or (mirror and f"{mirror}/{one}") for one in VARIABLES}
    return {one: url for one, url in found.items() if url}


def allowed_hosts(settings: Settings) -> tuple[str, ...]:
    """Hosts that Jobs may ask: those of the list and of every endpoint; empty for all.

    With a mirror there is always a list, so that nothing else is asked.
    """
    listed = settings.sources.allowed_hosts
    if not listed and not settings.sources.mirror:
        return ()
    named = (urlsplit(url).hostname or "" for url in endpoints(settings).values())
    return tuple(dict.fromkeys((*listed, *(one for one in named if one))))


def environment(settings: Settings) -> dict[str, str]:
    """Endpoints, the list of hosts, proxy and CA."""
    env = dict(settings.job_env)
    env |= {VARIABLES[scheme]: url for scheme, url in endpoints(settings).items()}
    if settings.sources.s3_region:
        env["SLIPWAY_S3_REGION"] = settings.sources.s3_region
    if hosts := allowed_hosts(settings):
        env["SLIPWAY_ALLOWED_HOSTS"] = ",".join(hosts)
    if settings.ca_config_map:
        env["SLIPWAY_CA_FILE"] = f"{CA_PATH}/ca.crt"
    return env


def trusted_code(trusts: bool) -> dict[str, str]:
    """Environment of a Job that may take the repository's own Python files."""
    return {"SLIPWAY_TRUST_REMOTE_CODE": "true"} if trusts else {}


def sources_of(spec: ModelDeploymentSpec) -> tuple[str, ...]:
    """The source of the model, and those of what is beside it."""
    return (spec.model.source, *(one.source for one in wanted(spec)))


def schemes_of(uris: Iterable[str]) -> frozenset[str]:
    """Schemes that are asked over the network: a claim is mounted."""
    return frozenset(scheme_of(uri) for uri in uris if not claim_of(uri))


def volumes(
    uri: str, secret: str | None, settings: Settings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and their mounts: the source's own claim, credential, CA."""
    found, mounts = [], []
    if claim := claim_of(uri):
        found.append(pod.claim_volume("origin", claim, read_only=True))
        mounts.append(pod.mount("origin", contract.ORIGIN, read_only=True))
    if secret:
        # Optional: without it the stage says what the hub answers, instead of a pod that never starts.
        items = [{"key": key, "path": key} for key in contract.CREDENTIAL_KEYS]
        mounted = {"secretName": secret, "items": items, "defaultMode": 0o440, "optional": True}
        found.append({"name": "credentials", "secret": mounted})
        mounts.append(pod.mount("credentials", contract.TOKEN_FILE.rsplit("/", 1)[0], read_only=True))
    if settings.ca_config_map:
        found.append({"name": "ca", "configMap": {"name": settings.ca_config_map}})
        mounts.append(pod.mount("ca", CA_PATH, read_only=True))
    return found, mounts
