"""What llmcompressor is asked for: options read, schemes and modifiers as data. Pure; of ``_compressed``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway_runtime.errors import RequestError
from slipway_runtime.methods._groups import IGNORED

SAMPLES: Final = 128
"""The field's usual number; GPTQ's and AWQ's papers have it."""
TOKENS: Final = 512
"""Of a sample: llmcompressor's examples take 512 to 2048; time grows with it."""
CALIBRATION: Final = ("samples", "sequenceLength")
"""Options of every level that calibrates."""
FP8: Final[Mapping[str, Any]] = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False}
"""E4M3."""


@dataclass(frozen=True)
class Asked:
    """The options of a recipe, of the level's own alone.

    Attributes:
        level: what is made.
        options: name to value.
        group: weights that share a scale; 0 where the level has no groups.
    """

    level: str
    options: Mapping[str, str]
    group: int = 0

    def flag(self, name: str, *, default: bool) -> bool:
        """Return an option of ``true`` or ``false``; RequestError for another word."""
        return self.choice(name, ("true", "false"), str(default).lower()) == "true"

    def choice(self, name: str, allowed: Iterable[str], default: str) -> str:
        """Return an option of a few words; RequestError for another."""
        value, known = self.options.get(name, default), tuple(allowed)
        if value not in known:
            raise RequestError("UnknownOption", f"option {name} is one of {', '.join(known)}, not {value!r}")
        return value

    def number(self, name: str, default: int) -> int:
        """Return an option that counts, at least 1; RequestError for another."""
        text = self.options.get(name) or str(default)
        if not text.isdecimal() or not int(text):
            raise RequestError("UnknownOption", f"option {name} is a number of at least 1, not {text!r}")
        return int(text)


@dataclass(frozen=True)
class Recipe:
    """What llmcompressor applies.

    Attributes:
        modifiers: names of ``_compressed.MODIFIERS`` with their arguments, in order.
        calibrates: some of them reads what layers are given for the calibration text.
    """

    modifiers: tuple[tuple[str, Mapping[str, Any]], ...]
    calibrates: bool


def refuse_others(level: str, options: Mapping[str, str], allowed: Iterable[str]) -> None:
    """Refuse options that the level doesn't have: ignored, they would be a lie in the artifact's recipe."""
    known = tuple(allowed)
    for name in options:
        if name not in known:
            has = ", ".join(known) or "none"
            raise RequestError("UnknownOption", f"level {level} has no option {name}; it has {has}")


def integers(bits: int, group: int, *, symmetric: bool, order: str | None = None) -> dict[str, Any]:
    """Return a scheme of integers with a scale for each group of weights, or for each channel (group 0)."""
    shared = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "dynamic": False, **shared}
    return {"weights": weights | ({"actorder": order} if order else {})}


def quantised(scheme: Mapping[str, Any] | str, **more: Any) -> dict[str, Any]:
    """Return a modifier's arguments: all linear layers but those of ``IGNORED`` under a scheme.

    Args:
        scheme: weights and activations, or the name of a scheme of compressed-tensors.
        more: arguments of the modifier's own.
    """
    common = {"targets": ["Linear"], "ignore": list(IGNORED), **more}
    if isinstance(scheme, str):
        return {"scheme": scheme, **common}
    del common["targets"]
    return {"config_groups": {"group_0": {"targets": ["Linear"], **scheme}}, **common}
