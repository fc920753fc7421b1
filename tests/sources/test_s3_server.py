"""Models from a real S3 server: whole, resumed, and nothing that was replaced meanwhile."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch, fetch_one
from slipway_runtime.inspection import inspect
from slipway_runtime.sources import Repository, connect
from tests.support.s3_server import SECRET_KEY, S3Server
from tests.support.slow_line import slow_line
from tests.support.web_files import closing_clients
from tests.unit.runtime.conftest import Bench, build_repository, build_safetensors, downloading

MIB = 1 << 20
ODD = "a model's (1st) café, 50% + 1~$&=@;'!.json"


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with closing_clients(monkeypatch):
        yield


@pytest.fixture(params=["plain", "versions"])
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> str:
    """A bucket of its own, once with versions and once without."""
    name = f"{request.param}-{uuid4().hex[:8]}"
    s3.make_bucket(name, versions=request.param == "versions")
    return name


@pytest.fixture
def plain(s3: S3Server) -> str:
    name = f"plain-{uuid4().hex[:8]}"
    s3.make_bucket(name)
    return name


def at(bucket: str, folder: str = "acme/tiny", **environment: str) -> dict[str, str]:
    return {"SLIPWAY_SOURCE": f"s3://{bucket}/{folder}", **environment}


def connected(bench: Bench, bucket: str, folder: str = "acme/tiny", **environment: str) -> Repository:
    return connect(bench.job("fetch", **at(bucket, folder, **environment)))


def refuse(bench: Bench, bucket: str, folder: str = "acme/tiny", **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        connected(bench, bucket, folder, **environment).list_files("main")
    return caught.value


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_model_is_inspected_fetched_and_whole(bench: Bench, s3: S3Server, bucket: str, slash: str) -> None:
    folder = build_repository(bench.folder / "model")
    s3.put_folder(bucket, "acme/tiny", folder, digest=not slash)
    s3.put(bucket, "acme/tiny-too/config.json", b"another model's")
    code, result, log = bench.run("inspect", **at(bucket, f"acme/tiny{slash}"))
    assert (code, result["files"], result["facts"]["parameters"]) == (0, 4, 8192), log
    environment = at(bucket, f"acme/tiny{slash}", SLIPWAY_REVISION=result["commit"])
    code, result, log = bench.run("fetch", **environment)
    assert code == 0, log
    published = bench.store / "published"
    entries = json.loads((published / "manifest.json").read_text())["files"]
    assert {entry["path"]: entry["sha256"] for entry in entries} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix not in {".md", ".py"}
    }
    code, again, _ = bench.run("fetch", **environment)
    assert (code, again) == (0, {**result, "resumed": True})
    assert '"percent": 100' in log


def test_a_digest_that_the_server_has_is_known(bench: Bench, s3: S3Server, plain: str) -> None:
    s3.put(plain, "acme/tiny/a", b"x" * 100, digest=True)
    (file,) = connected(bench, plain).list_files("main").files
    assert file.sha256 == hashlib.sha256(b"x" * 100).hexdigest()


def test_what_changed_between_inspection_and_fetch_is_refused(
    bench: Bench, s3: S3Server, bucket: str
) -> None:
    s3.put_folder(bucket, "acme/tiny", build_repository(bench.folder / "model"))
    environment = at(bucket, SLIPWAY_REVISION=inspect(bench.job("inspect", **at(bucket)))["commit"])
    s3.put(bucket, "acme/tiny/tokenizer.json", b'{"version": "2.0"}')
    with pytest.raises(StageError, match=r"slipway\.dev/replan") as caught:
        fetch(bench.job("fetch", **environment))
    assert (caught.value.reason, caught.value.code) == ("SourceChanged", Exit.DATA)
    assert not (bench.store / "published").exists()


def test_what_is_replaced_while_it_is_read_is_refused_unless_its_version_stays(
    bench: Bench, s3: S3Server, bucket: str
) -> None:
    s3.put(bucket, "acme/tiny/a", b"first" * 1000)
    found, part = connected(bench, bucket), bench.store / "part"
    listing = found.list_files("main")
    part.write_bytes(b"first" * 10)
    s3.put(bucket, "acme/tiny/a", b"later" * 1000)
    if bucket.startswith("versions"):
        found.download(listing.commit, listing.files[0], part)
        assert part.read_bytes() == b"first" * 1000
        assert found.read_range(listing.commit, listing.files[0], 5, 5) == b"first"
        return
    for read in (
        lambda: found.download(listing.commit, listing.files[0], part),
        lambda: found.read_range(listing.commit, listing.files[0], 5, 5),
    ):
        with pytest.raises(StageError) as caught:
            read()
        assert (caught.value.reason, caught.value.code) == ("SourceChanged", Exit.DATA)
    assert part.read_bytes() == b"first" * 10
    s3.request("DELETE", f"/{bucket}/acme/tiny/a")
    with pytest.raises(StageError) as caught:
        found.read_range(listing.commit, listing.files[0], 5, 5)
    assert (caught.value.reason, caught.value.code) == ("FileNotFound", Exit.NO_INPUT)


def test_kill_9_resumes_behind_the_last_byte(bench: Bench, s3: S3Server, plain: str) -> None:
    size = 32 * MIB
    weights = build_safetensors({"a": ("BF16", [size // 2], bytes(range(256)) * (size // 256))})
    s3.put_folder(plain, "acme/tiny", build_repository(bench.folder / "model", weights))
    with slow_line(int(s3.url.rpartition(":")[2])) as line:
        environment = at(plain, SLIPWAY_ENDPOINT_S3=f"http://127.0.0.1:{line.port}")
        line.bytes_per_second = 16 * MIB
        process = bench.start("fetch", **environment)
        part = downloading(bench.store, process, 10 * MIB)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        have = part.stat().st_size
        line.bytes_per_second = line.carried = 0
        code, result, log = bench.run("fetch", **environment)
        assert (code, result.get("files")) == (0, 4), log
        assert f"going on behind {have} of" in log
        assert size - have <= line.carried < size - have + MIB
    assert (bench.store / "published" / "model.safetensors").read_bytes() == weights


def test_more_objects_than_one_answer_lists(bench: Bench, s3: S3Server, plain: str) -> None:
    folder = s3.root / plain / "acme" / "tiny"
    folder.mkdir(parents=True)
    for number in range(1205):
        (folder / f"{number:04}.txt").write_text(str(number))
    found = connected(bench, plain).list_files("main").files
    assert [file.path for file in found] == [f"{number:04}.txt" for number in range(1205)]


def test_names_with_all_sorts_of_characters(bench: Bench, s3: S3Server, plain: str) -> None:
    s3.put(plain, f"odd folder+/{ODD}", b"content")
    found = connected(bench, plain, "odd folder+")
    listing = found.list_files("main")
    assert [file.path for file in listing.files] == [ODD]
    assert fetch_one(found, listing.commit, listing.files[0], bench.store).bytes == 7


def test_one_object_by_its_own_name(bench: Bench, s3: S3Server, plain: str) -> None:
    s3.put(plain, "ggufs/tiny.gguf", b"GGUF")
    s3.put(plain, "ggufs/tiny.gguf.txt", b"of it")
    listing = connected(bench, plain, "ggufs/tiny.gguf").list_files("main")
    assert [(file.path, file.size) for file in listing.files] == [("tiny.gguf", 4)]
    assert refuse(bench, plain, "ggufs/tiny").reason == "RepositoryNotFound"


def test_a_bucket_that_is_a_model_itself(bench: Bench, s3: S3Server, plain: str) -> None:
    error = refuse(bench, plain, "")
    assert (error.reason, error.code) == ("RepositoryNotFound", Exit.NO_INPUT)
    s3.put_folder(plain, "", build_repository(bench.folder / "model"))
    assert {file.path for file in connected(bench, plain, "").list_files("main").files} >= {"config.json"}


def test_no_bucket_and_no_folder(bench: Bench, s3: S3Server, plain: str) -> None:
    for name, folder in (("nobodys-bucket", "acme/tiny"), (plain, "acme/absent")):
        error = refuse(bench, name, folder)
        assert (error.reason, error.code) == ("RepositoryNotFound", Exit.NO_INPUT)
        assert f"s3://{name}/{folder}" in error.message


def test_keys_that_the_server_does_not_know(bench: Bench, s3: S3Server, plain: str) -> None:
    s3.put(plain, "acme/tiny/a", b"x")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        (bench.folder / name).write_text("another")
        error = refuse(bench, plain)
        assert (error.reason, error.code) == ("TokenRejected", Exit.NO_PERMISSION), error.message
        assert "AWS_ACCESS_KEY_ID" in error.message


def test_what_is_open_to_all_needs_no_keys(
    bench: Bench, s3: S3Server, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put(plain, "acme/tiny/a", b"x")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        path = bench.folder / name
        monkeypatch.setenv(name, path.read_text().strip())  # the machine's own are nobody's business
        path.unlink()
    error = refuse(bench, plain)
    assert (error.reason, error.code) == ("AccessDenied", Exit.NO_PERMISSION), error.message
    s3.open_to_all(plain)
    found = connected(bench, plain)
    listing = found.list_files("main")
    assert found.read_range(listing.commit, listing.files[0], 0, 9) == b"x"


def test_a_server_that_is_down(bench: Bench, s3: S3Server, plain: str) -> None:
    with slow_line(1) as line:
        pass
    error = refuse(bench, plain, SLIPWAY_ENDPOINT_S3=f"http://127.0.0.1:{line.port}")
    assert (error.reason, error.code) == ("HubUnavailable", Exit.TRANSIENT)


def test_only_allowed_hosts_are_asked(bench: Bench, s3: S3Server, plain: str) -> None:
    s3.put(plain, "acme/tiny/a", b"x")
    assert connected(bench, plain, SLIPWAY_ALLOWED_HOSTS="127.0.0.1").list_files("main").files
    assert refuse(bench, plain, SLIPWAY_ALLOWED_HOSTS="s3.example.com").reason == "HostNotAllowed"


def test_the_secret_key_is_in_no_log(bench: Bench, s3: S3Server, plain: str) -> None:
    # A folder of that name is in what is logged, and would be read there.
    code, result, log = bench.run("inspect", **at(plain, SECRET_KEY))
    assert (code, result["reason"]) == (66, "RepositoryNotFound")
    assert SECRET_KEY not in log + json.dumps(result)
    assert f"s3://{plain}/[redacted]" in log
    assert Path(bench.environment["SLIPWAY_TERMINATION_LOG"]).read_text().count("[redacted]") == 1
