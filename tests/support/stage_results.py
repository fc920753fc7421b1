"""What the stages of a small model say of themselves, when all goes well and when not."""

from __future__ import annotations

from typing import Any

COMMIT = "c" * 40
FACTS = {
    "architecture": "LlamaForCausalLM",
    "parameters": 134_515_008,
    "layers": 30,
    "hiddenSize": 576,
    "heads": 9,
    "kvHeads": 3,
    "headDim": 64,
    "vocabSize": 49152,
    "contextLength": 8192,
    "dtype": "bfloat16",
    "weightBytes": 269_060_552,
    "downloadBytes": 271_000_000,
    "license": "apache-2.0",
    "quantization": "",
}
INSPECTED = {"ok": True, "stage": "inspect", "commit": COMMIT, "facts": FACTS, "files": 9}
RESULTS: dict[str, dict[str, Any]] = {
    "inspect": INSPECTED,
    "fetch": {
        "ok": True,
        "stage": "fetch",
        "sizeBytes": 271_000_000,
        "digest": f"sha256:{'1' * 64}",
        "files": 9,
    },
    "convert": {"ok": True, "stage": "convert", "sizeBytes": 270_000_000, "sha256": "2" * 64},
    "quantize": {"ok": True, "stage": "quantize", "sizeBytes": 105_000_000, "sha256": "3" * 64},
    "evaluate": {
        "ok": True,
        "stage": "evaluate",
        "perplexity": "14.81",
        "tokens": 4096,
        "seconds": "16.2",
        "textDigest": f"sha256:{'4' * 64}",
    },
    "publish": {
        "ok": True,
        "stage": "publish",
        "sizeBytes": 105_000_000,
        "digest": f"sha256:{'5' * 64}",
        "files": 2,
    },
    "benchmark": {
        "ok": True,
        "stage": "benchmark",
        "tool": "guidellm 0.8.1",
        "metricsOk": True,
        "levels": [
            {
                "concurrency": level,
                "requests": 20,
                "errors": 0,
                "requestsPerSecond": "1.0",
                "tokensPerSecond": "40.0",
                "ttftP50Ms": "120.0",
                "ttftP95Ms": "240.0",
            }
            for level in (1, 4)
        ],
    },
}
"""What the stages say of themselves when all goes well."""


def said(reason: str, message: str = "what happened, where, what to do") -> dict[str, Any]:
    """What a stage says of itself when it failed."""
    return {"ok": False, "reason": reason, "message": message}
