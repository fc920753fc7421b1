"""Adapters in the weights: PEFT's own bits, files as the base has them, and what is refused."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from slipway_runtime import files
from slipway_runtime.errors import DataError, NotFoundError, RequestError, StageError
from slipway_runtime.job import Job
from slipway_runtime.lora import Wish, changes_of, needs_peft, scaling
from slipway_runtime.methods import merge, run
from slipway_runtime.publish import publish
from slipway_runtime.tensors import Stored, pack, read_floats, read_tensors, unpack

from .conftest import CONFIG, Bench, build_safetensors

REFERENCE = Path(__file__).with_name("reference") / "lora"
"""Made by ``hack/reference/lora.py``: PEFT's own results."""
CASES = sorted(folder.name for folder in REFERENCE.iterdir() if folder.is_dir())
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
QUERY = "model.layers.0.self_attn.q_proj"


def floats(values: Any, dtype: str = "BF16") -> tuple[str, list[int], bytes]:
    array = np.asarray(values, np.float32)
    return dtype, list(array.shape), pack(array, dtype).tobytes()


def write_adapter(folder: Path, tensors: dict[str, Any], **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(LORA | config))
    packed = {f"base_model.model.{name}": floats(values, "F32") for name, values in tensors.items()}
    (folder / "adapter_model.safetensors").write_bytes(build_safetensors(packed))
    return folder


def write_base(folder: Path, **shards: dict[str, tuple[str, list[int], bytes]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    for name, tensors in shards.items():
        (folder / f"{name}.safetensors").write_bytes(build_safetensors(tensors))
    return folder


def matrices(module: str = QUERY, shape: tuple[int, int] = (4, 4), rank: int = 2) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        f"{module}.lora_A.weight": random.standard_normal((rank, shape[1])),
        f"{module}.lora_B.weight": random.standard_normal((shape[0], rank)),
    }


def job_of(bench: Bench, *adapters: str) -> Job:
    options = {f"adapter-{place:02d}": one for place, one in enumerate(adapters, 1)}
    return bench.job(
        "merge",
        SLIPWAY_METHOD="merge",
        SLIPWAY_LEVEL="MERGED",
        SLIPWAY_OPTIONS=json.dumps(options),
        SLIPWAY_INPUTS=str(bench.folder / "inputs"),
    )


def place(bench: Bench, name: str) -> Path:
    return bench.folder / "inputs" / f"adapter-{name}" / "published"


def merged(bench: Bench) -> dict[str, Stored]:
    return read_tensors(bench.store / "work" / "model" / "model.safetensors")


def small_base(bench: Bench, dtype: str = "BF16", **more: tuple[str, list[int], bytes]) -> Path:
    weights = np.linspace(-1, 1, 16).reshape(4, 4)
    tensors = {f"{QUERY}.weight": floats(weights, dtype), "model.norm.weight": floats(np.ones(4)), **more}
    return write_base(bench.parent / "published", model=tensors)


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_pefts_bit_for_bit(bench: Bench, case: str) -> None:
    base = bench.parent / "published"
    write_base(base)
    shutil.copyfile(REFERENCE / "base.safetensors", base / "model.safetensors")
    shutil.copytree(REFERENCE / case, place(bench, "one"))
    assert run(job_of(bench, "one=1"))["adapters"] == 1
    theirs, before = (
        read_tensors(REFERENCE / case / "merged.safetensors"),
        read_tensors(base / "model.safetensors"),
    )
    ours = merged(bench)
    assert list(ours) == list(before)
    apart = {name: int(_ulps(one, theirs[name]).max()) for name, one in ours.items()}
    # Sums of products may end in another last bit of float32 on another processor, never more.
    assert max(apart.values()) <= 1
    assert sum(distance == 0 for distance in apart.values()) >= len(apart) - 1
    assert any(not np.array_equal(read_floats(ours[name]), read_floats(before[name])) for name in ours)


def _ulps(one: Stored, other: Stored) -> Any:
    first, second = (pack(read_floats(each), "BF16").astype(np.int32) for each in (one, other))
    return np.abs(first - second)


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    rank=st.integers(1, 4),
    weight=st.floats(-2, 2, width=16),
    block=st.integers(1, 40),
    dtype=st.sampled_from(["BF16", "F16", "F32"]),
    seed=st.integers(0, 2**16),
)
def test_what_is_added_is_the_product_however_large_a_block_is(
    rows: int, columns: int, rank: int, weight: float, block: int, dtype: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    base = random.standard_normal((rows, columns)).astype(np.float32)
    lower, upper = random.standard_normal((rank, columns)), random.standard_normal((rows, rank))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "BLOCK", block)
        root = write_base(Path(folder) / "base", model={"a.weight": floats(base, dtype)})
        parts = {"a.lora_A.weight": lower, "a.lora_B.weight": upper}
        wish = Wish("one", weight, write_adapter(Path(folder) / "one", parts, r=rank))
        tensors = read_tensors(root / "model.safetensors")
        blocks = merge.changed("a", tensors["a.weight"], changes_of([wish], tensors)["a.weight"])
        got = unpack(np.concatenate(list(blocks)), dtype)
        start = read_floats(tensors["a.weight"]).reshape(rows, columns)
    exact = start.astype(np.float64) + weight * 4 / rank * (upper.astype("f4") @ lower.astype("f4"))
    bits = {"BF16": 8, "F16": 11, "F32": 22}[dtype]
    assert np.allclose(got, exact, rtol=2.0**-bits, atol=2.0**-12 if dtype != "F32" else 2e-5)
    if weight == 0:
        assert np.array_equal(got, start)


