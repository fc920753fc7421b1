"""Requests to S3, signed with a Secret's keys or with none, and its errors as ours. For sources/s3.py.

Three reads of S3's API need no client of their own; the signature is AWS's library's. botocore wants
python-dateutil below 3 and the operator's kubernetes wants 3, so both can't be installed side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

from slipway_runtime.errors import (
    DeniedError,
    NotFoundError,
    RequestError,
    StageError,
    ToolError,
    TransientError,
)
from slipway_runtime.job import Job
from slipway_runtime.pinning import changed_meanwhile
from slipway_runtime.web import FORBIDDEN, NOT_FOUND, UNAUTHORIZED, is_passing, open_client, read_whole

if TYPE_CHECKING:
    import httpx2

KEY_ID, SECRET_KEY, SESSION_TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
ENDPOINT = "AWS_ENDPOINT_URL"
REGION = "SLIPWAY_S3_REGION"
DEFAULT_REGION = "us-east-1"
"""What other servers sign with unless they are told otherwise; AWS answers with a bucket's own region."""
BUCKETS_REGION = "x-amz-bucket-region"
ELSEWHERE = frozenset({301, 307, 400})
"""What AWS answers in a wrong region."""
WRONG_KEYS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidSecurity"}
) | {"XAdminUserNotFound"}
"""AWS's codes, and what versitygw calls an unknown key; it sends 404 with it."""
WRONG_REGION = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
PASSING = frozenset({"RequestTimeout", "SlowDown", "RequestTimeTooSkewed"})
PRECONDITION_FAILED = 412


