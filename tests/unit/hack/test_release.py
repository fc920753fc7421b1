"""The demo's Helm release: a killed Helm is no dead end, and what others installed is not overwritten."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hack.demo import release

ROOT = Path(__file__).resolve().parents[3]
# Plays kubectl on Secrets that lie in a file: lists them, and forgets them all when one is deleted.
KUBECTL = """#!/bin/sh
dir=$(dirname "$0")
echo "kubectl $*" >> "$dir/asked"
case " $* " in
  *" get secrets "*) cat "$dir/secrets";;
  *" delete secret "*) echo '{"items": []}' > "$dir/secrets";;
  *" rollout "*) echo "waiting for pods"; [ ! -e "$dir/stuck" ];;
esac
"""
HELM = """#!/bin/sh
echo "helm $*" >> "$(dirname "$0")/asked"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a kubectl; no release is there."""
    for name, text in (("kubectl", KUBECTL), ("helm", HELM)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.delenv("OVERWRITE", raising=False)
    secrets(tmp_path)
    return tmp_path


def revision(number: int, status: str, age: float = 3600, made_by: str = "helm") -> dict[str, Any]:
    """What Helm keeps of one revision, changed so many seconds ago."""
    labels = {"version": str(number), "status": status, "createdAt": str(int(time.time() - age))}
    labels["made-by"] = made_by
    return {"metadata": {"name": f"sh.helm.release.v1.slipway.v{number}", "labels": labels}}


def secrets(cluster: Path, *items: dict[str, Any]) -> None:
    (cluster / "secrets").write_text(json.dumps({"items": items}))


def deleted(cluster: Path) -> list[str]:
    lines = (cluster / "asked").read_text().splitlines()
    return [line.split()[3] for line in lines if " delete secret " in line]


def kubectl(cluster: Path) -> list[str]:
    return [str(cluster / "kubectl")]


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback"])
def test_what_a_killed_helm_left_is_forgotten(
    cluster: Path, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    secrets(cluster, revision(9, "superseded"), revision(10, status))
    release.recover(kubectl(cluster))
    assert deleted(cluster) == ["sh.helm.release.v1.slipway.v10"]
    assert f"left revision 10 {status}" in capsys.readouterr().out


@pytest.mark.parametrize("items", [[], [revision(1, "pending-install"), revision(2, "deployed")]])
def test_a_release_at_rest_is_left_alone(cluster: Path, items: list[dict[str, Any]]) -> None:
    secrets(cluster, *items)
    release.recover(kubectl(cluster))
    assert deleted(cluster) == []


def test_a_helm_at_work_is_waited_for(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets(cluster, revision(1, "pending-install", age=2))
    monkeypatch.setattr(time, "sleep", lambda _: secrets(cluster, revision(1, "deployed", age=0)))
    release.recover(kubectl(cluster))
    assert deleted(cluster) == []
    assert "waiting for the Helm that may work on it" in capsys.readouterr().out


def test_somebody_elses_release_is_refused_with_both_ways_on(cluster: Path) -> None:
    secrets(cluster, revision(3, "deployed"))
    with pytest.raises(release.ReleaseError) as caught:
        release.spare(kubectl(cluster), "kind-kind")
    for part in ("revision 3, deployed", "demo.py --context kind-kind", "CONTEXT=kind-kind OVERWRITE=1"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "items",
    [[], [revision(3, "deployed", made_by="slipway-demo")], [revision(3, "uninstalled")]],
)
def test_none_of_our_own_and_none_that_lives_is_refused(cluster: Path, items: list[dict[str, Any]]) -> None:
    secrets(cluster, *items)
    release.spare(kubectl(cluster), "kind-kind")


def test_overwriting_has_to_be_said(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(cluster, revision(3, "deployed"))
    monkeypatch.setenv("OVERWRITE", "1")
    release.spare(kubectl(cluster), "kind-kind")


def on_context(cluster: Path) -> subprocess.CompletedProcess[str]:
    """Run the script in a copy of what it uses, against that kubectl and with a demo that only says so."""
    hack = cluster / "checkout/hack"
    shutil.copytree(ROOT / "hack/demo", hack / "demo")
    shutil.copy(ROOT / "hack/ledger.py", hack)
    (hack / "demo/demo.py").write_text("print('the demo itself')\n")
    environment = {**os.environ, "PATH": f"{cluster}:{os.environ['PATH']}"}
    line = ["bash", str(hack / "demo/on-context.sh"), "kind-kind"]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_each_step_on_a_context_is_in_the_ledger(cluster: Path) -> None:
    done = on_context(cluster)
    assert done.returncode == 0, done.stderr
    said = (
        "✓ install on kind-kind",
        "waiting for pods",
        "✓ operator on kind-kind",
        "the demo itself",
        "total",
    )
    places = [done.stdout.index(part) for part in said]
    assert places == sorted(places)
    (helm,) = [line for line in (cluster / "asked").read_text().splitlines() if line.startswith("helm ")]
    assert "--kube-context kind-kind" in helm
    assert f"--labels {release.MADE_BY[0]}={release.MADE_BY[1]}" in helm


def test_an_operator_that_does_not_start_leads_to_its_log_and_the_images(cluster: Path) -> None:
    (cluster / "stuck").touch()
    done = on_context(cluster)
    assert done.returncode != 0
    for part in ("operator-on-kind-kind.log", "kind load docker-image", "k3d image import", "IMAGE_REGISTRY"):
        assert part in done.stderr
    assert "the demo itself" not in done.stdout


def test_nothing_is_installed_over_somebody_elses_release(cluster: Path) -> None:
    secrets(cluster, revision(1, "deployed"))
    done = on_context(cluster)
    assert done.returncode == 1
    assert "OVERWRITE=1" in done.stderr
    assert "helm " not in (cluster / "asked").read_text()


def test_people_on_a_mac_can_run_it() -> None:
    for name in ("ledger.py", "demo/demo.py", "demo/question.py", "demo/release.py"):
        ast.parse((ROOT / "hack" / name).read_text(), feature_version=(3, 9))
    newer = {"mapfile", "readarray", "declare -A", "${!", "&>>", ",,}", "^^}"}  # than bash 3.2
    text = (ROOT / "hack/demo/on-context.sh").read_text()
    assert [word for word in newer if word in text] == []
