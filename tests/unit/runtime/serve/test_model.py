"""The real thing on tiny random models: several architectures, seeds, cancelling. Needs torch."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from slipway_runtime.errors import StageError
from slipway_runtime.serve.ask import Ask, Sampling
from slipway_runtime.serve.loading import load_model
from slipway_runtime.serve.model import GumbelNoise, TransformersModel
from slipway_runtime.serve.options import Options
from slipway_runtime.serve.refusal import Refusal

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [pytest.mark.filterwarnings("ignore")]

SIZES: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    "GPT2LMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128},
    "MambaForCausalLM": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "T5ForConditionalGeneration": {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4},
}
MORE: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128},
    "T5ForConditionalGeneration": {"decoder_start_token_id": 0},
}


def build_folder(folder: Path, architecture: str) -> Path:
    """Write a random model with a tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")  # noqa: S106 - a token of text
    kind = getattr(transformers, architecture)
    sizes = {**SIZES[architecture], **MORE.get(architecture, {})}
    config = kind.config_class(vocab_size=len(alphabet), eos_token_id=0, pad_token_id=0, **sizes)
    torch.manual_seed(1)
    kind(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TransformersModel:
    folder = build_folder(tmp_path_factory.mktemp("llama"), "LlamaForCausalLM")
    return load_model(Options(folder, "tiny", device="cpu"))


def say(model: TransformersModel, prompt: str, sampling: Sampling) -> list[int]:
    tokens: list[int] = []
    model.generate(Ask(model.encode(prompt), sampling), Event(), lambda token: tokens.append(token) is None)
    return tokens


@pytest.mark.parametrize("architecture", SIZES)
def test_architectures(tmp_path: Path, architecture: str) -> None:
    model = load_model(Options(build_folder(tmp_path, architecture), "tiny", device="cpu"))
    greedy = say(model, "Ahoy", Sampling(12, temperature=0))
    assert 1 <= len(greedy) <= 12
    assert greedy == say(model, "Ahoy", Sampling(12, temperature=0))
    assert model.context_length == {"LlamaForCausalLM": 128, "GPT2LMHeadModel": 128}.get(architecture)


def test_greedy_is_what_generate_says(llama: TransformersModel) -> None:
    ids = torch.tensor([llama.encode("Ahoy")])
    with ThreadPoolExecutor(1) as pool:
        # In a thread that the server has told nothing, as bare transformers would run.
        config = transformers.GenerationConfig(
            max_new_tokens=20, do_sample=False, eos_token_id=0, pad_token_id=0
        )
        llama._compute.enter(Event())
        whole = pool.submit(llama._model.generate, input_ids=ids, generation_config=config).result()
    assert say(llama, "Ahoy", Sampling(20, temperature=0)) == whole[0, ids.shape[1] :].tolist()


def test_a_seed_decides_also_beside_others(llama: TransformersModel) -> None:
    alone = {seed: say(llama, "Ahoy", Sampling(30, seed=seed)) for seed in range(4)}
    assert len({tuple(tokens) for tokens in alone.values()}) == 4
    with ThreadPoolExecutor(4) as pool:
        together = dict(
            zip(alone, pool.map(lambda s: say(llama, "Ahoy", Sampling(30, seed=s)), alone), strict=True)
        )
    assert together == alone


def test_without_a_seed_answers_differ(llama: TransformersModel) -> None:
    assert say(llama, "Ahoy", Sampling(30)) != say(llama, "Ahoy", Sampling(30))


def test_noise_samples_the_distribution() -> None:
    shares = torch.tensor([[0.5, 0.3, 0.2, 0.0]])
    noise = GumbelNoise(7, torch.device("cpu"))
    drawn = Counter(int(noise(None, shares.log()).argmax()) for _ in range(4000))
    assert [round(drawn[token] / 4000, 1) for token in range(4)] == [0.5, 0.3, 0.2, 0.0]


def test_top_k_of_one_is_greedy(llama: TransformersModel) -> None:
    assert say(llama, "Ahoy", Sampling(20, top_k=1)) == say(llama, "Ahoy", Sampling(20, temperature=0))
    assert say(llama, "Ahoy", Sampling(20, top_p=0.0)) == say(llama, "Ahoy", Sampling(20, temperature=0))


def test_the_bound_is_kept_and_named(llama: TransformersModel) -> None:
    count: list[int] = []
    finish = llama.generate(
        Ask(llama.encode("Ahoy"), Sampling(5)), Event(), lambda t: count.append(t) is None
    )
    assert (len(count), finish) in {(5, "length"), (len(count), "eos")}


def test_it_stops_when_told(llama: TransformersModel) -> None:
    tokens: list[int] = []

    def enough(token: int) -> bool:
        tokens.append(token)
        return len(tokens) < 3

    assert llama.generate(Ask(llama.encode("Ahoy"), Sampling(50, seed=1)), Event(), enough) == "stop"
    assert len(tokens) == 3


def test_a_cancelled_request_stops_before_the_next_layer(llama: TransformersModel) -> None:
    cancelled = Event()
    cancelled.set()
    tokens: list[int] = []
    finish = llama.generate(
        Ask(llama.encode("Ahoy"), Sampling(50)), cancelled, lambda t: tokens.append(t) is None
    )
    assert (finish, tokens) == ("stop", [])
    assert say(llama, "Ahoy", Sampling(3, temperature=0))


def test_one_that_is_cancelled_leaves_the_others_alone(llama: TransformersModel) -> None:
    alone = say(llama, "Ahoy", Sampling(60, seed=5))
    cancelled = Event()
    ask = Ask(llama.encode("Ahoy"), Sampling(100, seed=6))
    other = threading.Thread(target=llama.generate, args=(ask, cancelled, lambda _: True))
    other.start()
    time.sleep(0.02)
    cancelled.set()
    assert say(llama, "Ahoy", Sampling(60, seed=5)) == alone
    other.join(5)
    assert not other.is_alive()


def test_tokens_beyond_the_vocabulary_are_refused(llama: TransformersModel) -> None:
    llama.check([0, 256])
    for wrong in (-1, 257):
        with pytest.raises(Refusal, match="below the vocabulary's 257"):
            llama.check([wrong])


def test_a_model_without_a_template_says_so(llama: TransformersModel) -> None:
    with pytest.raises(Refusal, match="no chat template"):
        llama.encode_chat([{"role": "user", "content": "Hi"}])


def test_what_a_template_objects_to_is_the_callers_fault(llama: TransformersModel) -> None:
    llama._tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(Refusal, match="roles must alternate"):
        llama.encode_chat([{"role": "user", "content": "Hi"}])
    llama._tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert llama.encode_chat([{"role": "user", "content": "Hi 🚢"}]) == llama.encode("Hi 🚢")
    llama._tokenizer.chat_template = None


def test_emoji_survive_the_tokenizer(llama: TransformersModel) -> None:
    assert llama.decode(llama.encode("Ahoy 🚢")) == "Ahoy 🚢"


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nobody", "auto_map": {"AutoConfig": "x.Y"}}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(StageError, match="can't load"):
        load_model(Options(tmp_path, "tiny", device="cpu"))
