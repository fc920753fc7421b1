"""Whether a child already is what is wished: tolerant of defaults, not of drift."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway import drift

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "a", "namespace": "n", "labels": {"x": "1"}},
    "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
}
DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {
        "replicas": 0,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "engine",
                        "args": ["--port", "8080"],
                        "env": [{"name": "A", "value": "1"}],
                        "resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}},
                        "ports": [{"name": "http", "containerPort": 8080}],
                    }
                ],
                "volumes": [
                    {"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}},
                    {"name": "e", "emptyDir": {}},
                ],
            }
        },
    },
}


def observed(desired: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(drift.stamped(desired))


def test_what_was_applied_is_settled_though_the_server_fills_in() -> None:
    seen = observed(SERVICE)
    seen["spec"] |= {"clusterIP": "10.0.0.1", "type": "ClusterIP"}
    seen["spec"]["ports"][0]["protocol"] = "TCP"
    seen["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    seen["metadata"]["annotations"]["other"] = "theirs"
    assert drift.settled(drift.stamped(SERVICE), seen)


def test_quantities_are_equal_by_value() -> None:
    seen = observed(DEPLOYMENT)
    pod = seen["spec"]["template"]["spec"]
    pod["containers"][0]["resources"]["limits"] = {"cpu": "1", "memory": "1024Mi"}
    pod["volumes"][0]["emptyDir"]["sizeLimit"] = "1Gi"
    assert drift.settled(drift.stamped(DEPLOYMENT), seen)
    pod["containers"][0]["resources"]["limits"]["cpu"] = "999m"
    assert not drift.settled(drift.stamped(DEPLOYMENT), seen)


def test_a_foreign_sidecar_or_variable_is_left_alone() -> None:
    seen = observed(DEPLOYMENT)
    pod = seen["spec"]["template"]["spec"]
    pod["containers"].insert(0, {"name": "mesh"})
    pod["containers"][1]["env"].append({"name": "B", "value": "2"})
    assert drift.settled(drift.stamped(DEPLOYMENT), seen)


def edits() -> list[Any]:
    def replicas(raw: Any) -> None:
        raw["spec"]["replicas"] = 3

    def no_replicas(raw: Any) -> None:
        del raw["metadata"]["annotations"][drift.APPLIED]

    def argument(raw: Any) -> None:
        raw["spec"]["template"]["spec"]["containers"][0]["args"].append("--verbose")

    def order(raw: Any) -> None:
        raw["spec"]["template"]["spec"]["containers"][0]["args"].reverse()

    def variable(raw: Any) -> None:
        raw["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "2"

    def container(raw: Any) -> None:
        raw["spec"]["template"]["spec"]["containers"] = []

    return [replicas, no_replicas, argument, order, variable, container]


@pytest.mark.parametrize("edit", edits(), ids=lambda edit: edit.__name__)
def test_drift_is_seen(edit: Any) -> None:
    seen = observed(DEPLOYMENT)
    edit(seen)
    assert not drift.settled(drift.stamped(DEPLOYMENT), seen)


def test_a_field_no_longer_wished_is_seen_by_the_hash() -> None:
    seen = observed(SERVICE | {"spec": SERVICE["spec"] | {"sessionAffinity": "ClientIP"}})
    assert drift.covers(SERVICE, seen)
    assert not drift.settled(drift.stamped(SERVICE), seen)


def test_absent_is_not_there() -> None:
    assert not drift.settled(drift.stamped(SERVICE), None)


def test_false_is_not_absent() -> None:
    assert not drift.covers({"automount": False}, {})
    assert drift.covers({"automount": False}, {"automount": False})
    assert drift.covers({"labels": {}}, {})


def test_a_paused_deployment_is_drift_where_it_is_not_wished() -> None:
    # The API server leaves "paused: false" out.
    assert drift.covers({"paused": False}, {})
    assert not drift.covers({"paused": False}, {"paused": True})


def test_one_key_more_in_a_selector_is_drift() -> None:
    seen = observed(SERVICE)
    seen["spec"]["selector"]["app.kubernetes.io/version"] = "2"
    assert not drift.settled(drift.stamped(SERVICE), seen)
    for field in ("nodeSelector", "matchLabels", "podSelector"):
        assert not drift.covers({field: {"a": "b"}}, {field: {"a": "b", "c": "d"}})
        assert drift.covers({field: {"a": "b"}}, {field: {"a": "b"}})
    assert drift.covers({"nodeSelector": {}}, {})


def policy() -> dict[str, Any]:
    callers = [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"name": "a"}}}]
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": "a"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "a"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": callers, "ports": [{"port": "http"}]}],
            "egress": [],
        },
    }


def test_a_network_policy_is_settled_with_defaults_filled_in() -> None:
    seen = observed(policy())
    seen["spec"]["ingress"][0]["ports"][0]["protocol"] = "TCP"
    del seen["spec"]["egress"]
    assert drift.settled(drift.stamped(policy()), seen)


def openings() -> list[Any]:
    def namespaces(spec: Any) -> None:
        spec["ingress"][0]["from"][1]["namespaceSelector"] = {}

    def everyone(spec: Any) -> None:
        del spec["ingress"][0]["from"]

    def peer(spec: Any) -> None:
        spec["ingress"][0]["from"].append({"ipBlock": {"cidr": "0.0.0.0/0"}})

    def port(spec: Any) -> None:
        spec["ingress"][0]["ports"].append({"port": 22})

    def last_port(spec: Any) -> None:
        spec["ingress"][0]["ports"][0]["endPort"] = 65535

    def pods(spec: Any) -> None:
        spec["podSelector"]["matchLabels"]["b"] = "c"

    def rule(spec: Any) -> None:
        spec["egress"] = [{}]

    def other_pods(spec: Any) -> None:
        spec["ingress"][0]["from"][0]["namespaceSelector"] = {}

    return [namespaces, everyone, peer, port, last_port, pods, rule, other_pods]


@pytest.mark.parametrize("edit", openings(), ids=lambda edit: edit.__name__)
def test_a_widened_network_policy_is_drift(edit: Any) -> None:
    seen = observed(policy())
    edit(seen["spec"])
    assert not drift.settled(drift.stamped(policy()), seen)