class S3Client:
    """Asks one bucket of one server.

    Attributes:
        endpoint: URL of the server, without a path.
        place: what is read, for messages.
    """

    def __init__(self, job: Job, bucket: str, place: str) -> None:
        """Read endpoint, region and keys.

        Raises:
            RequestError: MissingInput, the endpoint is no URL, or one of two keys is missing.
        """
        self.place = place
        self.bucket = bucket
        self.server = job.endpoint_of("s3") or (job.credential(ENDPOINT) or "").rstrip("/")
        parts = urlsplit(self.server)
        if self.server and not (parts.scheme in {"http", "https"} and parts.hostname):
            raise RequestError(
                "MissingInput", f"{ENDPOINT} must be a URL such as https://s3.example.com: {self.server!r}"
            )
        self.region = job.environment.get(REGION) or DEFAULT_REGION
        self.keys = _keys(job)
        self.http = open_client(job.environment, {}, sign=self._sign)

    @property
    def base(self) -> str:
        """URL of the bucket: a host of AWS, a folder of other servers and for names with dots in them."""
        if self.server:
            return f"{self.server}/{self.bucket}"
        domain = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        if "." in self.bucket:
            return f"https://s3.{self.region}.{domain}/{self.bucket}"
        return f"https://{self.bucket}.s3.{self.region}.{domain}"

    @property
    def endpoint(self) -> str:
        """The URL of the server that is asked."""
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.base))

    @contextmanager
    def asked(
        self,
        what: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> Iterator[httpx2.Response]:
        """Send a request; AWS's word that the bucket is in another region is followed.

        Args:
            what: is asked for, for messages.
            key: of an object; none for the bucket.
            query: parameters.
            headers: of the request.
            method: GET or HEAD.

        Raises:
            StageError: the server refused it.
        """
        tail = "/" + quote(key, safe="/~") + ("?" + urlencode(query, quote_via=quote) if query else "")
        for moved in (False, True):
            with self.http.stream(method, self.base + tail, headers=headers) as response:
                region = "" if moved else self._other_region(response)
                if not region:
                    if not response.is_success:
                        raise self._from_answer(response, what, of_object=bool(key))
                    yield response
                    return
            self.region = region

    def _other_region(self, response: httpx2.Response) -> str:
        region: str = response.headers.get(BUCKETS_REGION, "")
        moved = not self.server and response.status_code in ELSEWHERE and region != self.region
        return region if moved else ""

    def _sign(self, request: httpx2.Request) -> httpx2.Request:
        """Add the signature of what AWS demands to be signed: host, path, query and its own headers."""
        if self.keys is None:
            return request
        from awscrt import auth, http

        signed = [(name, value) for name, value in request.headers.items() if name.startswith("x-amz-")]
        host = [("host", request.url.netloc.decode())]
        unsigned = http.HttpRequest(
            request.method, request.url.raw_path.decode(), http.HttpHeaders(host + signed)
        )
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4,
            signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=auth.AwsCredentialsProvider.new_static(*self.keys),
            region=self.region,
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=auth.AwsSignedBodyValue.EMPTY_SHA256,
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        request.headers.update(dict(auth.aws_sign_request(unsigned, config).result().headers))
        return request

    def _from_answer(self, response: httpx2.Response, what: str, *, of_object: bool) -> StageError:
        """Return our error for an answer; its code says more than its status, which HEAD has alone."""
        response.read()
        status, host = response.status_code, response.url.netloc.decode()
        code, words = _error(response.content)
        if code in WRONG_KEYS:
            return self._refusal(status, code, what, host, words)
        if code == "NoSuchBucket" or (status == NOT_FOUND and not of_object):
            return NotFoundError("RepositoryNotFound", f"{host} has no such bucket: {self.place}")
        if status == NOT_FOUND:
            return NotFoundError("FileNotFound", f"{self.place} no longer has {what}")
        if status == PRECONDITION_FAILED:
            return changed_meanwhile(f"{what} of {self.place}")
        if is_passing(status) or code in PASSING:
            message = f"{host} answered {status} {code} about {what}; it is tried again by itself"
            return TransientError("HubUnavailable", message)
        if code in WRONG_REGION:
            words = f"the bucket is in another region. Name it in {REGION}"
        return self._refusal(status, code, f"{what} of {self.place}", host, words)

    def _refusal(self, status: int, code: str, what: str, host: str, words: str) -> StageError:
        """Return the error for an answer that is no matter of time."""
        if code in WRONG_KEYS:
            return DeniedError(
                "TokenRejected",
                f"{host} refuses the Secret's keys for {self.place} ({code}): put valid ones into "
                f"{KEY_ID} and {SECRET_KEY}, and {SESSION_TOKEN} if they have one",
            )
        if status in {UNAUTHORIZED, FORBIDDEN} and code in {"AccessDenied", ""}:
            return DeniedError("AccessDenied", f"{host} forbids {what}: {self._advice()}")
        return RequestError("HubRefused", f"{host} refuses {what} for good: {status} {code} {words}".rstrip())

    def _advice(self) -> str:
        if self.keys:
            return f"allow s3:ListBucket and s3:GetObject to the key in the Secret's {KEY_ID}"
        return f"put {KEY_ID} and {SECRET_KEY} into a Secret, and name it in spec.model.secretRef"


def read_xml(response: httpx2.Response) -> ET.Element:
    """Return the root of an answer; ToolError NotAHub when it is none, such as a login page."""
    try:
        # Of expat's own bounds against entities that multiply: since 2.4, and Python brings a later one.
        return ET.fromstring(read_whole(response))  # noqa: S314
    except ET.ParseError as error:
        raise ToolError(
            "NotAHub",
            f"{response.url.host} answers, but not as S3 does: {error}. Correct {ENDPOINT} in the Secret, or "
            "the endpoint that Slipway was installed with",
        ) from error


def _error(content: bytes) -> tuple[str, str]:
    """Return code and message of an error's body; empty strings where it has none."""
    try:
        root = ET.fromstring(content)  # noqa: S314 - as above
    except ET.ParseError:
        return "", ""
    return root.findtext("{*}Code", ""), root.findtext("{*}Message", "")


def _keys(job: Job) -> tuple[str, str, str | None] | None:
    """Return the Secret's keys, or None when it has none: never those that the machine has."""
    key_id, secret = job.credential(KEY_ID), job.credential(SECRET_KEY)
    if key_id and secret:
        return key_id, secret, job.credential(SESSION_TOKEN)
    if not key_id and not secret:
        return None
    missing, there = (SECRET_KEY, KEY_ID) if key_id else (KEY_ID, SECRET_KEY)
    raise RequestError("MissingInput", f"the Secret has {there} and no {missing}: put both into it")
