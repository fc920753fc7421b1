"""What S3 may answer that a server here would not: regions, bad keys, refusals. The rest: tests/sources."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from slipway_runtime import resuming
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.sources import Repository, connect, s3

from .conftest import Bench

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
Answer = Callable[[httpx2.Request], httpx2.Response]


def listing(*keys: str, token: str = "") -> httpx2.Response:
    """Return a page of a bucket's list."""
    entries = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    text = f'<ListBucketResult xmlns="{NAMESPACE}">{entries}{more if token else ""}</ListBucketResult>'
    return httpx2.Response(200, text=text)


def refusal(status: int, code: str = "") -> httpx2.Response:
    text = f"<Error><Code>{code}</Code><Message>Said so.</Message></Error>" if code else ""
    return httpx2.Response(status, text=text)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[httpx2.Request]]:
    """Let ``ANSWER`` answer every request; gives those that were sent."""
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return ANSWER[0](request)

    opened: list[httpx2.Client] = []

    class Client(httpx2.Client):
        def __init__(self, **options: object) -> None:
            super().__init__(transport=httpx2.MockTransport(answer), **options)  # type: ignore[arg-type]
            opened.append(self)

    monkeypatch.setattr(httpx2, "Client", Client)
    monkeypatch.setattr(resuming.bring, "__defaults__", (0.0,))
    yield sent
    for client in opened:
        client.close()


ANSWER: list[Answer] = []


def repository(
    bench: Bench, answer: Answer, source: str = "s3://models/tiny", **environment: str
) -> Repository:
    ANSWER[:] = [answer]
    return connect(bench.job("fetch", SLIPWAY_SOURCE=source, **environment))


