"""What reaches the registry that keeps artifacts: whose endpoint, which hosts, which Jobs, which Secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.manifests import jobs
from slipway.manifests.network import PUBLIC, build_benchmark_policy
from slipway.manifests.owner import Owner
from slipway.manifests.places import Place, copied_uris
from slipway.passes import artifact, model
from slipway.passes.kept import read_revision
from slipway.passes.tries import engine_symptoms
from slipway.plan.failures import judge
from slipway.settings import Settings, Sources
from slipway.status import timestamp
from tests.support.planning import spec
from tests.unit.core.test_passes import NOW, SETTINGS, accepted
from tests.unit.core.test_remote_store import IMAGE, OCI, Raw, env, job_in, made_by, observed, pinned
from tests.unit.core.test_upkeep import READY, of_kind
from tests.unit.manifests.test_network import reaches

DIGEST = f"sha256:{'a' * 64}"
SITE = replace(
    SETTINGS,
    store_type="oci",
    store_repository="registry.corp/models",
    store_endpoint="http://10.1.2.3:5000",
)
MIRRORED = replace(SITE, sources=Sources(mirror="http://10.9.9.9"))
PLACE = Place(image=IMAGE, uri=f"oci://{IMAGE}", secret="push", digest=DIGEST)  # noqa: S106 - a name
OWNER = Owner("slipway.dev/v1alpha1", "ModelDeployment", "qwen", "uid", "team")


def recall(repository: str, settings: Settings) -> tuple[dict[str, str], list[Raw]]:
    """Environment and policies of the Job that looks for what is kept there."""
    seen = pinned({"type": "oci", "repository": repository})
    (made,) = made_by(seen)
    outcome = artifact.decide(observed(seen, made), settings, NOW)
    return env(job_in(outcome)), list(outcome.apply)


def serving_pod(settings: Settings) -> Raw:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    status = READY | {"digest": DIGEST, "sizeBytes": 5, "location": {"image": IMAGE}}
    whole = replace(seen, artifacts={made["metadata"]["name"]: {**accepted(made), "status": status}})
    deployment = of_kind(model.decide(whole, settings, NOW), "Deployment") or {}
    found: Raw = deployment["spec"]["template"]["spec"]
    return found


def benchmark_pod(settings: Settings) -> Raw:
    plan = read_revision(pinned(OCI).revisions[0]).plan
    job = jobs.build_benchmark_job(OWNER, spec(), plan, PLACE, settings, 1, "r")
    found: Raw = job["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(
    ("repository", "own"),
    [
        ("registry.corp/models", True),
        ("registry.corp/others/x", True),
        ("10.1.2.3:5000/models", True),
        ("ghcr.io/alice/models", False),
        ("registry.corp:8443/models", False),
        ("registry.corp.evil.org/models", False),
    ],
)
def test_the_endpoint_stands_for_the_installations_registry_alone(repository: str, own: bool) -> None:
    given, policies = recall(repository, SITE)
    assert ("SLIPWAY_ENDPOINT_PUSH" in given) is own, "its credential goes to nobody else"
    assert any(reaches(one, "10.1.2.3", 5000) for one in policies) is own


@pytest.mark.parametrize("endpoint", ["", "http://10.1.2.3:5000"])
def test_behind_a_mirror_the_installations_registry_is_reached(endpoint: str) -> None:
    given, policies = recall("registry.corp/models", replace(MIRRORED, store_endpoint=endpoint))
    hosts = given["SLIPWAY_ALLOWED_HOSTS"].split(",")
    assert {"10.9.9.9", "registry.corp"} <= {*hosts}
    assert ("10.1.2.3" in hosts) is bool(endpoint)
    address = ("10.1.2.3", 5000) if endpoint else ("10.8.8.8", 443)
    assert any(reaches(one, *address) for one in policies)
    assert not any(reaches(one, "18.66.0.1", 443) for one in policies)


def test_a_registry_that_only_a_model_names_has_to_be_on_the_list() -> None:
    given, policies = recall("ghcr.io/alice/models", MIRRORED)
    assert given["SLIPWAY_ALLOWED_HOSTS"] == "10.9.9.9"
    assert not any(reaches(one, "18.66.0.1", 443) for one in policies)


def test_what_fetches_a_source_may_not_ask_the_registry() -> None:
    seen = pinned({})
    (source, *_) = made_by(seen)
    assert source["spec"]["recipe"]["method"] == "source"
    claim = artifact.decide(observed(seen, source), MIRRORED, NOW).create[0]
    outcome = artifact.decide(observed(seen, source, claim=accepted(claim)), MIRRORED, NOW)
    assert env(job_in(outcome))["SLIPWAY_ALLOWED_HOSTS"] == "10.9.9.9"
    assert not any(reaches(one, "10.1.2.3", 5000) for one in outcome.apply)


def test_only_looking_up_and_pushing_reach_the_registry() -> None:
    _, (every, store) = recall("ghcr.io/alice/models", SITE)
    chosen = every["spec"]["podSelector"]
    assert "matchExpressions" not in chosen
    assert every["spec"]["egress"] == []
    assert every["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert store["spec"]["podSelector"] == {
        **chosen,
        "matchExpressions": [{"key": "slipway.dev/stage", "operator": "In", "values": ["recall", "push"]}],
    }
    assert PUBLIC in store["spec"]["egress"]
    assert store["metadata"]["name"] == f"{every['metadata']['name']}.store"
    seen = pinned(OCI)
    (made,) = made_by(seen)
    job = job_in(artifact.decide(observed(seen, made), SITE, NOW))
    assert job["spec"]["template"]["metadata"]["labels"]["slipway.dev/stage"] == "recall"


@pytest.mark.parametrize("pod", [serving_pod, benchmark_pod])
def test_a_copy_is_told_what_it_copies(pod: Any) -> None:
    settings = replace(
        MIRRORED,
        image_volumes=False,
        store_repository="registry.example.com/models",
        ca_config_map="corp-ca",
    )
    body = pod(settings)
    (copy,) = body["initContainers"]
    given = {one["name"]: one["value"] for one in copy["env"]}
    assert (given["SLIPWAY_COPY"], given["SLIPWAY_DIGEST"]) == ("true", DIGEST)
    assert given["SLIPWAY_ENDPOINT_PUSH"] == "http://10.1.2.3:5000"
    assert {"10.1.2.3", "registry.example.com"} <= {*given["SLIPWAY_ALLOWED_HOSTS"].split(",")}
    (mounted,) = (one for one in copy["volumeMounts"] if one["name"] == "ca")
    assert given["SLIPWAY_CA_FILE"].startswith(mounted["mountPath"])
    assert {"name": "ca", "configMap": {"name": "corp-ca"}} in body["volumes"]


@pytest.mark.parametrize("pod", [serving_pod, benchmark_pod])
def test_what_mounts_an_image_may_pull_it(pod: Any) -> None:
    body = pod(replace(SITE, images=replace(SITE.images, pull_secrets=("site",))))
    assert body["imagePullSecrets"] == [{"name": "site"}, {"name": "push"}]


def test_the_benchmark_reaches_what_it_copies() -> None:
    copying = replace(SITE, image_volumes=False)
    (policy,) = build_benchmark_policy(OWNER, copied_uris([PLACE], copying), copying)
    assert policy["spec"]["podSelector"]["matchLabels"]["slipway.dev/stage"] == "benchmark"
    assert reaches(policy, "18.66.0.1", 443)
    assert not build_benchmark_policy(OWNER, copied_uris([PLACE], SITE), SITE)
    seen = pinned(OCI)
    (made,) = made_by(seen)
    status = READY | {"digest": DIGEST, "sizeBytes": 5, "location": {"image": IMAGE}}
    whole = replace(seen, artifacts={made["metadata"]["name"]: {**accepted(made), "status": status}})
    found = [one["metadata"]["name"] for one in model.decide(whole, copying, NOW).apply]
    assert f"{seen.model['metadata']['name']}.benchmark" in found


def waiting(init: Raw) -> Raw:
    engine = {"name": "engine", "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"phase": "Pending", "initContainerStatuses": [init], "containerStatuses": [engine]}
    meta = {"name": "p", "creationTimestamp": timestamp(NOW)}
    return {"metadata": meta, "spec": {"containers": [{"name": "engine", "image": "i"}]}, "status": status}


def test_an_init_container_that_fails_is_judged() -> None:
    said = '{"ok": false, "reason": "HostNotAllowed", "message": "not from registry.corp"}'
    crash = {"terminated": {"exitCode": 78, "reason": "Error", "message": said}}
    crashing = {
        "name": "fetch-model",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": crash,
    }
    verdict = judge(engine_symptoms(waiting(crashing), NOW))
    assert verdict is not None
    assert verdict.reason == "CrashLoop"
    assert "not from registry.corp" in verdict.message
    unpulled = {"name": "fetch-model", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
    verdict = judge(engine_symptoms(waiting(unpulled), NOW))
    assert verdict is not None
    assert verdict.reason == "ImagePullFailed"


@pytest.mark.parametrize(
    "init",
    [
        {"name": "fetch-model", "state": {"running": {}}},
        {"name": "fetch-model", "state": {"waiting": {"reason": "PodInitializing"}}},
        {"name": "fetch-model", "ready": True, "state": {"terminated": {"exitCode": 0}}},
    ],
)
def test_an_init_container_that_works_tells_nothing(init: Raw) -> None:
    seen = engine_symptoms(waiting(init), NOW)
    assert (seen.waiting, seen.exit_code) == ("PodInitializing", None)
    assert judge(seen) is None
