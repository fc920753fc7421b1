"""Who calls a model: the OpenAI client, and callers that go on while something happens to its pods."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai

from tests.cluster.namespaces import Cluster

PAUSE_S = 0.1
SHORT = 4
"""Tokens of a short answer: about as long as the pause, so that what cuts at any moment cuts one of two."""
PROMPT = "Once upon a time"


@contextmanager
def client(cluster: Cluster, name: str = "smollm2") -> Iterator[openai.OpenAI]:
    """The OpenAI client on the model's Service: it keeps its connections, and tries nothing twice."""
    url = f"{cluster.endpoint(name)}/v1"
    direct = openai.DefaultHttpxClient(trust_env=False)  # no proxy knows the cluster's addresses
    with openai.OpenAI(
        base_url=url, api_key="none", max_retries=0, timeout=60, http_client=direct
    ) as connected:
        yield connected


@dataclass
class Caller:
    """One who calls in a thread of its own; ``failed`` holds the words of each error."""

    work: Callable[[Caller], None]
    stop: threading.Event = field(default_factory=threading.Event)
    answered: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    thread: threading.Thread | None = None

    def run(self) -> None:
        """Call until stopped, or to the first error."""
        try:
            self.work(self)
        except openai.OpenAIError as error:
            self.failed.append(f"{error!r} from {error.__cause__!r} after {len(self.answered)} answers")

    @property
    def busy(self) -> bool:
        """Whether the caller is still at work."""
        return bool(self.thread and self.thread.is_alive())


@contextmanager
def calling(*works: Callable[[Caller], None]) -> Iterator[list[Caller]]:
    """The callers at work inside the block; at its end they are told to stop, and waited for."""
    callers = [Caller(work) for work in works]
    for caller in callers:
        caller.thread = threading.Thread(target=caller.run)
        caller.thread.start()
    try:
        yield callers
    finally:
        for caller in callers:
            caller.stop.set()
        for caller in callers:
            if caller.thread:
                caller.thread.join()


def newcomers(cluster: Cluster, name: str) -> Callable[[Caller], None]:
    """Short requests one after the other, each on a connection of its own."""

    def work(caller: Caller) -> None:
        while not caller.stop.is_set():
            with client(cluster, name) as ai:
                caller.answered.append(_short(ai, name))
            time.sleep(PAUSE_S)

    return work


def regular(cluster: Cluster, name: str) -> Callable[[Caller], None]:
    """Short requests on a connection that is kept as long as the server keeps it."""

    def work(caller: Caller) -> None:
        with client(cluster, name) as ai:
            while not caller.stop.is_set():
                caller.answered.append(_short(ai, name))
                time.sleep(PAUSE_S)

    return work


def _short(ai: openai.OpenAI, name: str) -> str:
    return ai.completions.create(model=name, prompt=PROMPT, max_tokens=SHORT).choices[0].text


def listener(cluster: Cluster, name: str, tokens: int) -> Callable[[Caller], None]:
    """One long answer as a stream, to its last token; the last word is why it ended."""

    def work(caller: Caller) -> None:
        with (
            client(cluster, name) as ai,
            ai.completions.create(
                model=name,
                prompt=PROMPT,
                max_tokens=tokens,
                stream=True,
                extra_body={"ignore_eos": True},
            ) as stream,
        ):
            for chunk in stream:
                caller.answered.append(chunk.choices[0].text)
                if chunk.choices[0].finish_reason:
                    caller.answered.append(chunk.choices[0].finish_reason)

    return work
