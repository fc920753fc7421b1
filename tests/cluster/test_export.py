"""The demo's model on this machine: every byte as published, continued after a cut, with few permissions."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import access
from tests.cluster.access import ROOT
from tests.cluster.namespaces import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
MODEL = "smollm2"
NEEDED = (
    {
        "apiGroups": ["slipway.dev"],
        "resources": ["modeldeployments", "modelartifacts"],
        "verbs": ["get"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
)
"""What docs/export.md says that a user needs."""


def export(
    served: Cluster, tool: str, out: Path, *more: str, kubeconfig: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    line = [str(ROOT / ".venv/bin/slipway"), "export", MODEL, "-n", served.namespace, "--to", tool]
    line += ["--out", str(out), "--kubeconfig", kubeconfig or access.kubeconfig(), *more]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def artifact(served: Cluster) -> dict[str, Any]:
    """The artifact that the model serves."""
    status = served.mdl(MODEL)["status"]
    name = next(one["name"] for one in status["artifacts"] if one["level"] == status["plan"]["level"])
    return served.get("mart", name)


@pytest.fixture(scope="module")
def exported(served: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole folder."""
    folder = tmp_path_factory.mktemp("export") / "files"
    done = export(served, "files", folder)
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr
    return folder


def test_the_files_are_those_that_were_published(served: Cluster, exported: Path) -> None:
    manifest = exported / "manifest.json"
    assert f"sha256:{sha256(manifest)}" == artifact(served)["status"]["digest"]
    files = {one["path"]: one["sha256"] for one in json.loads(manifest.read_text())["files"]}
    assert {path: sha256(exported / path) for path in files} == files
    assert {path.name for path in exported.iterdir()} == {*files, "manifest.json"}


def test_a_cut_copy_goes_on(served: Cluster, exported: Path, tmp_path: Path) -> None:
    whole = (exported / "model.gguf").read_bytes()
    part = tmp_path / "out/model.gguf.part"
    part.parent.mkdir()
    part.write_bytes(whole[: len(whole) // 2 + 1])
    done = export(served, "ollama", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "are there, going on from there" in done.stderr
    assert (tmp_path / "out/model.gguf").read_bytes() == whole
    modelfile = (tmp_path / "out/Modelfile").read_text()
    assert f"PARAMETER num_ctx {served.mdl(MODEL)['status']['plan']['contextLength']}\n" in modelfile
    assert "<|im_start|>" in modelfile


def test_again_copies_nothing(served: Cluster, exported: Path) -> None:
    done = export(served, "files", exported, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert {one["state"] for one in json.loads(done.stdout)["files"]} == {"kept"}


@pytest.fixture
def few_permissions(served: Cluster, tmp_path: Path) -> Iterator[str]:
    """A kubeconfig of someone who may do no more than the page says."""
    name, group = "export-test", "rbac.authorization.k8s.io"
    role = {"kind": "Role", "metadata": {"name": name}, "rules": list(NEEDED)}
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": served.namespace}],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    served.apply(account, *({"apiVersion": f"{group}/v1", **one} for one in (role, binding)))
    try:
        token = served.kubectl("create", "token", name).strip()
        config = yaml.safe_load(Path(access.kubeconfig()).read_text())
        for user in config["users"]:
            user["user"] = {"token": token}
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        yield str(file)
    finally:
        served.kubectl("delete", "rolebinding,role,serviceaccount", name)


def test_few_permissions_are_enough(served: Cluster, few_permissions: str, tmp_path: Path) -> None:
    done = export(served, "llamacpp", tmp_path / "out", kubeconfig=few_permissions)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.gguf", "run.sh"}


def test_without_exec_the_verbs_are_named(served: Cluster, few_permissions: str, tmp_path: Path) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "export-test"},
        "rules": list(NEEDED[:2]),
    }
    served.apply(role)

    def refused() -> subprocess.CompletedProcess[str] | None:
        # The API server's own view of roles is a moment behind.
        done = export(served, "files", tmp_path / "out", kubeconfig=few_permissions)
        return done if done.returncode else None

    done = served.wait("the permission to be gone", refused, 30)
    assert done.returncode == 1
    assert "verbs get and create on pods/exec" in done.stderr
