"""Files inside tars have no digest of their own: that of their layer holds for them, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_runtime.contract import Exit
from slipway_runtime.errors import DataError
from slipway_runtime.sources import RemoteFile, connect, verify
from tests.support.gguf_models import write_gguf
from tests.support.registry_double import Double, serving
from tests.support.registry_models import IMAGE_LAYER, tar_of
from tests.support.web_files import closing_clients

from .conftest import Bench


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    with closing_clients(monkeypatch), serving(Double()) as served:
        yield served


@pytest.mark.parametrize("damaged", [False, True])
def test_gguf_inside_a_tar_is_held_against_its_layer(
    bench: Bench, double: Double, tmp_path: Path, *, damaged: bool
) -> None:
    content = write_gguf(tmp_path / "m-Q8_0.gguf", "Q8_0").read_bytes()
    tar = tar_of({"models/m-Q8_0.gguf": content})
    double.add_layers("v1", [(IMAGE_LAYER, tar, {})])
    if damaged:
        other = bytearray(tar)
        other[tar.index(content) + len(content) - 1] ^= 0xFF
        digest = next(key for key, one in double.blobs.items() if one == tar)
        double.blobs[digest] = bytes(other)
    code, result, log = bench.run(
        "fetch", SLIPWAY_SOURCE=f"oci://{double.host}/acme/m:v1", SLIPWAY_LEVEL="Q8_0"
    )
    if damaged:
        assert (code, result["reason"]) == (Exit.DATA, "DigestMismatch"), log
        assert not list(bench.store.rglob("*.gguf"))
    else:
        assert code == Exit.OK, log
        assert (bench.store / "published" / "model.gguf").read_bytes() == content


def test_what_nobody_verifies_is_refused(bench: Bench, double: Double, tmp_path: Path) -> None:
    sealed = RemoteFile("a", 1, sealed=True)
    with pytest.raises(TypeError, match="verifies nothing"):
        verify(connect(bench.job("fetch")), [(sealed, tmp_path / "a")])
    registry = connect(bench.job("fetch", SLIPWAY_SOURCE=f"oci://{double.host}/acme/m:v1"))
    with pytest.raises(DataError, match="in no layer"):
        verify(registry, [(sealed, tmp_path / "a")])