def test_files_are_the_bases_own(bench: Bench) -> None:
    base = bench.parent / "published"
    first = {"model.embed.weight": floats(np.ones((3, 4))), f"{QUERY}.weight": floats(np.ones((4, 4)), "F16")}
    second = {"lm_head.weight": floats(np.zeros((3, 4)), "F32")}
    write_base(base, **{"model-00001-of-00002": first, "model-00002-of-00002": second})
    index = {"weight_map": dict.fromkeys(first, "model-00001-of-00002.safetensors")}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    (base / "chat_template.jinja").write_text("{{ messages }}")
    files.write_manifest(base, [], "fetch", {})
    write_adapter(place(bench, "one"), matrices())
    run(job_of(bench, "one=1"))
    folder = bench.store / "work" / "model"
    names = {path.name for path in base.iterdir()} - {"manifest.json"}
    assert {path.name for path in folder.iterdir()} == names
    same = names - {"model-00001-of-00002.safetensors"}
    assert all((folder / name).read_bytes() == (base / name).read_bytes() for name in same)
    with safe_open(folder / "model-00001-of-00002.safetensors", "np") as opened:
        assert opened.get_tensor(f"{QUERY}.weight").dtype == np.float16
        assert not np.array_equal(opened.get_tensor(f"{QUERY}.weight"), np.ones((4, 4)))
    assert publish(job_of(bench, "one=1"))["files"] == len(names)


def test_adapters_are_merged_in_their_order_each_by_its_weight(bench: Bench) -> None:
    small_base(bench)
    write_adapter(place(bench, "one"), matrices())
    write_adapter(place(bench, "two"), matrices(rank=1), r=1)
    run(job_of(bench, "one=0.5", "two=-2"))
    parts = [matrices(), matrices(rank=1)]
    values = read_floats(read_tensors(bench.parent / "published/model.safetensors")[f"{QUERY}.weight"])
    for scale, part in zip((0.5 * 2, -2 * 4), parts, strict=True):
        product = part[f"{QUERY}.lora_B.weight"].astype("f4") @ part[f"{QUERY}.lora_A.weight"].astype("f4")
        values = unpack(pack(values + (product * np.float32(scale)).reshape(-1), "BF16"), "BF16")
    assert np.array_equal(read_floats(merged(bench)[f"{QUERY}.weight"]), values)


def test_a_saved_module_is_moved_to_by_its_weight(bench: Bench) -> None:
    small_base(bench)
    write_adapter(place(bench, "one"), {"model.norm.weight": np.full(4, 3.0)})
    run(job_of(bench, "one=0.5"))
    assert read_floats(merged(bench)["model.norm.weight"]).tolist() == [2.0] * 4


def test_names_may_have_another_beginning(bench: Bench) -> None:
    tensors = {f"language_model.{QUERY}.weight": floats(np.ones((4, 4)))}
    write_base(bench.parent / "published", model=tensors)
    write_adapter(place(bench, "one"), matrices())
    run(job_of(bench, "one=1"))
    assert len(set(read_floats(next(iter(merged(bench).values()))).tolist())) > 1


