"""NetworkPolicies: who may call a model, where its Jobs may go. Called by serving, passes, render."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from slipway.api.modeldeployment import Caller, ModelDeploymentSpec
from slipway.manifests import names
from slipway.manifests.artifacts import is_remote, remote_uri
from slipway.manifests.deployment import HTTP, selector
from slipway.manifests.job_pod import REMOTE_STAGES
from slipway.manifests.owner import Owner, child
from slipway.manifests.sources import endpoints, schemes_of, sources_of, store_urls
from slipway.resources import NETWORK_POLICY
from slipway.settings import Settings

NAMESPACE_NAME = "kubernetes.io/metadata.name"
INSIDE_V4 = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
)
INSIDE_V6 = ("::1/128", "fc00::/7", "fe80::/10")
"""Private, shared, loopback and link-local: addresses of clusters, nodes and cloud metadata services."""
PUBLIC = {
    "to": [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(INSIDE_V4)}},
        {"ipBlock": {"cidr": "::/0", "except": list(INSIDE_V6)}},
    ]
}
NODE_V4 = ("127.0.0.0/8", "169.254.0.0/16")
NODE_V6 = ("::1/128", "fe80::/10")
"""Loopback and link-local: node agents and cloud metadata services, which no host name should lead to."""
ANYWHERE = [
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(NODE_V4)}},
    {"ipBlock": {"cidr": "::/0", "except": list(NODE_V6)}},
    # Some network plugins (Cilium) take no pod for a member of an address block.
    {"namespaceSelector": {}},
]
INSIDE = [
    *({"ipBlock": {"cidr": one}} for one in (*INSIDE_V4, *INSIDE_V6) if one not in (*NODE_V4, *NODE_V6)),
    {"namespaceSelector": {}},
]
"""Where a mirror with a name is: whose name it is, no policy knows, and nothing else may be reached."""
DNS_PORTS = (53, 5353)
"""The Service's, and that of OpenShift's DNS pods: plugins see a packet after the Service's translation."""
DNS = {"ports": [{"protocol": protocol, "port": port} for port in DNS_PORTS for protocol in ("UDP", "TCP")]}
PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
DEFAULT_PORTS = {"http": 80, "https": 443}


def build_serving_policy(
    owner: Owner,
    spec: ModelDeploymentSpec,
    engine: str,
    settings: Settings,
    *,
    group: bool = False,
    fetched: Iterable[str] = (),
) -> dict[str, Any]:
    """Default deny for the engine's pods: the named callers may come in, nothing goes out.

    ``fetched`` are URIs that init containers bring: the pod reaches what a fetch Job of them does.

    With ``group``, the pods of a replica of several nodes reach each other, by whatever port the engine's
    collective library takes, and look each other's names up.

    Callers are those of ``spec.access.allowFrom`` (absent: every pod of the namespace), and always the
    model's own benchmark Job and the installation's scrapers, which read metrics from the same port. Replies
    to callers need no rule; probes come from the node.
    """
    own_jobs = {names.MODEL: owner.name, names.COMPONENT: names.JOB_COMPONENT}
    callers: list[dict[str, Any]] = [{"podSelector": {"matchLabels": own_jobs}}]
    allowed = spec.access.allow_from if spec.access else None
    if allowed is None:
        callers.append({"podSelector": {}})
    else:
        callers += [_peer(caller) for caller in allowed]
    callers += [
        _peer(Caller(namespace=one.namespace or None, pod_labels=dict(one.pod_labels) or None))
        for one in settings.scrapers
    ]
    ingress = [{"from": callers, "ports": [{"protocol": "TCP", "port": HTTP}]}]
    inside, outside = _group(owner.name) if group else ([], [])
    outside = [*outside, *_sources((), settings, fetched)]
    pods, component = selector(owner.name), names.ENGINE_COMPONENT
    return _policy(owner, owner.name, engine, component, pods, [*ingress, *inside], outside)


def build_group_policy(
    owner: Owner, engine: str, settings: Settings, *, fetched: Iterable[str] = ()
) -> dict[str, Any]:
    """For the workers of replicas of several nodes, ``NAME.workers``: their own model's pods, nobody else.

    ``fetched`` as of ``build_serving_policy``.
    """
    pods = {names.MODEL: owner.name, names.COMPONENT: names.WORKER_COMPONENT}
    name = f"{owner.name}.workers"
    inside, outside = _group(owner.name)
    outside = [*outside, *_sources((), settings, fetched)]
    return _policy(owner, name, engine, names.WORKER_COMPONENT, pods, inside, outside)


