"""What the real client understands of the hub's answers: metadata, revisions, refusals."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from hack.hub.background import running_hub
from hack.hub.repos import READER, STRANGER

if TYPE_CHECKING:
    from pathlib import Path

    from hack.hub.background import Endpoint

TINY = "slipway-test/tiny"
GATED = "slipway-test/gated"
PRIVATE = "slipway-test/private"


def client(endpoint: Endpoint, token: str | bool = False) -> HfApi:
    return HfApi(endpoint=endpoint.url, token=token)


def fetch(endpoint: Endpoint, repository: str, target: Path, **options: object) -> str:
    given = {"filename": "config.json", "token": False, **options}
    return str(hf_hub_download(repository, endpoint=endpoint.url, cache_dir=target, **given))


def test_sizes_and_digests_are_known_before_a_download(endpoint: Endpoint, repositories: Path) -> None:
    info = client(endpoint).model_info(TINY, files_metadata=True, securityStatus=True)
    weights = next(file for file in info.siblings or () if file.rfilename == "model.safetensors")
    assert weights.size == (repositories / TINY / "model.safetensors").stat().st_size
    assert weights.lfs is not None
    assert len(weights.lfs.sha256) == 64
    assert info.safetensors is not None
    assert info.safetensors.total * 2 == pytest.approx(weights.size, rel=0.1)
    assert info.card_data is not None
    assert info.card_data.license == "apache-2.0"
    assert endpoint.hub.sent_bytes == 0


def test_metadata_stays_metadata_without_blobs(endpoint: Endpoint) -> None:
    info = client(endpoint).model_info(TINY)
    assert {file.size for file in info.siblings or ()} == {None}


def test_the_tree_is_paged(repositories: Path) -> None:
    with running_hub(repositories, page_size=2) as endpoint:
        listed = list(client(endpoint).list_repo_tree(TINY, recursive=True))
        pages = sum(count for key, count in endpoint.hub.requests.items() if "/tree/" in key)
    assert [entry.path for entry in listed] == sorted(file.name for file in (repositories / TINY).iterdir())
    assert pages == (len(listed) + 1) // 2


def test_folders_are_listed_one_by_one_and_recursively(tmp_path: Path) -> None:
    folder = tmp_path / "org" / "model"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "c.txt").write_text("c")
    with running_hub(tmp_path) as endpoint:
        api = client(endpoint)
        assert [entry.path for entry in api.list_repo_tree("org/model")] == ["a"]
        assert [entry.path for entry in api.list_repo_tree("org/model", "a")] == ["a/b"]
        deep = [entry.path for entry in api.list_repo_tree("org/model", recursive=True)]
        assert deep == ["a", "a/b", "a/b/c.txt"]
        with pytest.raises(RemoteEntryNotFoundError):
            list(api.list_repo_tree("org/model", "z"))


def test_paths_info_leaves_out_what_is_not_there(endpoint: Endpoint) -> None:
    found = client(endpoint).get_paths_info(TINY, ["config.json", "nowhere.json"])
    assert [entry.path for entry in found if isinstance(entry, RepoFile)] == ["config.json"]


def test_a_branch_is_pinned_to_its_commit(endpoint: Endpoint, tmp_path: Path) -> None:
    api = client(endpoint)
    main, old = (api.model_info("slipway-test/branches", revision=name).sha for name in ("main", "v1"))
    assert main is not None
    assert main != old
    assert api.model_info("slipway-test/branches", revision=main).sha == main
    branches = {ref.name: ref.target_commit for ref in api.list_repo_refs("slipway-test/branches").branches}
    assert branches == {"main": main, "v1": old}
    assert old is not None
    assert old in fetch(endpoint, "slipway-test/branches", tmp_path, revision="v1")


def test_a_changed_file_is_a_new_commit(repositories: Path, tmp_path: Path) -> None:
    shutil.copytree(repositories / TINY, tmp_path / TINY)
    with running_hub(tmp_path) as endpoint:
        before = client(endpoint).model_info(TINY).sha
        (tmp_path / TINY / "README.md").write_text("other words")
        assert client(endpoint).model_info(TINY).sha != before


def test_what_is_missing_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError):
        client(endpoint).model_info(TINY, revision="nowhere")
    with pytest.raises(RemoteEntryNotFoundError):
        fetch(endpoint, TINY, tmp_path, filename="nowhere.json")
    with pytest.raises(RemoteEntryNotFoundError):
        fetch(endpoint, "slipway-test/no-config", tmp_path)
    with pytest.raises(RepositoryNotFoundError) as anonymous:
        client(endpoint).model_info("slipway-test/nowhere")
    assert anonymous.value.response.status_code == 401
    with pytest.raises(RepositoryNotFoundError) as known:
        client(endpoint, READER).model_info("slipway-test/nowhere")
    assert known.value.response.status_code == 404


def test_a_gated_repository_shows_metadata_and_keeps_files(endpoint: Endpoint, tmp_path: Path) -> None:
    assert client(endpoint).model_info(GATED).gated == "manual"
    with pytest.raises(GatedRepoError) as anonymous:
        fetch(endpoint, GATED, tmp_path)
    assert anonymous.value.response.status_code == 401
    with pytest.raises(GatedRepoError) as stranger:
        fetch(endpoint, GATED, tmp_path, token=STRANGER)
    assert stranger.value.response.status_code == 403
    assert fetch(endpoint, GATED, tmp_path, token=READER)


def test_large_files_of_a_gated_repository_need_the_token_too(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(GatedRepoError):
        fetch(endpoint, GATED, tmp_path, filename="model.safetensors")
    assert fetch(endpoint, GATED, tmp_path, filename="model.safetensors", token=READER)


def test_a_private_repository_looks_missing(endpoint: Endpoint) -> None:
    for token in (False, STRANGER):
        with pytest.raises(RepositoryNotFoundError):
            client(endpoint, token).model_info(PRIVATE)
    assert client(endpoint, READER).model_info(PRIVATE).private is True


def test_a_wrong_token_fails_even_for_a_public_repository(endpoint: Endpoint) -> None:
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as caught:
        client(endpoint, "hf_wrong").model_info(TINY)
    assert caught.value.response.status_code == 401
    assert not isinstance(caught.value, RepositoryNotFoundError)


def test_who_a_token_belongs_to(endpoint: Endpoint) -> None:
    assert client(endpoint, READER).whoami()["type"] == "user"
    client(endpoint, READER).auth_check(GATED)
    with pytest.raises(GatedRepoError):
        client(endpoint, STRANGER).auth_check(GATED)


def test_a_huge_model_is_described_without_its_weights(endpoint: Endpoint, repositories: Path) -> None:
    info = client(endpoint).model_info("slipway-test/huge", files_metadata=True)
    assert info.safetensors is not None
    assert info.safetensors.total > 60e9
    weights = repositories / "slipway-test/huge/model.safetensors"
    assert weights.stat().st_blocks * 512 < 1e6
    assert sum(file.size or 0 for file in info.siblings or ()) > 120e9


def test_every_bad_repository_is_bad_in_its_own_way(endpoint: Endpoint) -> None:
    def files(name: str) -> set[str]:
        return set(client(endpoint).list_repo_files(f"slipway-test/{name}"))

    assert "config.json" not in files("no-config")
    assert files("pickle-only") >= {"pytorch_model.bin", "config.json"}
    assert not any(name.endswith(".safetensors") for name in files("pickle-only"))
    config = client(endpoint).model_info("slipway-test/unsupported-architecture").config
    assert config is not None
    assert config["architectures"] == ["HovercraftForCausalLM"]
