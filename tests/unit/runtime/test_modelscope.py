"""The source modelscope:// against a server that speaks its API, which the service's own SDK reads, too."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch
from slipway_runtime.inspection import inspect
from slipway_runtime.job import Job
from slipway_runtime.sources import Listing, RemoteFile, Repository, connect
from slipway_runtime.sources import modelscope as source

from .conftest import Bench, HubServer, build_repository, build_safetensors

NAME = "acme/tiny"
FIRST, SECOND, THIRD = "1" * 40, "2" * 40, "3" * 40


def job(bench: Bench, hub: HubServer, stage: str = "inspect", **environment: str) -> Job:
    given = {"SLIPWAY_SOURCE": f"modelscope://{NAME}", "SLIPWAY_ENDPOINT_MODELSCOPE": hub.url, **environment}
    return bench.job(stage, **given)


def refuse(bench: Bench, hub: HubServer, **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        inspect(job(bench, hub, **environment))
    return caught.value


def opened(bench: Bench, hub: HubServer, stage: str = "fetch") -> tuple[Repository, Listing]:
    repository = connect(job(bench, hub, stage))
    return repository, repository.list_files("main")


def named(listing: Listing, path: str) -> RemoteFile:
    (found,) = [one for one in listing.files if one.path == path]
    return found


def write_settings(hub: HubServer, **settings: Any) -> None:
    (hub.root / "acme" / "tiny" / "repo.json").write_text(json.dumps(settings))


def test_inspect_and_fetch_agree_on_the_commit(bench: Bench, hub: HubServer) -> None:
    found = inspect(job(bench, hub))
    assert len(found["commit"]) == 40
    assert found["facts"]["license"] == "apache-2.0"
    done = fetch(job(bench, hub, "fetch", SLIPWAY_REVISION=found["commit"]))
    assert done["files"] == found["files"] == 4
    weights = (hub.root / NAME / "model.safetensors").read_bytes()
    assert (bench.store / "published" / "model.safetensors").read_bytes() == weights


def test_the_sdk_reads_the_same_server(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelscope_hub = pytest.importorskip("modelscope_hub")
    monkeypatch.setenv(
        "MODELSCOPE_DOWNLOAD_INTRA_CLOUD", "false"
    )  # it would ask a metadata service where it is
    config = modelscope_hub.HubConfig(
        endpoint=hub.url, token="", cache_dir=tmp_path / "cache", config_dir=tmp_path / "home"
    )
    api = modelscope_hub.HubApi(config)
    listed = {one.path: one for one in api.list_repo_files(NAME, "model") if not one.is_dir}
    assert listed.keys() >= {"config.json", "model.safetensors", "README.md"}
    for path, one in listed.items():
        content = (hub.root / NAME / path).read_bytes()
        assert (one.size, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert api.list_repo_files(NAME, "model", revision="v9") == []
    assert [one["Revision"] for one in api.list_repo_revisions(NAME, "model")] == ["master"]
    for path in ("config.json", "model.safetensors"):
        got = api.download_file(
            NAME, "model", path, local_dir=tmp_path / "got", expected_sha256=listed[path].sha256
        )
        assert got.read_bytes() == (hub.root / NAME / path).read_bytes()
    with pytest.raises(modelscope_hub.errors.NotExistError):
        api.list_repo_files("acme/absent", "model")


def test_a_branch_a_commit_and_the_default(bench: Bench, hub: HubServer) -> None:
    _, listing = opened(bench, hub)
    for revision in ("master", listing.commit):
        assert connect(job(bench, hub)).list_files(revision) == listing
    error = refuse(bench, hub, SLIPWAY_REVISION="v9")
    assert (error.reason, error.code) == ("RevisionNotFound", Exit.NO_INPUT)
    assert "v9" in error.message
    assert "(master)" in error.message


def test_a_resumed_download_asks_for_the_rest(bench: Bench, hub: HubServer) -> None:
    size = 1 << 20
    weights = build_safetensors({"embed": ("BF16", [size // 2], b"\1" * size)})
    (hub.root / NAME / "model.safetensors").write_bytes(weights)
    repository, listing = opened(bench, hub)
    part = bench.folder / "part"
    part.write_bytes(weights[:-1000])
    hub.sent_bytes()
    repository.download(listing.commit, named(listing, "model.safetensors"), part)
    assert part.read_bytes() == weights
    assert hub.sent_bytes() == 1000


def test_a_cut_download_is_taken_up_again(bench: Bench, hub: HubServer) -> None:
    weights = build_safetensors({"embed": ("BF16", [1 << 19], b"\1" * (1 << 20))})
    (hub.root / NAME / "model.safetensors").write_bytes(weights)
    repository, listing = opened(bench, hub)
    hub.fail(cut_after=len(weights) // 2, cuts=1)
    part = bench.folder / "part"
    repository.download(listing.commit, named(listing, "model.safetensors"), part)
    assert part.read_bytes() == weights


def test_small_files_come_whole_and_are_cut_here(bench: Bench, hub: HubServer) -> None:
    repository, listing = opened(bench, hub)
    content = (hub.root / NAME / "config.json").read_bytes()
    config = named(listing, "config.json")
    assert repository.read_range(listing.commit, config, 3, 10) == content[3:13]
    assert repository.read_range(listing.commit, config, len(content), 10) == b""
    part = bench.folder / "part"
    part.write_bytes(b"stale")
    repository.download(listing.commit, config, part)
    assert part.read_bytes() == content


def test_private_repositories_and_tokens(bench: Bench, hub: HubServer) -> None:
    write_settings(hub, private=True, tokens=["hf_reader"])
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("RepositoryNotFound", Exit.NO_INPUT)
    assert "spec.model.secretRef" in error.message
    bench.write_token("typo")
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("TokenRejected", Exit.NO_PERMISSION)
    assert "typo" not in error.message
    bench.write_token("hf_reader")
    assert inspect(job(bench, hub))["files"] == 4


def test_a_service_that_is_down_busy_or_none(bench: Bench, hub: HubServer) -> None:
    hub.fail(unavailable=1)
    assert refuse(bench, hub).code == Exit.TRANSIENT
    error = refuse(bench, hub, SLIPWAY_ENDPOINT_MODELSCOPE=f"{hub.url}/elsewhere")
    assert error.reason == "RepositoryNotFound"
    hub.fail(down=True)
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("HubUnavailable", Exit.TRANSIENT)


def test_hosts_outside_the_list_are_not_asked(bench: Bench, hub: HubServer) -> None:
    error = refuse(bench, hub, SLIPWAY_ALLOWED_HOSTS="modelscope.cn")
    assert error.reason == "HostNotAllowed"
    assert hub.requests() == {}


@pytest.mark.parametrize(
    "address", ["modelscope://tiny", "modelscope://acme/../x", "modelscope://acme/tiny/a"]
)
def test_malformed_addresses(bench: Bench, hub: HubServer, address: str) -> None:
    error = refuse(bench, hub, SLIPWAY_SOURCE=address)
    assert (error.reason, error.code) == ("UnknownScheme", Exit.CONFIG)
    assert address in error.message


def entry(revision: str, date: int) -> dict[str, Any]:
    return {"Type": "blob", "Path": "a", "Size": 1, "Revision": revision, "CommittedDate": date}


@pytest.mark.parametrize(
    ("latest", "expected"),
    [
        ({"Id": THIRD, "ShortId": THIRD[:8]}, [THIRD, SECOND, FIRST]),
        ({"Id": "", "ShortId": FIRST[:8]}, [FIRST, SECOND]),
        ({"Id": "", "ShortId": ""}, [SECOND, FIRST]),
        (None, [SECOND, FIRST]),
    ],
)
def test_commits_that_a_branch_may_have_come_in_order(
    latest: dict[str, str] | None, expected: list[str]
) -> None:
    answer = {"Files": [entry(FIRST, 1), entry(SECOND, 2), entry("short", 3)], "LatestCommitter": latest}
    assert source.candidates(answer) == expected


def test_a_branch_whose_commit_holds_something_else_is_not_pinned(
    bench: Bench, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = connect(job(bench, hub))
    assert isinstance(repository, source.ModelScopeRepository)
    branch = {"Files": [entry(FIRST, 1)], "LatestCommitter": {"Id": "", "ShortId": "9" * 8}}
    before = {"Files": [entry(FIRST, 1), {**entry(FIRST, 1), "Path": "deleted.safetensors"}]}
    monkeypatch.setattr(repository, "_answer", {"master": branch, FIRST: before}.get)
    with pytest.raises(StageError, match="name a commit") as caught:
        repository.list_files("master")
    assert caught.value.reason == "RevisionNotFound"


def test_a_list_that_was_cut_is_read_folder_by_folder(
    bench: Bench, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_repository(hub.root / "acme" / "many")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    repository = connect(job(bench, hub, SLIPWAY_SOURCE="modelscope://acme/many"))
    whole = repository.list_files("main")
    monkeypatch.setattr(source, "MOST", 5)
    assert set(repository.list_files("main").files) == set(whole.files)
    assert "1_Pooling/config.json" in {one.path for one in whole.files}


@pytest.mark.parametrize(
    ("scheme", "variable"), [("hf", "HF_ENDPOINT"), ("modelscope", "SLIPWAY_ENDPOINT_MODELSCOPE")]
)
def test_folders_of_a_mirror_are_hubs(bench: Bench, hub: HubServer, scheme: str, variable: str) -> None:
    given = {
        "SLIPWAY_SOURCE": f"{scheme}://{NAME}",
        variable: f"{hub.url}/{scheme}",
        "SLIPWAY_ALLOWED_HOSTS": "127.0.0.1",
    }
    found = inspect(bench.job("inspect", **given))
    hub.requests()
    assert fetch(bench.job("fetch", SLIPWAY_REVISION=found["commit"], **given))["files"] == 4
    assert {path.split("/")[1] for path in hub.requests()} == {scheme}


@pytest.mark.unverified("ModelScope itself")
def test_the_real_service(bench: Bench) -> None:
    name = os.environ.get("SLIPWAY_VERIFY_MODELSCOPE", "modelscope://Qwen/Qwen2.5-0.5B-Instruct")
    found = inspect(bench.job("inspect", SLIPWAY_SOURCE=name))
    assert source.COMMIT.fullmatch(found["commit"])
    done = fetch(bench.job("fetch", SLIPWAY_SOURCE=name, SLIPWAY_REVISION=found["commit"]))
    assert done["files"] == found["files"]
