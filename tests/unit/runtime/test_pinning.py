"""Pins of sources without commits."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from slipway_runtime.errors import DataError
from slipway_runtime.job import read_job
from slipway_runtime.pinning import listing_pin, require_pin
from slipway_runtime.progress import Progress

FILES = [("config.json", 12, "etag-1"), ("model.safetensors", 3_000_000, "etag-2")]


def test_the_same_listing_in_any_order_has_the_same_pin() -> None:
    assert listing_pin(FILES) == listing_pin(reversed(FILES))


@pytest.mark.parametrize(
    "other", [("config.json", 13, "etag-1"), ("config.json", 12, "etag-3"), ("config.jso", 12, "etag-1")]
)
def test_another_size_mark_or_name_is_another_pin(other: tuple[str, int, str]) -> None:
    assert listing_pin([other, FILES[1]]) != listing_pin(FILES)


def test_a_source_that_changed_since_is_refused_with_what_to_do() -> None:
    pin = listing_pin(FILES)
    require_pin("s3://models/one", pin, pin)
    require_pin("s3://models/one", "main", pin)
    with pytest.raises(DataError, match="set the annotation") as caught:
        require_pin("s3://models/one", pin, listing_pin(FILES[:1]))
    assert caught.value.reason == "SourceChanged"


def test_keys_of_a_secret_are_read_where_they_are_mounted_and_hidden_from_logs(tmp_path: Path) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("user\n")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("very secret\n")
    environment = {"SLIPWAY_TOKEN_FILE": str(tmp_path / "token"), "SLIPWAY_ENDPOINT_S3": "http://s3.local/"}
    job = read_job("fetch", environment, lambda stage: Progress(stage, StringIO()))
    assert job.credential("AWS_ACCESS_KEY_ID") == "user"
    assert job.credential("password") is None
    assert job.secrets() == ("very secret",)
    assert job.endpoint_of("s3") == "http://s3.local"
    assert job.endpoint_of("oci") == ""
