"""Who may call a model, and where its Jobs may go."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from slipway.api.validate import problems
from slipway.manifests.network import build_artifact_job_policy, build_model_job_policy, build_serving_policy
from slipway.manifests.owner import Owner
from slipway.settings import Scraper, Settings
from tests.support.planning import artifact, spec

INSIDE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "127.0.0.1",
    "100.64.0.1",
    "fe80::1",
    "fd00::1",
]


def reaches(policy: dict[str, Any], address: str, port: int) -> bool:
    """Whether egress to an address outside of pods is allowed, by the rules of NetworkPolicy."""
    ip = ipaddress.ip_address(address)
    for rule in policy["spec"]["egress"]:
        ports = [one["port"] for one in rule.get("ports", [])]
        if ports and port not in ports:
            continue
        if "to" not in rule:
            return True
        for peer in rule["to"]:
            block = peer.get("ipBlock", {"cidr": "255.255.255.255/32"})
            excluded = any(ip in ipaddress.ip_network(one) for one in block.get("except", []))
            if ip in ipaddress.ip_network(block["cidr"]) and not excluded:
                return True
    return False


def callers(settings: Settings | None = None, **access: Any) -> list[dict[str, Any]]:
    owner = Owner("slipway.dev/v1alpha1", "ModelDeployment", "chat", "uid", "team")
    policy = build_serving_policy(owner, spec(**access), "llamacpp", settings or Settings())
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["egress"] == []
    found: list[dict[str, Any]] = policy["spec"]["ingress"][0]["from"]
    assert found[0]["podSelector"]["matchLabels"] == {
        "slipway.dev/model": "chat",
        "app.kubernetes.io/component": "job",
    }
    return found[1:]


def test_absent_admits_the_namespace_and_an_empty_list_nobody() -> None:
    assert callers() == [{"podSelector": {}}]
    assert callers(access={"allowFrom": []}) == []


def test_scrapers_come_in_beside_the_callers() -> None:
    settings = Settings(scrapers=(Scraper("monitoring", (("app", "prometheus"),)), Scraper("agents")))
    monitoring = {"kubernetes.io/metadata.name": "monitoring"}
    assert callers(settings, access={"allowFrom": []}) == [
        {
            "namespaceSelector": {"matchLabels": monitoring},
            "podSelector": {"matchLabels": {"app": "prometheus"}},
        },
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "agents"}}},
    ]
    assert callers(settings)[0] == {"podSelector": {}}


def test_named_callers() -> None:
    found = callers(
        access={
            "allowFrom": [
                {"namespace": "web"},
                {"podLabels": {"a": "b"}},
                {"namespace": "x", "podLabels": {"a": "b"}},
            ]
        }
    )
    web = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}}
    labels = {"podSelector": {"matchLabels": {"a": "b"}}}
    assert found[0] == web
    assert found[1] == {"namespaceSelector": {}, **labels}
    assert found[2] == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "x"}}, **labels}


@pytest.mark.parametrize("address", INSIDE)
def test_fetch_reaches_no_link_local_or_cluster_address(artifact_owner: Owner, address: str) -> None:
    policy = build_artifact_job_policy(artifact_owner, artifact("source", None), Settings())
    assert not reaches(policy, address, 443)
    assert not reaches(policy, address, 80)
    assert reaches(policy, "18.66.0.1", 443)
    assert reaches(policy, "2600:9000::1", 443)
    assert reaches(policy, "10.96.0.10", 53)
    assert reaches(policy, "10.128.0.7", 5353)  # a DNS pod of OpenShift, behind its Service
    assert policy["spec"]["ingress"] == []


def test_a_hub_inside_is_reached_and_nothing_beside_it(artifact_owner: Owner) -> None:
    settings = Settings(hub_endpoint="http://10.1.2.3:8090")
    policy = build_artifact_job_policy(artifact_owner, artifact("source", None), settings)
    assert reaches(policy, "10.1.2.3", 8090)
    assert not reaches(policy, "10.1.2.3", 443)
    assert not reaches(policy, "10.1.2.4", 8090)
    six = Settings(hub_endpoint="https://[fd00::5]")
    assert reaches(build_artifact_job_policy(artifact_owner, artifact("source", None), six), "fd00::5", 443)


def test_a_hub_or_proxy_by_name_opens_its_port_only(artifact_owner: Owner) -> None:
    env = (("HTTPS_PROXY", "http://proxy.example.com:3128"), ("NO_PROXY", "10.0.0.0/8"))
    settings = Settings(hub_endpoint="https://hub.example.com", job_env=env)
    policy = build_artifact_job_policy(artifact_owner, artifact("source", None), settings)
    assert reaches(policy, "10.9.9.9", 443)
    assert reaches(policy, "10.9.9.9", 3128)
    assert not reaches(policy, "10.9.9.9", 80)
    peers = [
        rule["to"] for rule in policy["spec"]["egress"] if rule.get("ports", [{}])[0].get("port") == 3128
    ]
    assert {"namespaceSelector": {}} in peers[0]
    for address in ("169.254.169.254", "127.0.0.1", "::1", "fe80::1"):
        assert not reaches(policy, address, 443)
        assert not reaches(policy, address, 3128)


def admitted(owner: Owner, settings: Settings) -> list[tuple[dict[str, Any], list[int]]]:
    """Peers among pods, each with its ports; no port is all."""
    policy = build_artifact_job_policy(owner, artifact("source", None), settings)
    return [
        (peer, [one["port"] for one in rule.get("ports", [])])
        for rule in policy["spec"]["egress"]
        for peer in rule.get("to", ())
        if "ipBlock" not in peer
    ]


TEAM = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "models"}}}


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("hub.models.svc", TEAM),
        ("hub.models.svc.cluster.local", TEAM),
        ("hub.models.svc.cluster.local.", TEAM),
        ("hub-0.hub.models.svc", TEAM),
        ("hub", {"podSelector": {}}),
    ],
)
def test_the_pods_behind_a_service_are_reached_by_its_name(
    artifact_owner: Owner, host: str, peer: dict[str, Any]
) -> None:
    # Behind the Service's port 80 is the pod's 8090, and that is what a plugin sees.
    assert (peer, []) in admitted(artifact_owner, Settings(hub_endpoint=f"http://{host}"))
    proxy = Settings(job_env=(("HTTPS_PROXY", f"http://{host}:3128"),))
    assert (peer, []) in admitted(artifact_owner, proxy)


@pytest.mark.parametrize("host", ["hub.example.com", "hub.models", "svc.example.com"])
def test_another_name_opens_no_namespace(artifact_owner: Owner, host: str) -> None:
    found = admitted(artifact_owner, Settings(hub_endpoint=f"http://{host}"))
    assert found == [({"namespaceSelector": {}}, [80])]


def test_behind_the_address_of_a_service_the_ports_have_to_be_told(artifact_owner: Owner) -> None:
    inside = Settings(hub_endpoint="http://10.96.1.2", hub_ports=(8090,))
    assert admitted(artifact_owner, inside) == [({"namespaceSelector": {}}, [80, 8090])]
    assert not reaches(
        build_artifact_job_policy(artifact_owner, artifact("source", None), inside), "10.96.1.3", 80
    )
    public = Settings(hub_endpoint="http://18.66.0.1", hub_ports=(8090,))
    assert admitted(artifact_owner, public) == []


def test_policy_of_jobs_takes_no_name_that_a_model_can_have(owner: Owner) -> None:
    name = build_model_job_policy(owner, spec(), Settings())["metadata"]["name"]
    assert {
        one.path for one in problems({"metadata": {"name": name}, "spec": {"model": {"source": "hf://a/b"}}})
    }


@pytest.mark.parametrize("level", ["F16", "Q4_K_M"])
def test_other_artifacts_reach_nothing_at_all(artifact_owner: Owner, level: str) -> None:
    policy = build_artifact_job_policy(
        artifact_owner, artifact("gguf", level), Settings(hub_endpoint="http://10.1.2.3")
    )
    assert policy["spec"]["egress"] == []
    assert policy["spec"]["podSelector"]["matchLabels"]["slipway.dev/artifact"] == artifact_owner.name


def test_jobs_of_a_model_reach_hub_and_own_engine(owner: Owner) -> None:
    policy = build_model_job_policy(owner, spec(), Settings())
    assert policy["metadata"]["name"] == "chat.jobs"
    engine = {"slipway.dev/model": "chat", "app.kubernetes.io/component": "engine"}
    assert {"podSelector": {"matchLabels": engine}} in policy["spec"]["egress"][-1]["to"]
    assert not reaches(policy, "169.254.169.254", 80)
    assert reaches(policy, "18.66.0.1", 443)
