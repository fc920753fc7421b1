"""Kubernetes quantities, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.plan.quantities import MIB, bytes_text, cpu_text, gib_text, quantity, round_up


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", 0.5),
        ("1Ki", 1024),
        ("1.5Gi", 1.5 * 1024**3),
        ("1e3", 1000),
        ("2k", 2000),
        (4, 4),
        ("0", 0),
    ],
)
def test_read(text: str | float, number: float) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GB", "one"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="no Kubernetes quantity"):
        quantity(text)


@given(st.integers(0, 2**45))
def test_written_bytes_are_canonical_and_never_less(amount: int) -> None:
    text = bytes_text(amount)
    assert amount <= quantity(text) < amount + MIB
    assert not (text.endswith("Mi") and int(text[:-2]) % 1024 == 0 and text != "0Mi")


def test_written() -> None:
    assert [cpu_text(250), cpu_text(2000), cpu_text(1500)] == ["250m", "2", "1500m"]
    assert [bytes_text(748 * MIB), bytes_text(2048 * MIB), bytes_text(1)] == ["748Mi", "2Gi", "1Mi"]
    assert [gib_text(5 * MIB), gib_text(3 * 1024 * MIB)] == ["5 MiB", "3.0 GiB"]
    assert round_up(10, 4) == 12
