"""The errors that end a stage, with reason, message and exit code; raised anywhere in this package.

``stage.run_stage`` turns them into the result and the exit code; nothing else catches them, except to add
detail.
"""

from __future__ import annotations

from typing import ClassVar

from slipway_runtime.contract import REASONS, Exit


class StageError(Exception):
    """A stage that failed for a known reason.

    Attributes:
        reason: a key of ``contract.REASONS``; becomes the reason of a condition.
        message: what happened, where, and what to do.
        code: the exit code, which says whether trying again can help.
    """

    code: ClassVar[Exit] = Exit.INTERNAL

    def __init__(self, reason: str, message: str) -> None:
        if reason not in REASONS:
            raise KeyError(reason)
        super().__init__(message)
        self.reason = reason
        self.message = message


class DataError(StageError):
    """The model's files are wrong; they stay wrong at this commit."""

    code = Exit.DATA


class NotFoundError(StageError):
    """Repository, revision or file does not exist, or is hidden."""

    code = Exit.NO_INPUT


class StoreFullError(StageError):
    """Too few free bytes in the store."""

    code = Exit.NO_SPACE


class TransientError(StageError):
    """The same try may succeed later: hub down, connection cut."""

    code = Exit.TRANSIENT


class DeniedError(StageError):
    """The token is missing, wrong or not entitled."""

    code = Exit.NO_PERMISSION


class RequestError(StageError):
    """What was asked for is wrong: unknown scheme, level or method, a missing input."""

    code = Exit.CONFIG


class ToolError(StageError):
    """A tool of ours failed in a way that its input does not explain."""

    code = Exit.INTERNAL


class TerminatedError(BaseException):
    """SIGTERM came. No ``Exception``, so that no handler on the way takes it for a failure."""
