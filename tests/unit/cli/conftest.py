"""What the export's tests share: a cluster of one model, and the command against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.cli import _export_copy
from tests.support.export_double import FILES, Double, Export, exporter, served


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are nothing."""
    monkeypatch.setattr(_export_copy, "WAIT_SECONDS", 0.0)


@pytest.fixture
def double() -> Iterator[Double]:
    with served(Double(dict(FILES))) as running:
        yield running


@pytest.fixture
def export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Export:
    return exporter(tmp_path, capsys)
