"""Pruning that needs no PyTorch: the smallest weights, layers by number, files that stay whole models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slipway_runtime.contract import layers_dropped
from slipway_runtime.errors import StageError
from slipway_runtime.job import Job
from slipway_runtime.methods import run
from slipway_runtime.methods._layers import read_numbers, rename, shorten
from slipway_runtime.methods._sparse import Share, pruned, read_asked
from slipway_runtime.publish import publish
from slipway_runtime.tensors import read_floats, read_tensors
from slipway_runtime.weights import check_index

from .conftest import CONFIG, Bench, build_safetensors
from .test_merge import floats

LAYERS = 3
FLOATS = st.floats(-8, 8, width=16).filter(bool)


def layer(number: int) -> dict[str, Any]:
    random = np.random.default_rng(number)
    name = f"model.layers.{number}"
    return {
        f"{name}.self_attn.q_proj.weight": floats(random.standard_normal((4, 8))),
        f"{name}.mlp.gate.weight": floats(random.standard_normal((2, 8))),
        f"{name}.input_layernorm.weight": floats(np.full(8, number + 1.0)),
    }


@pytest.fixture
def base(bench: Bench) -> Path:
    """Three layers in two shards as the parent."""
    folder = bench.parent / "published"
    folder.mkdir()
    first = {"model.embed_tokens.weight": floats(np.ones((6, 8))), **layer(0), **layer(1)}
    second = {**layer(2), "model.norm.weight": floats(np.ones(8))}
    shards = {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}
    for name, tensors in shards.items():
        (folder / name).write_bytes(build_safetensors(tensors))
    index = {"weight_map": {tensor: name for name, tensors in shards.items() for tensor in tensors}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        **CONFIG,
        "num_hidden_layers": LAYERS,
        "layer_types": ["a", "b", "c"],
        "eos_token_id": [1, 2, 3],
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def job_of(bench: Bench, level: str, stage: str = "prune", **options: str) -> Job:
    given = {"SLIPWAY_METHOD": "prune", "SLIPWAY_LEVEL": level, "SLIPWAY_OPTIONS": json.dumps(options)}
    return bench.job(stage, **given)


def tensors(folder: Path) -> dict[str, Any]:
    found = (read_tensors(path) for path in sorted(folder.glob("*.safetensors")))
    return {name: one for shard in found for name, one in shard.items()}


def test_the_smallest_weights_become_zero_and_the_rest_stays(bench: Bench, base: Path) -> None:
    made = run(job_of(bench, "SPARSE", by="magnitude", sparsity="0.25"))["made"]
    assert made == {"sparsity": "0.2500"}
    before, after = tensors(base), tensors(bench.store / "work" / "model")
    assert list(before) == list(after)
    for name, one in before.items():
        old, new = read_floats(one), read_floats(after[name])
        zero = new == 0
        if "q_proj" not in name:
            assert np.array_equal(old, new)
            continue
        assert zero.sum() == 8
        assert np.array_equal(old[~zero], new[~zero])
        assert np.abs(old[zero]).max() <= np.abs(old[~zero]).min()
    assert publish(job_of(bench, "SPARSE", "publish"))["files"] == 5


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.just(8)), elements=FLOATS), st.integers(1, 3))
def test_a_pattern_holds_in_every_block(values: Any, zeros: int) -> None:
    found = pruned(values, Share(zeros / 4, zeros, 4)).reshape(-1, 4)
    assert ((found == 0).sum(axis=1) == zeros).all()
    blocks = np.abs(values.reshape(-1, 4))
    assert np.isclose(np.abs(found).sum(), np.sort(blocks, axis=1)[:, zeros:].sum())


@given(
    arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=FLOATS),
    st.floats(0.01, 0.99),
)
def test_a_share_of_all_is_rounded_down(values: Any, sparsity: float) -> None:
    found = pruned(values, Share(sparsity))
    assert (found == 0).sum() == int(sparsity * values.size)
    assert found.shape == values.shape


def test_layers_go_and_the_others_are_numbered_anew(bench: Bench, base: Path) -> None:
    assert run(job_of(bench, "SHORT", layers="1"))["made"] == {"layers": "1"}
    folder = bench.store / "work" / "model"
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_hidden_layers"], config["layer_types"]) == (2, ["a", "c"])
    assert config["eos_token_id"] == [1, 2, 3]
    found, before = tensors(folder), tensors(base)
    for new, old in ((0, 0), (1, 2)):
        for name in ("self_attn.q_proj", "input_layernorm"):
            ours = read_floats(found[f"model.layers.{new}.{name}.weight"])
            assert np.array_equal(ours, read_floats(before[f"model.layers.{old}.{name}.weight"]))
    assert len(found) == len(before) - 3
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(found)
    check_index(index, [type("F", (), {"path": path.name})() for path in folder.iterdir()])
    assert publish(job_of(bench, "SHORT", "publish"))["files"] == 5


def test_a_shard_of_which_nothing_is_left_goes(bench: Bench, base: Path) -> None:
    (base / "model-00002-of-00002.safetensors").write_bytes(build_safetensors(layer(2)))
    run(job_of(bench, "SHORT", layers="2"))
    names = [path.name for path in (bench.store / "work" / "model").glob("*.safetensors")]
    assert names == ["model-00001-of-00002.safetensors"]


@pytest.mark.parametrize(
    ("level", "options", "words"),
    [
        ("SHORT", {"layers": "3"}, "0 to 2"),
        ("SHORT", {"layers": "0,1,2"}, "0 to 2"),
        ("SHORT", {"layers": "a"}, "0 to 2"),
        ("SPARSE", {"sparsity": "1"}, "between 0 and 1"),
        ("SPARSE", {}, "between 0 and 1"),
        ("SPARSE", {"pattern": "4:2"}, "such as 2:4"),
        ("SPARSE", {"pattern": "2:4", "by": "guess"}, "sparsegpt"),
        ("SPARSE", {"sparsity": "0.5", "sparsty": "0.9"}, "no option sparsty"),
        ("SHORT", {"layers": "1", "sparsity": "0.5"}, "no option sparsity"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    bench: Bench, base: Path, level: str, options: dict[str, str], words: str
) -> None:
    assert base.is_dir()
    with pytest.raises(StageError, match=words) as caught:
        run(job_of(bench, level, **options))
    assert caught.value.reason == "UnknownOption"
    assert not (bench.store / "work" / "model").exists()


def test_a_config_that_names_layers_by_number_is_refused(bench: Bench, base: Path) -> None:
    config = json.loads((base / "config.json").read_text()) | {"mlp_only_layers": [2]}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(StageError, match="mlp_only_layers") as caught:
        run(job_of(bench, "SHORT", layers="1"))
    assert caught.value.reason == "PruningFailed"


def test_damaged_weights_are_refused(bench: Bench, base: Path) -> None:
    bad = {"model.layers.0.self_attn.q_proj.weight": floats(np.full((4, 8), np.nan))}
    (base / "model-00001-of-00002.safetensors").write_bytes(build_safetensors(bad))
    with pytest.raises(StageError) as caught:
        run(job_of(bench, "SPARSE", sparsity="0.5"))
    assert caught.value.reason == "InvalidWeights"


@pytest.mark.parametrize(("level", "options"), [("SPARSE", {"sparsity": "0.5"}), ("SHORT", {"layers": "1"})])
def test_damage_in_what_stays_as_it_is_is_refused(
    bench: Bench, base: Path, level: str, options: dict[str, str]
) -> None:
    bad = {**layer(2), "model.norm.weight": floats([1, np.nan])}
    (base / "model-00002-of-00002.safetensors").write_bytes(build_safetensors(bad))
    with pytest.raises(StageError, match=r"model\.norm\.weight") as caught:
        run(job_of(bench, level, **options))
    assert caught.value.reason == "InvalidWeights"


def test_a_killed_try_left_what_was_removed(bench: Bench, base: Path) -> None:
    first = run(job_of(bench, "SPARSE", sparsity="0.25"))
    assert run(job_of(bench, "SPARSE", sparsity="0.25")) == {**first, "resumed": True}
    assert base.is_dir()


def test_a_share_of_layers_leaves_one() -> None:
    counts = [
        layers_dropped(32, "25%"),
        layers_dropped(30, "10%"),
        layers_dropped(2, "99%"),
        layers_dropped(9, "1%"),
    ]
    assert counts == [8, 3, 1, 0]


def test_names_and_numbers() -> None:
    kept = {0: 0, 2: 1}
    assert rename("model.layers.2.mlp.up_proj.weight", kept) == "model.layers.1.mlp.up_proj.weight"
    assert rename("transformer.h.1.attn.weight", kept) is None
    assert rename("model.norm.weight", kept) == "model.norm.weight"
    assert read_numbers("2,0,2", 4) == [0, 2]
    assert shorten({"text_config": {"num_hidden_layers": 3}}, 3, kept) == {
        "text_config": {"num_hidden_layers": 2}
    }
    assert read_asked({"pattern": "2:4"}) == Share(0.5, 2, 4)