def test_a_copy_of_the_bases_embedding_changes_nothing(bench: Bench) -> None:
    embed = {"model.embed_tokens.weight": floats(np.ones((6, 4)))}
    small_base(bench, **embed)
    copy = {"model.embed_tokens.base_layer.weight": np.ones((6, 4))}
    parts = {
        "model.embed_tokens.lora_embedding_A": np.ones((2, 6)),
        "model.embed_tokens.lora_embedding_B": np.ones((4, 2)),
    }
    write_adapter(place(bench, "one"), {**copy, **parts})
    run(job_of(bench, "one=1"))
    assert read_floats(merged(bench)["model.embed_tokens.weight"]).tolist() == [5.0] * 24


def test_a_copy_of_another_size_is_another_bases(bench: Bench) -> None:
    small_base(bench, **{"model.embed_tokens.weight": floats(np.ones((6, 4)))})
    write_adapter(place(bench, "one"), {"model.embed_tokens.base_layer.weight": np.ones((7, 4))})
    assert refusal(bench).reason == "AdapterMismatch"


def refusal(bench: Bench, *adapters: str) -> StageError:
    with pytest.raises(StageError) as caught:
        run(job_of(bench, *(adapters or ("one=1",))))
    assert not (bench.store / "work" / "model").exists()
    return caught.value


@pytest.mark.parametrize(
    ("tensors", "config", "reason", "words"),
    [
        (matrices("model.layers.9.self_attn.q_proj"), {}, "AdapterMismatch", "model.layers.9"),
        (matrices(shape=(4, 8)), {}, "AdapterMismatch", "4 x 8"),
        ({"model.norm.weight": np.ones(9)}, {}, "AdapterMismatch", "of 9"),
        ({"lm_head.weight": np.ones((2, 2))}, {}, "AdapterMismatch", "lm_head"),
        (dict([next(iter(matrices().items()))]), {}, "BrokenWeights", "half"),
        ({"x.lora_magnitude_vector": np.ones(4)}, {}, "NotAnAdapter", "lora_magnitude_vector"),
        ({}, {}, "NotAnAdapter", "no tensor"),
        (matrices(), {"lora_alpha": None}, "NotAnAdapter", "lora_alpha"),
        (matrices(), {"lora_alpha": float("inf")}, "NotAnAdapter", "lora_alpha"),
        ({**matrices(), f"{QUERY}.lora_B.weight": np.full((4, 2), np.nan)}, {}, "InvalidWeights", QUERY),
        ({**matrices(), f"{QUERY}.lora_B.weight": np.ones((4, 3))}, {}, "AdapterMismatch", "rank"),
        (matrices(), {"alpha_pattern": {"*": 1}}, "NotAnAdapter", "alpha_pattern"),
        (matrices(), {"alpha_pattern": {"(a+)+b": 1}}, "NotAnAdapter", "no repeated group"),
        (matrices(), {"alpha_pattern": {"(a|a)(a|a)(a|a)(a|a)": 1}}, "NotAnAdapter", "at most"),
        (matrices(), {"use_dora": True, "rank_pattern": {"(": 1}}, "NotAnAdapter", "rank_pattern"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(
    bench: Bench, tensors: dict[str, Any], config: dict[str, Any], reason: str, words: str
) -> None:
    small_base(bench)
    write_adapter(place(bench, "one"), tensors, **config)
    found = refusal(bench)
    assert (found.reason, isinstance(found, DataError)) == (reason, True)
    assert words in found.message


def test_a_value_too_large_for_the_type_is_refused(bench: Bench) -> None:
    small_base(bench, "F16")
    write_adapter(place(bench, "one"), {name: one * 1e4 for name, one in matrices().items()})
    assert refusal(bench).reason == "InvalidWeights"


@pytest.mark.parametrize(
    ("value", "name", "refused"),
    [
        (np.nan, "model.norm.weight", True),
        (np.inf, "model.norm.weight", True),
        (np.nan, "h.0.attn.masked_bias", True),
        (-np.inf, "h.0.attn.masked_bias", False),
    ],
)
def test_damage_in_a_tensor_that_no_adapter_changes(
    bench: Bench, value: float, name: str, *, refused: bool
) -> None:
    small_base(bench, **{name: floats([1, value, 1, 1])})
    write_adapter(place(bench, "one"), matrices())
    if not refused:
        assert run(job_of(bench, "one=1"))["adapters"] == 1
        return
    found = refusal(bench)
    assert (found.reason, name in found.message) == ("InvalidWeights", True)


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 20), (20, 64)), ((0, 32), (40, 72)), ((0, 32), (16, 48)), ((32, 0), (0, 64)), ((-8, 24), (32, 64))],
    ids=["another shape", "a gap", "twice", "backwards", "negative"],
)
@pytest.mark.parametrize("whose", ["base", "adapter"])
def test_a_header_that_lies_is_refused(
    bench: Bench, whose: str, first: tuple[int, int], second: tuple[int, int]
) -> None:
    base = small_base(bench)
    folder = write_adapter(place(bench, "one"), matrices())
    header = {
        f"{QUERY}.lora_A.weight": {"dtype": "F16", "shape": [2, 8], "data_offsets": first},
        f"{QUERY}.lora_B.weight": {"dtype": "F16", "shape": [8, 2], "data_offsets": second},
    }
    text = json.dumps(header).encode()
    data = b"\0" * max(first[1], second[1])
    path = base / "model.safetensors" if whose == "base" else folder / "adapter_model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert refusal(bench).reason == "BrokenWeights"


