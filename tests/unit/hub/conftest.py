"""A hub on loopback over small repositories; the client that asks it is the real huggingface_hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tokenizers import pre_tokenizers

from hack.hub.background import Endpoint, running_hub
from hack.hub.faults import Faults
from hack.hub.repos import build_test_repositories
from hack.hub.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """A byte-level vocabulary of 3 control tokens, 256 bytes and 2 merges."""
    tokens = (*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "the")
    return Vocabulary(
        tokens=tokens,
        merges=("t h", "th e"),
        control=frozenset(range(len(SPECIAL))),
        bos=1,
        eos=2,
        unknown=0,
        padding=2,
        chat_template="{{ messages[0]['content'] }}",
    )


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    """The test repositories that the demo's hub serves, over the small vocabulary."""
    root = tmp_path_factory.mktemp("repositories")
    build_test_repositories(root, vocabulary)
    return root


@pytest.fixture(scope="session")
def running(repositories: Path) -> Iterator[Endpoint]:
    with running_hub(repositories) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(running: Endpoint) -> Iterator[Endpoint]:
    """The running hub, without faults and with its counters at zero."""
    running.hub.requests.clear()
    running.hub.sent_bytes = 0
    yield running

    running.set_faults(Faults())
