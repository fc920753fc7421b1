"""The operator's one error tree; every room raises from here, every message says what to do next."""

from __future__ import annotations


class SlipwayError(Exception):
    """Base of everything that Slipway raises on purpose."""


class InvalidSpecError(SlipwayError):
    """A user's object can't be acted on until it is edited.

    Attributes:
        reason: CamelCase condition reason, documented in ``slipway.api.reasons``.
        message: one sentence for a person: what is wrong, where, and what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NothingFitsError(InvalidSpecError):
    """No node can hold any allowed plan; the message names the nearest miss."""


class NameTakenError(SlipwayError):
    """An object of a child's name is there and does not belong to us; it was not touched.

    Attributes:
        kind: of the foreign object.
        name: of the foreign object.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} exists and is not ours")
        self.kind = kind
        self.name = name


class LeftoverError(SlipwayError):
    """An object of a child's name still belongs to a deleted owner of our owner's name: it is going away.

    Attributes:
        kind: of the object.
        name: of the object.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} of a deleted owner is still going away")
        self.kind = kind
        self.name = name


class ApiError(SlipwayError):
    """The Kubernetes API answered with an error.

    Attributes:
        status: HTTP status, 0 when there was no answer at all.
        reason: the API's own reason, for example ``Conflict``.
        message: the API's own message, or what happened to the connection.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """404: the object or its kind is not there."""


class ConflictError(ApiError):
    """409: somebody else wrote first, or the name is taken."""


class GoneError(ApiError):
    """410: the resource version is too old; list again."""


class RejectedError(ApiError):
    """400, 403 or 422: the same request will be refused again until something changes."""


class UnavailableError(ApiError):
    """No answer, 429 or 5xx: try again later."""