def test_a_pattern_of_any_adapter_ends_in_time() -> None:
    patterns = {"lora_alpha": 4, "alpha_pattern": {".*a.*ab": 8}}
    assert scaling(patterns, "a" * 200, 2) == 2
    with pytest.raises(DataError, match="201 characters"):
        scaling(patterns, "a" * 201, 2)


def test_quantised_weights_are_refused(bench: Bench) -> None:
    tensors = {f"{QUERY}.weight": ("F8_E4M3", [4, 4], b"\0" * 16)}
    write_base(bench.parent / "published", model=tensors)
    write_adapter(place(bench, "one"), matrices())
    assert refusal(bench).reason == "NotFloats"


def test_what_is_missing_is_named(bench: Bench) -> None:
    small_base(bench)
    assert isinstance(refusal(bench), NotFoundError)
    place(bench, "one").mkdir(parents=True)
    (place(bench, "one") / "adapter_config.json").write_text("{")
    assert refusal(bench).reason == "BrokenConfig"
    for wrong in ("one", "one=much", "=1", "one=nan"):
        assert isinstance(refusal(bench, wrong), RequestError)
    with pytest.raises(RequestError, match="names no adapter"):
        run(job_of(bench))


def test_a_killed_try_leaves_nothing_and_the_next_one_begins_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_base(bench)
    write_adapter(place(bench, "one"), matrices())
    with monkeypatch.context() as patch:
        patch.setattr(merge, "pack", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(job_of(bench, "one=1"))
    assert not (bench.store / "work" / "model").exists()
    first = run(job_of(bench, "one=1"))
    assert run(job_of(bench, "one=1")) == {**first, "resumed": True}


def test_what_needs_peft() -> None:
    assert not needs_peft(LORA | {"use_rslora": True, "modules_to_save": ["lm_head"], "bias": "none"})
    for more in ({"use_dora": True}, {"bias": "all"}, {"trainable_token_indices": [1]}, {"lora_bias": True}):
        assert needs_peft(LORA | more)


def test_scales() -> None:
    assert scaling({"lora_alpha": 16}, "a", 8) == 2
    assert scaling({"lora_alpha": 16, "use_rslora": True}, "a", 4) == 8
    patterns = {"lora_alpha": 16, "alpha_pattern": {"layers.1.q_proj": 8, r"layers\.\d+\.v_proj": 4}}
    names = ("model.layers.1.q_proj", "model.layers.2.v_proj", "model.layers.11.q_proj", "xlayers.1.q_proj")
    assert [scaling(patterns, name, 8) for name in names] == [1, 0.5, 2, 2]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_bfloat16_is_the_nearest(values: list[float]) -> None:
    array = np.asarray(values, np.float32)
    got = unpack(pack(array, "BF16"), "BF16")
    below = (array.view(np.uint32) & 0xFFFF0000).view(np.float32)
    above = ((array.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32)
    finite = np.isfinite(above)
    with np.errstate(over="ignore"):
        nearest = np.minimum(np.abs(below - array), np.abs(above - array))
        assert np.array_equal(np.abs(got - array)[finite], nearest[finite])
