"""Where models come from: endpoints, a mirror, a list of hosts, claims; what Jobs are told of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.manifests.artifacts import build_artifact
from slipway.manifests.chains import artifact_chain
from slipway.manifests.jobs import StageInputs, build_inspect_job, build_stage_job
from slipway.manifests.network import DNS, PUBLIC, build_artifact_job_policy, build_model_job_policy
from slipway.manifests.owner import Owner
from slipway.manifests.sources import VARIABLES, allowed_hosts, endpoints
from slipway.plan.decision import Plan
from slipway.settings import Settings, Sources, read_settings
from slipway_runtime.sources import SCHEMES
from tests.support.companions import adapter
from tests.support.planning import COMMIT, artifact, spec

from .test_jobs import env, mounts, pod
from .test_network import reaches

PIN = "sha256:" + "0" * 64
MIRROR = Settings(sources=Sources(mirror="https://mirror.example/models/"))
OWN = Settings(
    hub_endpoint="http://hub.tools.svc",
    sources=Sources(
        endpoints=(("oci", "http://10.1.2.3:5000"), ("s3", "https://s3.example:9000")),
        s3_region="eu-1",
    ),
)


def source_artifact(uri: str, **source: Any) -> dict[str, Any]:
    raw = artifact("source", None)
    raw["spec"]["source"] = {"uri": uri, "commit": PIN, **source}
    return raw


def egress(owner: Owner, uri: str, settings: Settings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = build_artifact_job_policy(owner, source_artifact(uri), settings)["spec"][
        "egress"
    ]
    return found


def test_every_scheme_that_asks_somebody_has_an_endpoint() -> None:
    assert {*VARIABLES, "pvc"} >= set(SCHEMES)
    assert endpoints(Settings()) == {}
    assert endpoints(OWN) == {
        "hf": "http://hub.tools.svc",
        "s3": "https://s3.example:9000",
        "oci": "http://10.1.2.3:5000",
    }


def test_a_mirror_stands_for_every_scheme_that_has_no_value_of_its_own() -> None:
    mirrored = endpoints(MIRROR)
    assert mirrored == {one: f"https://mirror.example/models/{one}" for one in VARIABLES}
    both = Settings(
        hub_endpoint="http://hub", sources=Sources(mirror="http://m", endpoints=(("s3", "http://s3"),))
    )
    assert endpoints(both) == {one: f"http://m/{one}" for one in VARIABLES} | {
        "hf": "http://hub",
        "s3": "http://s3",
    }


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        (Settings(), ()),
        (OWN, ()),
        (MIRROR, ("mirror.example",)),
        (
            Settings(hub_endpoint="http://hub.tools.svc", sources=Sources(allowed_hosts=(".example.org",))),
            (".example.org", "hub.tools.svc"),
        ),
        (
            Settings(sources=Sources(mirror="http://[fd00::5]:80", allowed_hosts=("a.example",))),
            ("a.example", "fd00::5"),
        ),
    ],
)
def test_a_list_of_hosts_has_those_of_the_endpoints_too(settings: Settings, hosts: tuple[str, ...]) -> None:
    assert allowed_hosts(settings) == hosts


def test_jobs_that_read_the_source_are_told_where_it_is(owner: Owner, artifact_owner: Owner) -> None:
    settings = Settings(
        hub_endpoint=OWN.hub_endpoint,
        sources=Sources(endpoints=OWN.sources.endpoints, s3_region="eu-1", allowed_hosts=("a.example",)),
    )
    told = {
        "HF_ENDPOINT": "http://hub.tools.svc",
        "SLIPWAY_ENDPOINT_S3": "https://s3.example:9000",
        "SLIPWAY_ENDPOINT_OCI": "http://10.1.2.3:5000",
        "SLIPWAY_S3_REGION": "eu-1",
        "SLIPWAY_ALLOWED_HOSTS": "a.example,hub.tools.svc,s3.example,10.1.2.3",
    }
    inspected = build_inspect_job(owner, spec(), settings, 1, "a" * 10)
    fetched = build_stage_job(
        artifact_owner, source_artifact("hf://a/b"), "fetch", 1, StageInputs(), settings
    )
    later = build_stage_job(artifact_owner, artifact(), "quantize", 1, StageInputs(), settings)
    assert env(inspected).items() >= told.items()
    assert env(fetched).items() >= told.items()
    assert not set(env(later)) & set(told)


def test_the_claim_of_a_source_is_mounted_where_it_is_read(owner: Owner, artifact_owner: Owner) -> None:
    wish = spec(model={"source": "pvc://models/team/tiny"})
    inspected = build_inspect_job(owner, wish, Settings(), 1, "a" * 10)
    raw = source_artifact("pvc://models/team/tiny")
    fetched = build_stage_job(artifact_owner, raw, "fetch", 1, StageInputs(), Settings())
    for job in (inspected, fetched):
        assert mounts(job)["/origin"] is True
        (volume,) = [one for one in pod(job)["volumes"] if one["name"] == "origin"]
        assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    made = {**artifact(), "spec": {**artifact()["spec"], "source": raw["spec"]["source"]}}
    for stage in ("quantize", "evaluate", "publish"):
        job = build_stage_job(artifact_owner, made, stage, 1, StageInputs(), Settings())
        assert "/origin" not in mounts(job)
    assert "/origin" not in mounts(build_inspect_job(owner, spec(), Settings(), 1, "a" * 10))


def test_a_claim_needs_no_way_out(owner: Owner, artifact_owner: Owner) -> None:
    assert egress(artifact_owner, "pvc://models/a", OWN) == []
    wish = spec(model={"source": "pvc://models/a"})
    rules = build_model_job_policy(owner, wish, OWN)["spec"]["egress"]
    assert [rule for rule in rules if "to" not in rule] == [DNS]
    assert PUBLIC not in rules
    assert len(rules) == 2  # names, and the engine
    beside = spec(model={"source": "pvc://models/a", "adapters": [adapter("sql")]})
    assert PUBLIC in build_model_job_policy(owner, beside, Settings())["spec"]["egress"]


def test_jobs_reach_the_endpoint_of_their_own_scheme(artifact_owner: Owner) -> None:
    def to(uri: str) -> dict[str, Any]:
        return build_artifact_job_policy(artifact_owner, source_artifact(uri), OWN)

    assert reaches(to("oci://registry/a"), "10.1.2.3", 5000)
    assert not reaches(to("s3://bucket/a"), "10.1.2.3", 5000)
    assert reaches(to("s3://bucket/a"), "10.9.9.9", 9000)
    assert not reaches(to("hf://a/b"), "10.9.9.9", 9000)
    assert reaches(to("hf://a/b"), "18.66.0.1", 443)


def test_with_a_mirror_nothing_but_it_is_reached(artifact_owner: Owner) -> None:
    inside = Settings(sources=Sources(mirror="http://10.1.2.3:8080"))
    for uri in ("hf://a/b", "s3://bucket/a", "https://example.com/a.gguf", "ollama://a", "modelscope://a/b"):
        policy = build_artifact_job_policy(artifact_owner, source_artifact(uri), inside)
        assert reaches(policy, "10.1.2.3", 8080)
        assert not reaches(policy, "18.66.0.1", 443)
        assert not reaches(policy, "2600:9000::1", 443)
        assert not reaches(policy, "10.1.2.4", 8080)
        assert reaches(policy, "10.96.0.10", 53)


def test_a_mirror_with_a_name_is_inside(artifact_owner: Owner) -> None:
    policy = build_artifact_job_policy(artifact_owner, source_artifact("hf://a/b"), MIRROR)
    for address in ("10.9.9.9", "192.168.1.1", "fd00::1"):
        assert reaches(policy, address, 443)
        assert not reaches(policy, address, 80)
    for address in ("18.66.0.1", "2600:9000::1", "169.254.169.254", "127.0.0.1", "fe80::1"):
        assert not reaches(policy, address, 443)


@pytest.mark.parametrize(
    ("host", "opens"),
    [
        ("minio.tools.svc", {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tools"}}}),
        ("10.5.0.9", {"ipBlock": {"cidr": "10.5.0.9/32"}}),
        ("fd00::9", {"ipBlock": {"cidr": "fd00::9/128"}}),
        ("18.66.0.1", None),
        ("s3.example.com", None),
        (".svc", None),
        (".example.com", None),
        ("minio", None),
    ],
)
def test_hosts_inside_that_a_list_names_are_reached(
    artifact_owner: Owner, host: str, opens: dict[str, Any] | None
) -> None:
    plain = egress(artifact_owner, "https://a.example/b", Settings())
    found = egress(artifact_owner, "https://a.example/b", Settings(sources=Sources(allowed_hosts=(host,))))
    assert found == [*plain, *([{"to": [opens]}] if opens else [])]


def test_settings_are_read_as_the_chart_writes_them() -> None:
    given = {
        "allowedHosts": ["a.example"],
        "s3": {"endpoint": "http://s3", "region": "eu-1"},
        "oci": {"mirror": "http://oci"},
        "modelscope": {"endpoint": ""},
        "ollama": {"endpoint": None},
    }
    settings = read_settings({"SLIPWAY_MIRROR": "http://m", "SLIPWAY_SOURCES": json.dumps(given)})
    assert settings.sources == Sources(
        "http://m", (("oci", "http://oci"), ("s3", "http://s3")), ("a.example",), "eu-1"
    )
    assert read_settings({}).sources == Sources()


def test_trusted_code_is_another_artifact_and_is_fetched(
    owner: Owner, artifact_owner: Owner, plan: Plan
) -> None:
    trusting = spec(model={"source": "hf://acme/model", "trustRemoteCode": True})
    plain, coded = (artifact_chain(one, COMMIT, plan) for one in (spec(), trusting))
    assert not {one.name for one in plain} & {one.name for one in coded}
    raw = build_artifact(coded[0], [owner], "team")
    assert raw["spec"]["source"]["code"] is True
    assert "code" not in build_artifact(plain[0], [owner], "team")["spec"]["source"]
    fetched = build_stage_job(artifact_owner, raw, "fetch", 1, StageInputs(), Settings())
    assert env(fetched)["SLIPWAY_TRUST_REMOTE_CODE"] == "true"
    assert env(build_inspect_job(owner, trusting, Settings(), 1, "a"))["SLIPWAY_TRUST_REMOTE_CODE"] == "true"
    for job in (
        build_inspect_job(owner, spec(), Settings(), 1, "a"),
        build_stage_job(artifact_owner, source_artifact("hf://a/b"), "fetch", 1, StageInputs(), Settings()),
    ):
        assert "SLIPWAY_TRUST_REMOTE_CODE" not in env(job)
