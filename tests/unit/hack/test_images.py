"""Loading images: names as Docker completes them, digests from the archive, nothing imported twice."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from hack.cluster import images

DIGEST = f"sha256:{'a' * 64}"
# Plays ctr: keeps NAME DIGEST rows in a file and a line for each import.
CTR = """#!/bin/sh
while case "$1" in --*) true;; *) false;; esac; do shift; done
case "$2" in
  ls) echo "REF TYPE DIGEST SIZE"; cat "$STORE" 2>/dev/null; true;;
  import) echo "$@" >> "$STORE.imports"
    for a in "$@"; do case $a in --base-name=*) base=${a#--base-name=};; esac; done
    echo "$base@$DIGEST type $DIGEST 1 MiB" >> "$STORE";;
  tag) shift 4; echo "$2 type ${1##*@} 1 MiB" >> "$STORE";;
esac
"""


def archive(path: Path, annotations: dict[str, str]) -> Path:
    index = {"manifests": [{"digest": DIGEST, "annotations": annotations}]}
    data = json.dumps(index).encode()
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("index.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("docker.io/slipway/operator:0.1.0", ("docker.io/slipway/operator", "0.1.0")),
        ("slipway/operator:0.1.0", ("docker.io/slipway/operator", "0.1.0")),
        ("busybox", ("docker.io/library/busybox", "latest")),
        ("localhost/a", ("localhost/a", "latest")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:c", ("host:5000/a/b", "c")),
    ],
)
def test_references_are_completed(reference: str, expected: tuple[str, str]) -> None:
    assert images.split(reference) == expected


def test_an_archive_names_its_image(tmp_path: Path) -> None:
    (found,) = images.read(archive(tmp_path / "a.tar", {images.REF: "docker.io/slipway/x:1"}))
    assert found.tagged == "docker.io/slipway/x:1"
    assert found.pinned == f"docker.io/slipway/x@{DIGEST}"
    (named,) = images.read(archive(tmp_path / "b.tar", {images.REF: "1"}), "slipway/y:2")
    assert named.tagged == "docker.io/slipway/y:2"


def test_an_archive_without_a_name_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(images.ImageError, match="--name"):
        images.read(archive(tmp_path / "a.tar", {images.REF: "latest"}))


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no tar")
    with pytest.raises(images.ImageError, match=r"broken\.tar is no OCI archive"):
        images.read(broken)


def test_an_image_is_imported_once_under_both_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctr = tmp_path / "ctr"
    ctr.write_text(CTR)
    ctr.chmod(0o755)
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DIGEST", DIGEST)
    store = images.Store(ctr)
    source = archive(tmp_path / "a.tar", {images.REF: "docker.io/slipway/x:1"})
    ((image, new),) = store.load(source)
    assert new
    assert store.present() == {image.tagged: DIGEST, image.pinned: DIGEST}
    assert [new for _, new in store.load(source)] == [False]
    assert len((tmp_path / "store.imports").read_text().splitlines()) == 1


def test_a_failing_import_says_what_ctr_said(tmp_path: Path) -> None:
    ctr = tmp_path / "ctr"
    ctr.write_text("#!/bin/sh\necho no such socket >&2\nexit 1\n")
    ctr.chmod(0o755)
    with pytest.raises(images.ImageError, match="no such socket"):
        images.Store(ctr).present()


def test_the_cache_key_covers_the_files_and_the_machine(tmp_path: Path) -> None:
    assert os.uname().machine  # part of the key, for a cache that several machines share
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    keys = {
        images.cached("n", {"/x": one}, []), images.cached("n", {"/x": two}, []),
        images.cached("m", {"/x": one}, []), images.cached("n", {"/y": one}, []),
        images.cached("n", {"/x": one}, ["--user=1"]),
    }  # fmt: skip
    assert len(keys) == 5
