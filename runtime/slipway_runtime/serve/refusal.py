"""A request that gets no answer, with the HTTP status and the body that say why. Raised anywhere here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES: Mapping[int, str] = {
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
"""OpenAI's error types; what is not listed is the caller's fault."""


class Refusal(Exception):  # noqa: N818 - it refuses a request; nothing went wrong in the server
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        message: what is wrong and what to do.
        code: OpenAI's short name of the error, if it has one.
        param: the field that is wrong, if it is one.
        headers: more headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return OpenAI's error body."""
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class OverloadError(Exception):
    """The accelerator's memory does not hold this request beside those that run; the model still works."""


class FatalError(Exception):
    """The worker cannot go on: every later request would fail as well."""
