"""The image builds' own store: what old images alone needed goes, what a killed build left goes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from hack.images import archive, build
from hack.images.buildah import Buildah, BuildError

ROOT = Path(__file__).resolve().parents[3]


def blob(layout: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    folder = layout / "blobs/sha256"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / digest).write_bytes(content)
    return f"sha256:{digest}"


def image(layout: Path, name: str, *layers: bytes) -> dict[str, object]:
    manifest = {
        "config": {"digest": blob(layout, name.encode())},
        "layers": [{"digest": blob(layout, layer)} for layer in layers],
    }
    digest = blob(layout, json.dumps(manifest).encode())
    return {"digest": digest, "annotations": {archive.REF_NAME: name}}


def test_pruning_keeps_what_a_kept_image_shares(tmp_path: Path) -> None:
    layout, packed = tmp_path / "layout", tmp_path / "packed"
    entries = [image(layout, "old", b"base", b"old code"), image(layout, "new", b"base", b"new code")]
    entries.append({"digest": entries[0]["digest"]})  # an image that lost its name
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    packed.mkdir()
    digests = {
        content: hashlib.sha256(content).hexdigest() for content in (b"base", b"old code", b"new code")
    }
    for digest in digests.values():
        (packed / f"{digest}-{'f' * 64}.zst").write_text("")
    archive.prune(layout, {"new"})
    index = json.loads((layout / "index.json").read_text())
    assert index == {"schemaVersion": 2, "manifests": [entries[1]]}
    assert len(list((layout / "blobs/sha256").iterdir())) == 4  # manifest, configuration, two layers
    assert {path.name[:64] for path in packed.iterdir()} == {digests[b"base"], digests[b"new code"]}
    assert not (layout / "blobs/sha256" / digests[b"old code"]).exists()


def test_pruning_nothing_is_fine(tmp_path: Path) -> None:
    archive.prune(tmp_path / "layout", set())
    assert not (tmp_path / "layout").exists()


@pytest.mark.parametrize("left", ["", "4e403e5797ef"])
def test_containers_of_a_killed_build_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    program = tmp_path / "bin" / "buildah"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\ncase "$*" in *containers*) echo "{left}";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    Buildah(tmp_path / "store").forget_containers()
    calls = (tmp_path / "calls").read_text()
    assert ("rm --all" in calls) == bool(left)
    assert ("umount --all" in calls) == bool(left)


@pytest.mark.parametrize(("python", "said"), [("3.14", False), ("3.15", True)])
def test_a_suite_with_another_python_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, said: bool
) -> None:
    program = tmp_path / "bin" / "buildah"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'Setting up python3 ({python}.1-1) ...'\necho no wheel\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    tool = Buildah(tmp_path / "store", build.PYTHON)
    with pytest.raises(BuildError, match="no wheel") as caught:
        tool.build(tmp_path, "operator", "x", {}, {}, tmp_path / "log")
    assert (f"locked for Python 3.14, but this Debian suite has {python}" in str(caught.value)) == said


def test_the_lock_and_the_build_mean_the_same_python() -> None:
    assert f"--python-version {build.PYTHON})" in (ROOT / "hack/lock.sh").read_text()
