"""Who may read what in the small hub, and the hub's own words for a refusal. Pure.

Called by routes.py only. Status, X-Error-Code and X-Error-Message are what huggingface_hub 2.4 tells errors
apart by: a missing repository and a private one look alike, metadata of a gated one is public, its
files are not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from hack.hub.repository import Repository


@dataclass(frozen=True)
class Caller:
    """Who asks: `token` is the bearer token sent, None for none; `valid` whether the hub knows it."""

    token: str | None
    valid: bool


def read_caller(request: web.Request, known: frozenset[str]) -> Caller:
    """Return who sent the request."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return Caller(None, valid=False)
    return Caller(token.strip(), valid=token.strip() in known)


def refuse_caller(caller: Caller) -> web.Response | None:
    """Return the refusal of a token that the hub never gave out: it fails even for public repositories."""
    if caller.token is not None and not caller.valid:
        return refusal(401, None, "Invalid credentials in Authorization header")
    return None


def refuse_repository(caller: Caller, repository: Repository | None) -> web.Response | None:
    """Return the refusal for a repository that is missing or hidden from the caller."""
    hidden = repository is not None and repository.private and caller.token not in repository.tokens
    if repository is not None and not hidden:
        return None
    if caller.token is None:
        return refusal(401, "RepoNotFound", "Invalid username or password.")
    return refusal(404, "RepoNotFound", "Repository not found")


def refuse_files(caller: Caller, repository: Repository) -> web.Response | None:
    """Return the refusal for the files of a gated repository."""
    if not repository.gated or caller.token in repository.tokens:
        return None
    restricted = f"Access to model {repository.name} is restricted"
    if caller.token is None:
        message = (
            f"{restricted}. You must have access to it and be authenticated to access it. Please log in."
        )
        return refusal(401, "GatedRepo", message)
    return refusal(403, "GatedRepo", f"{restricted} and you are not in the authorized list.")


def refusal(status: int, code: str | None, message: str) -> web.Response:
    """Return an error answer as the hub gives it."""
    headers = {"X-Error-Message": message}
    if code:
        headers["X-Error-Code"] = code
    body = json.dumps({"error": message})
    return web.Response(status=status, headers=headers, text=body, content_type="application/json")
