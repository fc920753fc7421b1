"""A real S3 server for the tests of this folder, and a bench to run stages in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.s3_server import KEY_ID, SECRET_KEY, S3Server, s3_server
from tests.unit.runtime.conftest import Bench, bench

__all__ = ["bench"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def s3(server: S3Server, bench: Bench) -> S3Server:
    """The server, and its keys in the bench's Secret."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_ENDPOINT_URL", server.url),
    ):
        (Path(bench.environment["SLIPWAY_TOKEN_FILE"]).with_name(name)).write_text(f"{value}\n")
    return server
