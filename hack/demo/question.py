"""Asks the served model one question and prints the answer as it comes; called by demo.py."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

QUESTION = "What is gravity?"
ANSWER_S = 120
FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
# The model is on this machine or behind a tunnel that starts here: never behind a proxy.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def forwarded(kubectl: list[str], service: str, namespace: str, port: int) -> Iterator[str]:
    """Base URL of the Service through a port-forward on a free port; raises OSError when it doesn't start."""
    command = [*kubectl, "port-forward", "-n", namespace, f"svc/{service}", f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield f"http://127.0.0.1:{_local_port(child)}"
        finally:
            child.terminate()


def _local_port(child: subprocess.Popen[str]) -> int:
    for line in child.stdout or ():
        if found := FORWARDED.search(line):
            return int(found[1])
    words = child.stderr.read().strip() if child.stderr else ""
    raise OSError(f"kubectl port-forward ended: {words}")


def stream_answer(base: str, model: str) -> None:
    """POST the question and print the tokens as they come; raises OSError when nobody answers."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 64,
        "temperature": 0,
    }
    url, kind = f"{base}/v1/chat/completions", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), kind)
    print(f"\nasking {url}\n  > {QUESTION}\n  ", end="", flush=True)
    start, first, tokens = time.monotonic(), 0.0, 0
    with DIRECT.open(request, timeout=ANSWER_S) as response:
        for raw in response:
            line = raw.decode().strip()
            if not line.startswith("data: ") or line.endswith("[DONE]"):
                continue
            event = json.loads(line[6:])
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            for choice in event.get("choices", []):
                text = choice.get("delta", {}).get("content") or ""
                first = first or (time.monotonic() if text else 0.0)
                print(text, end="", flush=True)
    if not first:
        raise OSError(f"{url} gave no token")
    took = time.monotonic() - first
    rate = (tokens - 1) / took if tokens > 1 and took > 0 else 0.0
    print(f"\n\n  {tokens} tokens, first after {1000 * (first - start):.0f} ms, then {rate:.1f} tokens/s")
