"""Published quality bands of quantisation levels; read by the artifact's status and the checklist."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Band:
    """Relative loss against the unquantised model that is published for a level, in percent.

    Where one figure is published instead of two ends, both are that one.
    """

    low: float
    high: float

    @property
    def text(self) -> str:
        """As status shows it, ``3-5%``."""
        if self.low == self.high:
            return f"about {self.high:g}%"
        return f"{self.low:g}-{self.high:g}%"


BANDS: dict[str, Band] = {
    "Q8_0": Band(0, 1),
    "Q6_K": Band(1, 2),
    "Q5_K_M": Band(2, 3),
    "Q4_K_M": Band(3, 5),
    "Q4_K_S": Band(4, 6),
    "Q3_K_M": Band(5, 8),
    "Q2_K": Band(8, 12),
    "FP8": Band(0, 0.5),
    "INT8": Band(1, 1),
    "INT4": Band(3, 3),
}
"""Level to band; a level that is absent here has no published one.

Rules of thumb of the field for models of about 7 billion parameters. Measured ones scatter around them: for
Llama 3 8B llama.cpp's own table (pull request 6936) has Q8_0 0.04 %, Q6_K 0.35 %, Q4_K_M 2.8 %, Q2_K 56 %.
So a band only warns.
"""

SPELLINGS: tuple[tuple[str, str], ...] = (
    ("FP8", "FP8"),
    ("W8A8", "INT8"),
    ("W8A16", "INT8"),
    ("INT8", "INT8"),
    ("W4A", "INT4"),
    ("INT4", "INT4"),
    ("NF4", "INT4"),
    ("NVFP4", "INT4"),
    ("MXFP4", "INT4"),
)
"""Beginning of a level's name to the key of ``BANDS`` that holds for it; llama.cpp's are keys themselves."""


def band_of(method: str, level: str) -> Band | None:
    """The published band of a method's level; None where there is none."""
    if method == "gguf":
        return BANDS.get(level)
    return next((BANDS[key] for start, key in SPELLINGS if level.upper().startswith(start)), None)
