"""What of a folder is refused before a byte of weights is read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.serve.loading import choose_context, read_context, require_weights


@pytest.mark.parametrize(
    ("names", "reason", "code"),
    [
        ([], "NoConfig", Exit.NO_INPUT),
        (["config.json"], "NoWeights", Exit.NO_INPUT),
        (["config.json", "pytorch_model.bin"], "PickleOnly", Exit.DATA),
        (["config.json", "consolidated.00.pth"], "PickleOnly", Exit.DATA),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, names: list[str], reason: str, code: Exit) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(StageError) as refused:
        require_weights(tmp_path)
    assert (refused.value.reason, refused.value.code) == (reason, code)


def test_safetensors_beside_pickles_are_fine(tmp_path: Path) -> None:
    for name in ("config.json", "pytorch_model.bin", "model-00001-of-00002.safetensors"):
        (tmp_path / name).touch()
    require_weights(tmp_path)


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"max_seq_len": 2048, "max_position_embeddings": None}, 2048),
        ({}, None),
        ({"max_position_embeddings": -1}, None),
    ],
)
def test_context_length_of_different_families(fields: dict[str, Any], length: int | None) -> None:
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(**fields))
    assert read_context(config) == length


def test_a_context_may_be_shorter_but_not_longer_than_the_models() -> None:
    assert choose_context(None, 100) == 100
    assert choose_context(50, 100) == 50
    assert choose_context(50, None) == 50
    with pytest.raises(StageError, match="more than the model's own 100"):
        choose_context(200, 100)