def refuse(bench: Bench, answer: Answer, **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        repository(bench, answer, **environment).list_files("main")
    return caught.value


def bucket(objects: dict[str, bytes], **headers: str) -> Answer:
    """Answer for these objects of the folder tiny."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if "list-type" in request.url.params:
            return listing(*(f"tiny/{name}" for name in objects))
        content = objects[request.url.path.rpartition("/tiny/")[2]]
        marks = {"ETag": '"1"', **headers}
        if request.method == "HEAD":
            return httpx2.Response(200, headers={**marks, "Content-Length": str(len(content))})
        start = int(request.headers["Range"].removeprefix("bytes=").partition("-")[0])
        part = {**marks, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return httpx2.Response(206, headers=part, content=iter([content[start:]]))

    return answer


def give_keys(bench: Bench, *names: str) -> None:
    for name in names:
        (bench.folder / name).write_text(f"the {name}")


def test_an_object_that_others_read_is_read_without_keys(
    bench: Bench, answers: list[httpx2.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever the machine has is nobody's business here.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.setenv(name, "of-the-machine")
    found = repository(bench, bucket({"config.json": b"{}"})).list_files("main")
    assert [(file.path, file.size) for file in found.files] == [("config.json", 2)]
    assert {request.url.host for request in answers} == {"models.s3.us-east-1.amazonaws.com"}
    assert all("Authorization" not in request.headers for request in answers)
    assert os.environ["AWS_PROFILE"] == "of-the-machine"


def test_requests_are_signed_with_the_secrets_keys(bench: Bench, answers: list[httpx2.Request]) -> None:
    give_keys(bench, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    repository(bench, bucket({"config.json": b"{}"}), SLIPWAY_S3_REGION="eu-central-1").list_files("main")
    signed = answers[-1].headers
    assert signed["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=the AWS_ACCESS_KEY_ID/")
    assert "/eu-central-1/s3/aws4_request" in signed["Authorization"]
    assert "x-amz-checksum-mode" in signed["Authorization"]
    assert signed["X-Amz-Security-Token"] == "the AWS_SESSION_TOKEN"


@pytest.mark.parametrize(
    ("environment", "source", "url"),
    [
        ({}, "s3://models/tiny", "https://models.s3.us-east-1.amazonaws.com/"),
        (
            {"SLIPWAY_S3_REGION": "cn-north-1"},
            "s3://models/x",
            "https://models.s3.cn-north-1.amazonaws.com.cn/",
        ),
        ({}, "s3://my.models/x", "https://s3.us-east-1.amazonaws.com/my.models/"),
        ({"SLIPWAY_ENDPOINT_S3": "http://s3.local:9000/"}, "s3://models/x", "http://s3.local:9000/models/"),
    ],
)
def test_where_a_bucket_is_asked_for(
    bench: Bench, answers: list[httpx2.Request], environment: dict[str, str], source: str, url: str
) -> None:
    found = repository(bench, lambda _: listing(), source, **environment)
    with pytest.raises(StageError):
        found.list_files("main")
    assert str(answers[0].url).startswith(url)
    assert url.startswith(found.endpoint)


def test_the_secrets_endpoint_gives_way_to_the_installations(
    bench: Bench, answers: list[httpx2.Request]
) -> None:
    (bench.folder / "AWS_ENDPOINT_URL").write_text("https://minio.local\n")
    assert repository(bench, lambda _: listing()).endpoint == "https://minio.local"
    mirror = {"SLIPWAY_ENDPOINT_S3": "https://mirror.local"}
    assert repository(bench, lambda _: listing(), **mirror).endpoint == "https://mirror.local"
    (bench.folder / "AWS_ENDPOINT_URL").write_text("minio.local:9000")
    assert refuse(bench, lambda _: listing()).reason == "MissingInput"


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_bucket_in_another_region_is_asked_there(
    bench: Bench, answers: list[httpx2.Request], status: int
) -> None:
    serve = bucket({"config.json": b"{}"})

    def answer(request: httpx2.Request) -> httpx2.Response:
        if "eu-west-1" in request.url.host:
            return serve(request)
        return httpx2.Response(status, headers={"x-amz-bucket-region": "eu-west-1"})

    assert repository(bench, answer).list_files("main").files
    assert [request.url.host.split(".")[2] for request in answers] == ["us-east-1", "eu-west-1", "eu-west-1"]
    error = refuse(
        bench, lambda _: httpx2.Response(status, headers={"x-amz-bucket-region": os.urandom(4).hex()})
    )
    assert error.reason == "HubRefused"
    error = refuse(bench, answer, SLIPWAY_ALLOWED_HOSTS="models.s3.us-east-1.amazonaws.com")
    assert error.reason == "HostNotAllowed"


@pytest.mark.parametrize("key", ["../passwd", "/etc/passwd", "a//b", "a/./b", "a/../../b"])
def test_keys_that_lead_outside_are_refused_before_they_are_asked_for(
    bench: Bench, answers: list[httpx2.Request], key: str
) -> None:
    error = refuse(bench, lambda _: listing("tiny/config.json", f"tiny/{key}"))
    assert (error.reason, error.code) == ("UnsafePath", Exit.DATA)
    assert len(answers) == 1


def test_a_bucket_of_everything_is_no_model(
    bench: Bench, answers: list[httpx2.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "OBJECTS", 5)
    page = [f"tiny/{number}" for number in range(4)]
    error = refuse(bench, lambda _: listing(*page, token=page[0]))  # the same page without end
    assert (error.reason, error.code) == ("TooManyFiles", Exit.CONFIG)


@pytest.mark.parametrize(
    ("status", "code", "reason", "exit_"),
    [
        (404, "NoSuchBucket", "RepositoryNotFound", Exit.NO_INPUT),
        (404, "", "RepositoryNotFound", Exit.NO_INPUT),
        (403, "InvalidAccessKeyId", "TokenRejected", Exit.NO_PERMISSION),
        (403, "SignatureDoesNotMatch", "TokenRejected", Exit.NO_PERMISSION),
        (400, "ExpiredToken", "TokenRejected", Exit.NO_PERMISSION),
        (403, "AccessDenied", "AccessDenied", Exit.NO_PERMISSION),
        (403, "", "AccessDenied", Exit.NO_PERMISSION),
        (403, "RequestTimeTooSkewed", "HubUnavailable", Exit.TRANSIENT),
        (503, "SlowDown", "HubUnavailable", Exit.TRANSIENT),
        (500, "InternalError", "HubUnavailable", Exit.TRANSIENT),
        (400, "AuthorizationHeaderMalformed", "HubRefused", Exit.CONFIG),
        (403, "InvalidObjectState", "HubRefused", Exit.CONFIG),
    ],
)
def test_refusals_say_what_to_do(
    bench: Bench, answers: list[httpx2.Request], status: int, code: str, reason: str, exit_: Exit
) -> None:
    give_keys(bench, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    error = refuse(bench, lambda _: refusal(status, code))
    assert (error.reason, error.code) == (reason, exit_)
    assert "s3://models/tiny" in error.message or exit_ is Exit.TRANSIENT
    assert "the AWS_SECRET_ACCESS_KEY" not in error.message
    if exit_ is Exit.NO_PERMISSION:
        assert "AWS_ACCESS_KEY_ID" in error.message
    if code == "AuthorizationHeaderMalformed":
        assert "SLIPWAY_S3_REGION" in error.message
    if code == "InvalidObjectState":
        assert "Said so." in error.message


def test_without_keys_a_secret_is_asked_for(bench: Bench, answers: list[httpx2.Request]) -> None:
    assert "spec.model.secretRef" in refuse(bench, lambda _: refusal(403, "AccessDenied")).message
    give_keys(bench, "AWS_ACCESS_KEY_ID")
    error = refuse(bench, lambda _: listing())
    assert (error.reason, error.code) == ("MissingInput", Exit.CONFIG)
    assert "AWS_SECRET_ACCESS_KEY" in error.message


def test_what_is_no_s3_at_all(bench: Bench, answers: list[httpx2.Request]) -> None:
    error = refuse(bench, lambda _: httpx2.Response(200, text="<html><p>Log in"))
    assert (error.reason, error.code) == ("NotAHub", Exit.INTERNAL)


@pytest.mark.parametrize(
    "source", ["s3://", "s3://x/y", "s3://models/../x", "s3://models//x", "s3://m!odels/x"]
)
def test_addresses_that_are_none(bench: Bench, source: str) -> None:
    with pytest.raises(StageError) as caught:
        connect(bench.job("inspect", SLIPWAY_SOURCE=source))
    assert (caught.value.reason, caught.value.code) == ("UnknownScheme", Exit.CONFIG)


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}, True),
        (
            {
                "x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode() + "-7",
                "x-amz-checksum-type": "COMPOSITE",
            },
            False,
        ),
        ({"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode() + "-7"}, False),
        ({"x-amz-checksum-sha256": "!"}, False),
        ({}, False),
    ],
)
def test_only_a_digest_of_the_whole_is_one(
    bench: Bench, answers: list[httpx2.Request], headers: dict[str, str], *, known: bool
) -> None:
    (file,) = repository(bench, bucket({"a": b"x"}, **headers)).list_files("main").files
    assert file.sha256 == ("00" * 32 if known else "")


def test_the_pin_is_the_strongest_mark(bench: Bench, answers: list[httpx2.Request]) -> None:
    digest = {"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}

    def pin(**headers: str) -> str:
        return repository(bench, bucket({"a": b"x"}, **headers)).list_files("main").commit

    assert pin(ETag="1") != pin(ETag="2")
    assert pin(ETag="1") == pin(ETag="1", **{"x-amz-version-id": "null"})
    assert pin(ETag="1", **{"x-amz-version-id": "v1"}) == pin(ETag="2", **{"x-amz-version-id": "v1"})
    assert pin(**digest, **{"x-amz-version-id": "v1"}) == pin(**digest, **{"x-amz-version-id": "v2"})


def test_what_came_with_another_crc_is_not_kept(bench: Bench, answers: list[httpx2.Request]) -> None:
    part = bench.store / "part"
    found = repository(bench, bucket({"a": b"123456789"}, **{"x-amz-checksum-crc64nvme": "rosUhgp5mIg="}))
    listed = found.list_files("main")
    found.download(listed.commit, listed.files[0], part)  # the check value of CRC-64/NVME
    assert part.read_bytes() == b"123456789"
    part.write_bytes(b"1234567")
    ANSWER[:] = [bucket({"a": b"123456780"})]
    with pytest.raises(StageError) as caught:
        found.download(listed.commit, listed.files[0], part)
    assert (caught.value.reason, part.exists()) == ("DigestMismatch", False)


def test_a_crc_of_a_file_of_several_reads(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"123456789" * 100_000)
    one = s3.crc64(path)
    path.write_bytes(path.read_bytes()[:-1] + b"8")
    assert (len(one), s3.crc64(path) == one) == (8, False)


@pytest.mark.unverified("S3 of AWS")
def test_a_bucket_of_aws(bench: Bench) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        if value := os.environ.get(name):
            (bench.folder / name).write_text(value)
    source = {"SLIPWAY_SOURCE": os.environ["SLIPWAY_VERIFY_S3"]}
    code, result, log = bench.run("inspect", **source)
    assert code == 0, log
    code, result, log = bench.run("fetch", **source, SLIPWAY_REVISION=result["commit"])
    assert (code, result["ok"]) == (0, True), log
