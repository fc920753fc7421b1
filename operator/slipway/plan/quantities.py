"""Kubernetes quantities: read, and written in the API server's own form. Called by plan and manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping

KIB = 1024
MIB = 1024**2
GIB = 1024**3
_UNITS: Mapping[str, float] = {
    "": 1,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": KIB,
    "Mi": MIB,
    "Gi": GIB,
    "Ti": 1024**4,
    "Pi": 1024**5,
    "Ei": 1024**6,
}
_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")


def quantity(text: str | float) -> float:
    """A Kubernetes quantity as a number: ``500m`` is 0.5, ``1Ki`` is 1024.

    Raises:
        ValueError: not a quantity.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is no Kubernetes quantity such as 500m or 8Gi")
    return float(match[1]) * _UNITS[match[2] or ""]


def round_up(amount: float, unit: int) -> int:
    """The next whole multiple of ``unit``."""
    return -int(-amount // unit) * unit


def bytes_text(amount: int) -> str:
    """Whole MiB as the API server writes them: ``748Mi``, ``2Gi`` rather than ``2048Mi``."""
    mebibytes = round_up(amount, MIB) // MIB
    for unit, size in (("Ti", KIB * KIB), ("Gi", KIB)):
        if mebibytes and mebibytes % size == 0:
            return f"{mebibytes // size}{unit}"
    return f"{mebibytes}Mi"


def cpu_text(millis: int) -> str:
    """Millicores as the API server writes them: ``250m``, ``2`` rather than ``2000m``."""
    return f"{millis // 1000}" if millis % 1000 == 0 else f"{millis}m"


def gib_text(amount: float) -> str:
    """``4.1 GiB``, below 1 GiB ``712 MiB``."""
    return f"{amount / GIB:.1f} GiB" if amount >= GIB else f"{amount / MIB:.0f} MiB"
