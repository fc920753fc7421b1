"""A real S3 server on loopback, versitygw over a folder, and what writes objects. For tests of sources."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2
from awscrt import auth, http

from tests.support.host_programs import find_tool, running

KEY_ID, SECRET_KEY, REGION = "slipwaytests", "not-a-secret-of-anyone", "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        url: its endpoint.
        root: the folder that holds a folder for each bucket.
    """

    url: str
    root: Path

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Send a signed request that must succeed; ``path`` is quoted already, its query included."""
        host = self.url.removeprefix("http://")
        given = [("host", host), *(headers or {}).items()]
        request = http.HttpRequest(method, path, http.HttpHeaders(given))
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4,
            signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=auth.AwsCredentialsProvider.new_static(KEY_ID, SECRET_KEY),
            region=REGION,
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=hashlib.sha256(body).hexdigest(),
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        signed = dict(auth.aws_sign_request(request, config).result().headers)
        answer = httpx2.request(method, self.url + path, content=body, headers=signed)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def make_bucket(self, name: str, *, versions: bool = False) -> None:
        """Make a bucket, with or without versions."""
        self.request("PUT", f"/{name}")
        if versions:
            text = (
                b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                b"<Status>Enabled</Status></VersioningConfiguration>"
            )
            self.request("PUT", f"/{name}?versioning=", text)

    def put(self, bucket: str, key: str, content: bytes, *, digest: bool = False) -> None:
        """Write an object, with its sha256 as a checksum of S3's if ``digest``."""
        sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers = {"x-amz-checksum-sha256": sha256} if digest else {}
        self.request("PUT", f"/{bucket}/{quote(key)}", content, headers)

    def put_folder(self, bucket: str, prefix: str, folder: Path, *, digest: bool = False) -> None:
        """Write every file of a folder."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = "/".join(filter(None, [prefix, path.relative_to(folder).as_posix()]))
            self.put(bucket, key, path.read_bytes(), digest=digest)

    def open_to_all(self, bucket: str) -> None:
        """Let anybody list and read the bucket."""
        policy = (
            '{"Statement": [{"Effect": "Allow", "Principal": "*", '
            '"Action": ["s3:ListBucket", "s3:GetObject"], '
            f'"Resource": ["arn:aws:s3:::{bucket}", "arn:aws:s3:::{bucket}/*"]}}]}}'
        )
        self.request("PUT", f"/{bucket}?policy=", policy.encode())


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run the server for the body; its data lie in the folder and its log is ``folder/server.log``."""
    root, versions = folder / "buckets", folder / "versions"
    for made in (root, versions):
        made.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [find_tool("versitygw", "S3 server"), "--port", address, "--region", REGION, "posix"]
    keys = {"ROOT_ACCESS_KEY_ID": KEY_ID, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}

    def ready() -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"http://{address}/").status_code > 0
        return False

    with running([*command, "--versioning-dir", versions, root], folder / "server.log", ready, **keys):
        yield S3Server(f"http://{address}", root)
