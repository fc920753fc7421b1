"""Stages on a disk that is really full: the kernel's own ENOSPC, not a made-up one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from slipway_runtime import files
from slipway_runtime.errors import StoreFullError
from slipway_runtime.model_folder import make_folder
from slipway_runtime.progress import format_bytes

from .conftest import Bench, HubServer, build_repository, build_safetensors, downloading

MIB = 1 << 20
DISK = 32 * MIB
WEIGHTS = 24 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of ``DISK`` bytes."""
    if os.geteuid():
        pytest.skip("only root may mount a file system of its own")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "slipway-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: what a failed test left running may still be on it.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing more fits; returns the file that is in the way."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    assert os.statvfs(folder).f_bavail == 0
    return ballast


def test_a_disk_that_is_full_is_named_with_its_figures(disk: Path) -> None:
    fill(disk)
    with pytest.raises(StoreFullError) as caught, files.full_disk_as_store_full(disk):
        (disk / "more").write_bytes(b"x")
    assert (caught.value.reason, caught.value.code) == ("StoreFull", 73)
    assert f"0 B of {format_bytes(DISK)} free in {disk}" in caught.value.message


def test_a_disk_that_safetensors_find_full_is_a_full_store(bench: Bench, disk: Path) -> None:
    job = bench.job("quantize", SLIPWAY_STORE=str(disk), SLIPWAY_METHOD="awq", SLIPWAY_LEVEL="W4A16")

    def make(folder: Path) -> None:
        (folder / "config.json").write_bytes(bytes(WEIGHTS))
        save_file({"a": np.zeros(DISK, np.uint8)}, folder / "model.safetensors")

    with pytest.raises(StoreFullError) as caught:
        make_folder(job, 0, make)
    assert (caught.value.reason, caught.value.code) == ("StoreFull", 73)
    whole = format_bytes(DISK)
    assert f"{whole} of {whole} free" not in caught.value.message, "figures are those of the full disk"
    assert [path.name for path in (disk / "work").iterdir()] == []


@pytest.fixture
def environment(bench: Bench, hub: HubServer, disk: Path) -> dict[str, str]:
    """What the stage fetch gets: weights that fit on the disk, and nothing much beside them."""
    weights = build_safetensors({"a": ("BF16", [WEIGHTS // 2], bytes(WEIGHTS))})
    build_repository(hub.root / "acme" / "large", weights)
    return {
        "HF_ENDPOINT": hub.url,
        "SLIPWAY_SOURCE": "hf://acme/large",
        "SLIPWAY_REVISION": "main",
        "SLIPWAY_STORE": str(disk),
    }


def test_a_full_store_is_refused_before_the_first_byte(
    bench: Bench, hub: HubServer, disk: Path, environment: dict[str, str]
) -> None:
    fill(disk)
    code, result, log = bench.run("fetch", **environment)
    assert (code, result["reason"]) == (73, "StoreFull"), log
    assert hub.sent_bytes() == 0


def test_a_store_that_fills_up_on_the_way_keeps_nothing_half_and_goes_on_once_there_is_room(
    bench: Bench, hub: HubServer, disk: Path, environment: dict[str, str]
) -> None:
    hub.fail(bytes_per_second=8 * MIB)
    process = bench.start("fetch", **environment)
    downloading(disk, process)
    ballast = fill(disk)
    process.communicate(timeout=60)
    result = bench.result()
    assert (process.returncode, result["reason"]) == (73, "StoreFull")
    assert "free" in result["message"]
    assert not (disk / "published").exists()
    ballast.unlink()
    hub.fail()
    code, result, log = bench.run("fetch", **environment)
    assert (code, result["ok"]) == (0, True), log
    assert files.verify_manifest(disk / "published") is not None
