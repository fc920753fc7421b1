"""What the engine needs of a model, so that tests can do without torch. ``model`` implements it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any, Literal, Protocol

from slipway_runtime.serve.ask import Ask

Finish = Literal["eos", "stop", "length"]
"""Why an answer ended: by the model itself, by a stop sequence, or by its bound."""


class Generator(Protocol):
    """A loaded model with its tokenizer. Every method may be called from several threads at once."""

    @property
    def context_length(self) -> int | None:
        """Tokens of prompt and answer together; None: the model has no bound."""

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """The model's own defaults of sampling."""

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a plain prompt."""

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Return the tokens of a chat by the model's template; Refusal 400 if there is none or it objects."""

    def check(self, tokens: Sequence[int]) -> None:
        """Raise Refusal 400 when a token is not of the model's vocabulary."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of the tokens, without special ones."""

    def generate(self, ask: Ask, cancelled: Event, on_token: Callable[[int], bool]) -> Finish:
        """Generate until the model ends, the bound is reached, or it is told to stop.

        Args:
            ask: prompt and sampling; its stop sequences are not the generator's business.
            cancelled: set when nobody wants the answer any more; it stops within a layer's time.
            on_token: called with every new token; when it returns False, the generation stops.

        Raises:
            OverloadError: no memory for this request.
            FatalError: the model can't be used any more.
        """
