"""transformers' ``generate`` behind the engine's interface: safe from several threads, seeded, stoppable.

Called by ``loading``. ``generate`` itself stays greedy: a token is sampled by adding noise of the request's
own random generator to the scores (Gumbel's trick), since torch's global one would be shared by all threads.
"""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

from slipway_runtime.serve.ask import Ask, Sampling
from slipway_runtime.serve.compute import Compute, StoppedError
from slipway_runtime.serve.generator import Finish
from slipway_runtime.serve.refusal import FatalError, OverloadError, Refusal

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: dividing by them would overflow."""
NO_MEMORY = ("out of memory", "can't allocate memory")
NEUTRAL: Mapping[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "min_p": None,
    "typical_p": None,
    "max_length": None,
    "max_time": None,
    "stop_strings": None,
    "return_dict_in_generate": False,
    "use_cache": True,
    "disable_compile": True,
}
"""What of a generation config the server decides itself. Compiling would take minutes for every new shape."""


class Streamer:
    """What ``generate`` hands its tokens to: the prompt first, then one after the other."""

    def __init__(self, on_token: Callable[[int], bool]) -> None:
        self._on_token = on_token
        self._in_prompt = True
        self.last = -1

    def put(self, tokens: Any) -> None:
        """Hand a token on; StoppedError when no more are wanted."""
        if self._in_prompt:
            self._in_prompt = False
            return
        self.last = int(tokens.reshape(-1)[-1])
        if not self._on_token(self.last):
            raise StoppedError

    def end(self) -> None:
        """Do nothing: the end is when ``generate`` returns."""


class GumbelNoise:
    """A logits processor after which the greatest score is a sample of the distribution."""

    def __init__(self, seed: int | None, device: Any) -> None:
        import torch

        # Gaudi has no generators of its own.
        self._random = torch.Generator("cpu" if device.type == "hpu" else device)
        if seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores with noise: argmax(log p - log E) with E from Exp(1) is drawn by p."""
        import torch

        del input_ids
        noise = torch.empty(scores.shape, dtype=torch.float32, device=self._random.device)
        noise.exponential_(generator=self._random).clamp_min_(torch.finfo(torch.float32).tiny)
        return scores - noise.log_().to(scores.device)


class TransformersModel:
    """A loaded model and its tokenizer; implements `generator.Generator`."""

    def __init__(self, model: Any, tokenizer: Any, context_length: int | None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()
        self.context_length = context_length
        self.generation_config: Mapping[str, Any] = model.generation_config.to_diff_dict()
        self._vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self._ends = read_ends(model.generation_config, tokenizer)
        self._config = build_config(model.generation_config, self._ends)
        # generate() fills what is open in a config from the model's own.
        model.generation_config = self._config
        self._masked = "attention_mask" in inspect.signature(model.forward).parameters
        # After the signature was read: from here on the model computes in a thread of its own.
        self._compute = Compute(model)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a plain prompt, with those that the tokenizer puts around it."""
        return self._tokenize(text, special=True)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Return the tokens of a chat up to where the assistant speaks."""
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise Refusal(
                400,
                "this model has no chat template: use /v1/completions, or a model made for chats",
                code="no_chat_template",
                param="messages",
            )
        try:
            text = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise Refusal(
                400, f"the chat template refuses these messages: {error}", param="messages"
            ) from error
        return self._tokenize(text, special=False)

    def _tokenize(self, text: str, *, special: bool) -> tuple[int, ...]:
        # Fast tokenizers refuse a second thread while their settings are being changed.
        with self._tokenizing:
            return tuple(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def check(self, tokens: Sequence[int]) -> None:
        """Refuse tokens that the model does not have: on an accelerator they would kill the worker."""
        wrong = next((token for token in tokens if not 0 <= token < self._vocabulary), None)
        if wrong is not None:
            raise Refusal(
                400, f"prompt: token {wrong} is not below the vocabulary's {self._vocabulary}", param="prompt"
            )

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text, without special tokens and without cleaning, which would change what was said."""
        decoded = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(decoded)

    def generate(self, ask: Ask, cancelled: Event, on_token: Callable[[int], bool]) -> Finish:
        """Generate in the calling thread; see `generator.Generator`."""
        import torch

        self._compute.enter(cancelled)
        streamer = Streamer(on_token)
        try:
            self._model.generate(**self._build_inputs(ask), streamer=streamer)
        except StoppedError:
            return "stop"
        except torch.OutOfMemoryError as error:
            # Gives back what the failed request had reserved.
            torch.accelerator.empty_cache()
            raise OverloadError(str(error)) from error
        except RuntimeError as error:
            raise translate(error) from error
        return "eos" if streamer.last in self._ends else "length"

    def _build_inputs(self, ask: Ask) -> dict[str, Any]:
        """Return the arguments of ``generate``."""
        import torch

        config = copy.copy(self._config)
        config.max_new_tokens = ask.sampling.max_tokens
        ids = torch.tensor([ask.prompt], dtype=torch.long, device=self._model.device)
        mask = {"attention_mask": torch.ones_like(ids)} if self._masked else {}
        return {
            "input_ids": ids,
            **mask,
            "generation_config": config,
            "logits_processor": build_sampler(ask.sampling, ids.device),
        }


def translate(error: RuntimeError) -> Exception:
    """Return the error by what it means for later requests."""
    import torch

    if isinstance(error, torch.AcceleratorError):
        return FatalError(str(error))
    if any(words in str(error) for words in NO_MEMORY):
        return OverloadError(str(error))
    return error


def read_ends(generation_config: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end an answer: the generation config's and the tokenizer's."""
    said = generation_config.eos_token_id
    ends = {*(said if isinstance(said, list) else [said]), tokenizer.eos_token_id}
    return tuple(sorted(end for end in ends if end is not None))


def build_config(generation_config: Any, ends: tuple[int, ...]) -> Any:
    """Return the config of every generation: the model's own penalties and cache, none of its sampling."""
    config = copy.deepcopy(generation_config)
    for name, value in NEUTRAL.items():
        setattr(config, name, value)
    config.eos_token_id = list(ends) or None
    if config.pad_token_id is None:
        # Nothing is ever padded, but generate() wants to know.
        config.pad_token_id = ends[0] if ends else 0
    return config


def build_sampler(sampling: Sampling, device: Any) -> Any:
    """Return the logits processors of one request; none when it is greedy."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if sampling.temperature < GREEDY_BELOW:
        return LogitsProcessorList()
    chosen: list[Any] = []
    if sampling.temperature != 1:
        chosen.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chosen.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chosen.append(TopPLogitsWarper(sampling.top_p))
    return LogitsProcessorList([*chosen, GumbelNoise(sampling.seed, device)])
