"""The chart renders what it rendered before, refuses wrong values, and asks for no more than it needs.

``SLIPWAY_UPDATE_GOLDEN=1`` writes the expected files anew; the difference is then read in review.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import __version__, resources
from slipway.cli import build_parser
from slipway.settings import Images, Scraper, Settings, Sources, read_settings
from tests.support.helm import CHART, NAMESPACE, ROOT, find, find_helm, helm, render

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name.removesuffix(".values.yaml") for path in CASES.glob("*.values.yaml"))

pytestmark = pytest.mark.usefixtures("has_helm")


@pytest.fixture(scope="session")
def has_helm() -> str:
    return find_helm()


def values(case: str) -> tuple[str, str]:
    return "--values", str(CASES / f"{case}.values.yaml")


def role_rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for obj in objects if obj["kind"] in ("Role", "ClusterRole") for rule in obj["rules"]]


@pytest.mark.parametrize("case", NAMES)
def test_renders_as_before(case: str) -> None:
    objects = [obj for obj in render(*values(case)) if obj["kind"] != "CustomResourceDefinition"]
    text = yaml.safe_dump_all(objects, sort_keys=False, width=110)
    expected = CASES / f"{case}.expected.yaml"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        expected.write_text(text, "utf-8")
    assert text == expected.read_text("utf-8")


@pytest.mark.parametrize("case", NAMES)
def test_lints(case: str) -> None:
    helm("lint", "--strict", str(CHART), *values(case))


def test_crds_are_ours_and_stay() -> None:
    crds = {obj["metadata"]["name"]: obj for obj in render() if obj["kind"] == "CustomResourceDefinition"}
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "crds").glob("*.yaml")]
    assert {name: crd["spec"] for name, crd in crds.items()} == {
        crd["metadata"]["name"]: crd["spec"] for crd in files
    }
    assert {crd["metadata"]["annotations"]["helm.sh/resource-policy"] for crd in crds.values()} == {"keep"}


def test_crds_can_go_with_the_release() -> None:
    objects = render("--set", "crds.keep=false")
    crds = [obj for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 3
    assert [crd for crd in crds if "helm.sh/resource-policy" in crd["metadata"].get("annotations", {})] == []


def test_crds_can_be_left_out() -> None:
    assert "CustomResourceDefinition" not in {obj["kind"] for obj in render("--set", "crds.install=false")}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("operator.replica=2", "additional properties 'replica' not allowed"),
        ("operator.logLevel=trace", "value must be one of 'debug', 'info', 'warning', 'error'"),
        ("images.operator.digest=sha256:abc", "does not match pattern"),
        ("hub.endpoint=hub.example", "does not match pattern"),
        ("mirror=mirror.example", "does not match pattern"),
        ("sources.s3.endpoint=minio:9000", "does not match pattern"),
        ("sources.s3.bucket=a", "additional properties 'bucket' not allowed"),
        ("sources.pvc.endpoint=http://a", "additional properties 'pvc' not allowed"),
        ("sources.allowedHosts={https://a.example}", "does not match pattern"),
        ("watchNamespaces={Team_A}", "does not match pattern"),
        ("podSecurity.fsGroup=0", "minimum: got 0, want 1"),
        ("networkPolicy.scrapers[0].pods=x", "additional properties 'pods' not allowed"),
        ("networkPolicy.scrapers[0].namespace=Team_A", "does not match pattern"),
        ("jobs.deadlineSeconds=0", "minimum: got 0, want 60"),
        ("jobs.memoryFactor=0", "minimum: got 0, want 1"),
        ("jobs.maxConcurrent=-1", "minimum: got -1, want 0"),
        ("jobs.priorityClassName=Batch", "does not match pattern"),
        ("jobs.ttlSeconds=60", "minimum: got 60, want 600"),
        ("networkPolicy.hubPorts={0}", "minimum: got 0, want 1"),
    ],
)
def test_wrong_values_are_refused(option: str, words: str) -> None:
    done = helm("template", "slipway", str(CHART), "--set", option, check=False)
    assert done.returncode != 0
    assert words in done.stderr


def test_old_clusters_are_refused() -> None:
    done = helm("template", "slipway", str(CHART), "--kube-version", "1.31.9", check=False)
    assert "incompatible with Kubernetes v1.31.9" in done.stderr
    render("--kube-version", "1.32.0")


def test_version_is_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert {chart["version"], chart["appVersion"]} == {__version__}


@pytest.mark.parametrize("case", NAMES)
def test_no_wildcard_and_no_list_of_secrets(case: str) -> None:
    rules = role_rules(render(*values(case)))
    assert not [rule for rule in rules if "*" in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]]
    assert [rule["verbs"] for rule in rules if "secrets" in rule["resources"]] in (
        [["get"]],
        [["get"], ["get"]],
    )


WRITTEN = (*resources.SERVING, resources.ARTIFACT)
MADE = (resources.REVISION, resources.CLAIM, resources.JOB)
"""Created and deleted, never changed."""


@pytest.mark.parametrize("case", NAMES)
def test_every_kind_that_the_operator_touches_is_granted(case: str) -> None:
    granted: dict[tuple[str, str], set[str]] = {}
    for rule in role_rules(render(*values(case))):
        for group in rule["apiGroups"]:
            for name in rule["resources"]:
                granted.setdefault((group, name), set()).update(rule["verbs"])
    missing = [one.kind for one in resources.BY_KIND.values() if (one.group, one.plural) not in granted]
    assert missing == []
    for one in (*MADE, *WRITTEN):
        wanted = {"get", "list", "watch", "create", "delete", "patch"}
        assert granted[one.group, one.plural] >= wanted, one.kind
    assert not [name for _, name in granted if name.endswith("/finalizers")]


def test_namespaced_rights_reach_only_the_named_namespaces() -> None:
    objects = render(*values("namespaced"))
    (cluster_wide,) = [obj for obj in objects if obj["kind"] == "ClusterRole"]
    assert cluster_wide["rules"] == [
        {"apiGroups": [""], "resources": ["nodes", "namespaces"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["slipway.dev"], "resources": ["servingengines"], "verbs": ["get", "list", "watch"]},
    ]
    assert sorted(obj["metadata"]["namespace"] for obj in objects if obj["kind"] == "Role") == [
        NAMESPACE,
        "team-a",
        "team-b",
    ]


@pytest.mark.parametrize("case", NAMES)
def test_command_line_is_understood(case: str) -> None:
    (container,) = find(render(*values(case)), "Deployment")["spec"]["template"]["spec"]["containers"]
    args = build_parser().parse_args([*container["command"][1:], *container["args"]])
    assert (container["command"][0], args.command, args.port) == ("slipway", "run", 8080)


def settings_of(case: str) -> Settings:
    """What the operator reads from the environment that the chart gives it."""
    (container,) = find(render(*values(case)), "Deployment")["spec"]["template"]["spec"]["containers"]
    given = {variable["name"]: variable.get("value", NAMESPACE) for variable in container["env"]}
    return read_settings(given)


def test_default_values_are_default_settings() -> None:
    assert settings_of("default") == Settings()


def test_every_value_reaches_the_settings() -> None:
    inside = ".example,localhost,127.0.0.1,.svc,.corp.local"
    proxy = "http://proxy.example:3128"
    assert settings_of("everything") == Settings(
        images=Images(
            runtime="registry.example/slipway/runtime:1.2.3",
            llamacpp="registry.example/slipway/llamacpp@sha256:" + "2" * 64,
            pull_policy="Always",
            pull_secrets=("registry", "second"),
        ),
        hub_endpoint="https://hub.example",
        sources=Sources(
            mirror="https://mirror.example",
            endpoints=(
                ("modelscope", "https://modelscope.example"),
                ("oci", "https://registry.example"),
                ("ollama", "https://ollama.example"),
                ("s3", "http://minio.storage.svc:9000"),
            ),
            allowed_hosts=(".example", "minio.storage.svc"),
            s3_region="eu-1",
        ),
        job_env=(
            ("HTTPS_PROXY", proxy),
            ("HTTP_PROXY", proxy),
            ("NO_PROXY", inside),
            ("http_proxy", proxy),
            ("https_proxy", proxy),
            ("no_proxy", inside),
        ),
        ca_config_map="company-ca",
        cluster_domain="corp.local",
        storage_class="fast",
        job_deadline_seconds=3600,
        job_memory_factor=2,
        job_limit=0,
        job_priority_class="batch",
        job_ttl_seconds=600,
        hub_ports=(8090, 8443),
        scrapers=(Scraper("monitoring", (("app", "prometheus"), ("tier", "x"))), Scraper("agents")),
        fs_group=None,
    )
    assert settings_of("namespaced").watch_namespaces == ("team-a", "team-b")


def test_operator_is_no_child_of_its_own() -> None:
    # Children are found by this label: the operator's own pods must not be among them.
    labels = find(render(), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] != "slipway"


def test_releases_of_other_names_do_not_collide() -> None:
    names = {
        obj["metadata"]["name"] for obj in render(release="blue") if obj["kind"] != "CustomResourceDefinition"
    }
    assert {name for name in names if not name.startswith("blue-slipway")} == set()