def _group(name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rules for what comes from, and goes to, the other engine pods of a model."""
    components = [names.ENGINE_COMPONENT, names.WORKER_COMPONENT]
    both = {"key": names.COMPONENT, "operator": "In", "values": components}
    peers = [{"podSelector": {"matchLabels": {names.MODEL: name}, "matchExpressions": [both]}}]
    return [{"from": peers}], [{"to": peers}, DNS]


def build_model_job_policy(owner: Owner, spec: ModelDeploymentSpec, settings: Settings) -> dict[str, Any]:
    """For the Jobs of a ModelDeployment, ``NAME.jobs``: no way in; out to its sources and to its own engine.

    No model can have a dot in its name, so no model's own policy can have this one.
    """
    pods = {names.MODEL: owner.name, names.COMPONENT: names.JOB_COMPONENT}
    to_engine = {
        "to": [{"podSelector": {"matchLabels": selector(owner.name)}}],
        "ports": [{"protocol": "TCP", "port": HTTP}],
    }
    name, found = f"{owner.name}.jobs", list(_sources(sources_of(spec), settings))
    if not found:
        found = [DNS]  # the engine is asked by name
    return _policy(owner, name, "jobs", names.JOB_COMPONENT, pods, [], [*found, to_engine])


def build_benchmark_policy(owner: Owner, copied: Iterable[str], settings: Settings) -> list[dict[str, Any]]:
    """For the benchmark's Job, ``NAME.benchmark``: out to what its init container copies; none for nothing.

    Rules of several policies add up. ``NAME.jobs`` has not these: an inspection applies it before anything
    is served, and would take them away again.
    """
    egress = list(_sources((), settings, copied))
    pods = {names.MODEL: owner.name, names.COMPONENT: names.JOB_COMPONENT, names.STAGE: "benchmark"}
    policy = _policy(owner, f"{owner.name}.benchmark", "jobs", names.JOB_COMPONENT, pods, [], egress)
    return [policy] if egress else []


def build_artifact_job_policy(owner: Owner, artifact: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """For all Jobs of a ModelArtifact, named as it is: fetching may reach the source, the rest nothing."""
    pods = {names.ARTIFACT: owner.name, names.COMPONENT: names.JOB_COMPONENT}
    uris = [artifact["spec"]["source"]["uri"]] if artifact["spec"]["recipe"]["method"] == "source" else []
    egress = list(_sources(uris, settings))
    return _policy(owner, owner.name, "artifact", names.JOB_COMPONENT, pods, [], egress)


def build_artifact_job_policies(
    owner: Owner, artifact: dict[str, Any], settings: Settings
) -> list[dict[str, Any]]:
    """The same, and for looking up and pushing ``NAME.store``: out to the registry or bucket."""
    found = [build_artifact_job_policy(owner, artifact, settings)]
    if is_remote(artifact):
        pods = {names.ARTIFACT: owner.name, names.COMPONENT: names.JOB_COMPONENT}
        egress = list(_sources((), settings, [remote_uri(artifact)]))
        policy = _policy(owner, f"{owner.name}.store", "artifact", names.JOB_COMPONENT, pods, [], egress)
        stages = {"key": names.STAGE, "operator": "In", "values": list(REMOTE_STAGES)}
        policy["spec"]["podSelector"]["matchExpressions"] = [stages]
        found.append(policy)
    return found


def _peer(caller: Caller) -> dict[str, Any]:
    """A caller of the spec; absent parts match everything."""
    namespace = {"matchLabels": {NAMESPACE_NAME: caller.namespace}} if caller.namespace else {}
    peer: dict[str, Any] = {"namespaceSelector": namespace}
    if caller.pod_labels:
        peer["podSelector"] = {"matchLabels": dict(caller.pod_labels)}
    return peer


def _sources(uris: Iterable[str], settings: Settings, kept: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """Rules for name resolution, the public internet, and what the installation names for these sources.

    ``kept`` are URIs of what registries keep of ours: no mirror stands for those. With a mirror the public
    internet stays closed, but for addresses that are named. A claim is mounted, and needs none of it.
    """
    schemes, kept = schemes_of(uris), tuple(kept)
    if not schemes and not kept:
        return
    yield DNS
    if not settings.sources.mirror:
        yield PUBLIC
    named = [url for scheme, url in endpoints(settings).items() if scheme in schemes]
    named += [url for uri in kept for url in store_urls(uri, settings)]
    proxies = [value for name, value in settings.job_env if name.lower() in PROXY_VARIABLES]
    for url in dict.fromkeys([*named, *proxies]):
        yield from _endpoint(url, settings)
    for host in settings.sources.allowed_hosts:
        yield from _inside(host, settings)


def _inside(host: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """What a list of hosts names inside the network: a Service by its whole name, an address.

    Other names open nothing: which address they have, nobody knows here.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        whole = "." in host and not host.startswith(".")
        if whole and (peer := _service(host, settings.cluster_domain)) is not None:
            yield {"to": [peer]}
        return
    if not address.is_global:
        yield {"to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]}


def _endpoint(url: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """The one address and port of a URL; a name may be anywhere but on the node, that of a mirror inside.

    Plugins see the pod behind a Service, on the pod's own port: of a Service's name the namespace tells where
    that pod is, of its address nothing does, so its ports have to be told.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    host, port = (parts.hostname or "").rstrip("."), parts.port or DEFAULT_PORTS.get(parts.scheme, 443)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        yield {"to": INSIDE if settings.sources.mirror else ANYWHERE, "ports": _tcp(port)}
        if (peer := _service(host, settings.cluster_domain)) is not None:
            yield {"to": [peer]}
        return
    block = {"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}
    if address.is_global:
        yield {"to": [block], "ports": _tcp(port)}
    else:
        yield {"to": [block, {"namespaceSelector": {}}], "ports": _tcp(port, *settings.hub_ports)}


def _service(host: str, domain: str) -> dict[str, Any] | None:
    """Pods of the namespace of a Service's name: ``NAME``, ``NAME.NS.svc``, ``NAME.NS.svc.DOMAIN``."""
    labels = host.removesuffix(f".{domain}").split(".")
    if len(labels) == 1:
        return {"podSelector": {}}  # the Job's own namespace comes first when a name has no dot
    if labels[-1] != "svc":
        return None
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: labels[-2]}}}


def _tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _policy(
    owner: Owner,
    name: str,
    kind: str,
    component: str,
    pods: dict[str, str],
    ingress: list[dict[str, Any]],
    egress: list[dict[str, Any]],
) -> dict[str, Any]:
    about = {"artifact": owner.name} if owner.kind == "ModelArtifact" else {"model": owner.name}
    return {
        **child(owner, NETWORK_POLICY, names.labels(kind, component, **about), name=name),
        "spec": {
            "podSelector": {"matchLabels": pods},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }
