"""Downloads by the real client: whole, resumed after a cut, slow, and while the hub is down or busy."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from typing import TYPE_CHECKING

import httpx2
import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from hack.hub.background import running_hub
from hack.hub.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

    from hack.hub.background import Endpoint

TINY = "slipway-test/tiny"


def download(endpoint: Endpoint, target: Path, repository: str = TINY, **options: object) -> Path:
    snapshot_download(
        repository,
        endpoint=endpoint.url,
        local_dir=target,
        cache_dir=target / ".hub",
        max_workers=1,
        **{"token": False, **options},
    )
    return target


def test_a_snapshot_is_byte_for_byte_the_repository(
    endpoint: Endpoint, repositories: Path, tmp_path: Path
) -> None:
    target = download(endpoint, tmp_path)
    for file in (repositories / TINY).iterdir():
        assert (target / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_cut_download_is_resumed_where_the_client_had_got_to(tmp_path: Path) -> None:
    chunk = DOWNLOAD_CHUNK_SIZE  # the client keeps whole chunks of an interrupted download
    weights = tmp_path / "hub" / TINY / "model.bin"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(hashlib.shake_256(b"weights").digest(chunk * 2))
    with running_hub(tmp_path / "hub") as endpoint:
        endpoint.set_faults(Faults(cut_after=chunk + 1000, cuts=1))
        target = download(endpoint, tmp_path / "target")
        assert (target / weights.name).read_bytes() == weights.read_bytes()
        assert endpoint.hub.sent_bytes == chunk * 2 + 1000
        assert sum(count for key, count in endpoint.hub.requests.items() if key.startswith("GET /cdn/")) == 2


def test_a_slow_hub_takes_as_long_as_it_says(endpoint: Endpoint, tmp_path: Path, repositories: Path) -> None:
    size = (repositories / TINY / "model.safetensors").stat().st_size
    endpoint.set_faults(Faults(bytes_per_second=size * 2))
    started = time.monotonic()
    download(endpoint, tmp_path, allow_patterns=["*.safetensors"])
    assert time.monotonic() - started >= 0.4


def test_a_hub_that_is_down_refuses_connections_and_comes_back(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.set_faults(Faults(down=True))
    with pytest.raises(httpx2.ConnectError):
        HfApi(endpoint=endpoint.url, token=False).model_info(TINY)
    with pytest.raises(LocalEntryNotFoundError):
        download(endpoint, tmp_path)
    endpoint.set_faults(Faults())
    assert (download(endpoint, tmp_path) / "config.json").is_file()


def test_a_burst_of_503_ends(endpoint: Endpoint) -> None:
    endpoint.set_faults(Faults(unavailable=1))
    api = HfApi(endpoint=endpoint.url, token=False)
    with pytest.raises(HfHubHTTPError) as caught:
        api.model_info(TINY)
    assert caught.value.response.status_code == 503
    assert api.model_info(TINY).sha


def test_a_range_past_the_end_is_refused(endpoint: Endpoint) -> None:
    address = f"{endpoint.url}/{TINY}/resolve/main/config.json"
    with httpx2.Client() as client:
        answer = client.get(address, headers={"Range": "bytes=1000000-"})
    assert answer.status_code == 416


def test_faults_are_set_over_the_admin_port(endpoint: Endpoint) -> None:
    def call(method: str, body: object = None) -> dict[str, object]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{endpoint.admin}/faults", data, method=method)
        with urllib.request.urlopen(request) as answer:
            content: dict[str, object] = json.load(answer)
        return content

    assert call("PUT", {"unavailable": 3})["unavailable"] == 3
    assert endpoint.hub.faults == Faults(unavailable=3)
    assert call("DELETE")["unavailable"] == 0
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        call("PUT", {"gremlins": 1})
    refused.value.close()
