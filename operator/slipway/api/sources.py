"""Addresses of models by their scheme, and what is the same for ever. For the API's models and manifests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeGuard

from slipway.api.base import Rule, matches

COMMIT: Final = "[0-9a-f]{40}"
PIN: Final = "sha256:[0-9a-f]{64}"
"""What sources without commits are pinned to: a digest of their own, or of all that they list."""
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
_HOST = "[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?"
_TAG = "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_CLAIM = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"


@dataclass(frozen=True)
class Form:
    """How an address of one scheme is written.

    Attributes:
        pattern: of what comes after ``SCHEME://``; the same text stands in CEL, so no backslash is in it.
        form: the same for people, with an example.
        where: what stands for the revision, for schemes that have none; empty where ``revision`` may name it.
    """

    scheme: str
    pattern: str
    form: str
    where: str = ""

    @property
    def whole(self) -> str:
        """The anchored pattern of the address."""
        return f"^{self.scheme}://{self.pattern}$"


FORMS: Final = (
    Form("hf", f"{_NAME}/{_NAME}", "hf://ORG/NAME, such as hf://Qwen/Qwen2.5-7B-Instruct"),
    Form(
        "modelscope",
        f"{_NAME}/{_NAME}",
        "modelscope://ORG/NAME, such as modelscope://Qwen/Qwen2.5-7B-Instruct",
    ),
    Form(
        "s3",
        "[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/.*)?",
        "s3://BUCKET/PREFIX, such as s3://models/qwen/Qwen2.5-7B-Instruct",
        "a bucket has no branches",
    ),
    Form(
        "oci",
        f"{_HOST}(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:{_TAG})?(@{PIN})?",
        "oci://HOST/REPOSITORY:TAG or @sha256:DIGEST, such as oci://ghcr.io/acme/qwen:v1",
    ),
    Form(
        "pvc",
        f"{_CLAIM}(/[A-Za-z0-9_@+=,-][A-Za-z0-9_.@+=,-]*)*/?",
        "pvc://CLAIM/PATH, such as pvc://models/qwen/Qwen2.5-7B-Instruct, of a claim in this namespace and "
        "without names that begin with a dot",
        "a claim has no branches",
    ),
    Form(
        "https",
        f"{_HOST}/[^# ]+(#sha256=[0-9a-f]{{64}})?",
        "https://HOST/PATH with or without #sha256=DIGEST, such as https://example.com/qwen.gguf; a password "
        "goes into the Secret",
        "a digest is written behind the address, #sha256=DIGEST",
    ),
    Form(
        "ollama",
        f"({_HOST}/)?({_NAME}/)?{_NAME}(:{_TAG})?(@{PIN})?",
        "ollama://MODEL:TAG, such as ollama://qwen2.5:7b-instruct-q4_K_M",
    ),
)
"""In the order of the documentation."""


def is_commit(revision: str | None) -> TypeGuard[str]:
    """Whether a revision is the same for ever: no branch, no tag."""
    return revision is not None and matches(f"^({COMMIT}|{PIN})$", revision)


def claim_of(uri: str) -> str:
    """The claim of a source ``pvc://CLAIM/PATH``; empty for other sources."""
    scheme, _, rest = uri.partition("://")
    return rest.partition("/")[0] if scheme == "pvc" else ""


def scheme_of(uri: str) -> str:
    """The scheme of a source."""
    return uri.partition("://")[0]


def text_rules(field: str) -> tuple[Rule, ...]:
    """The same for a source of texts, which may be absent; on a hub it may be a data set."""
    hub = replace(
        FORMS[0],
        pattern=f"(datasets/)?{_NAME}/{_NAME}",
        form="hf://datasets/ORG/NAME, or hf://ORG/NAME in a model's repository",
    )
    forms = (hub, *FORMS[1:])
    rules = (*(_form_rule(one, field) for one in forms), *(_revision_rule(one) for one in forms if one.where))
    return tuple(map(_where_there_is_one, rules))


def _where_there_is_one(rule: Rule) -> Rule:
    return replace(
        rule,
        cel=f"!has(self.source) || ({rule.cel})",
        holds=lambda given: given.source is None or rule.holds(given),
    )


def source_rules(field: str) -> tuple[Rule, ...]:
    """Each scheme's address has its form; branches and tags have a field of their own, ``field``, or none."""
    return (*(_form_rule(one, field) for one in FORMS), *(_revision_rule(one) for one in FORMS if one.where))


def _form_rule(one: Form, field: str) -> Rule:
    start = f"{one.scheme}://"
    more = one.where or f"a branch, tag or commit goes into {field}"
    return Rule(
        cel=f"!self.source.startsWith('{start}') || self.source.matches('{one.whole}')",
        holds=lambda given: not given.source.startswith(start) or matches(one.whole, given.source),
        message=f"a source of this scheme is written {one.form}; {more}",
        field="source",
        reason="InvalidSource",
    )


def _revision_rule(one: Form) -> Rule:
    start = f"{one.scheme}://"
    return Rule(
        cel=f"!self.source.startsWith('{start}') || !has(self.revision) || self.revision.matches('^{PIN}$')",
        holds=lambda given: (
            not given.source.startswith(start)
            or given.revision is None
            or matches(f"^{PIN}$", given.revision)
        ),
        message=f"{start} knows no revision but the pin of status.source.commit (sha256:…): leave revision "
        f"out; {one.where}",
        field="revision",
        reason="InvalidSource",
    )
