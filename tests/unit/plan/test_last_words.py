"""The line that says why an engine died, from the ends of real engines' logs."""

from __future__ import annotations

import pytest

from slipway.plan.last_words import last_error

PLACE = "(EngineCore pid=61) ERROR 11-25 04:12:33 [core.py:1234]"
OUT_OF_CACHE = f"""\
{PLACE} EngineCore failed to start.
{PLACE} Traceback (most recent call last):
{PLACE}   File "/x/core.py", line 1, in run
{PLACE} ValueError: No available memory for the cache blocks.
Traceback (most recent call last):
  File "/usr/bin/vllm", line 8, in <module>
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""
NO_KERNEL = """\
INFO loading
torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device
EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.
"""
LLAMACPP = """\
load_model: loading
error loading model: missing tensor 'blk.0.attn_q.weight'
common_init: error: failed to load model '/models/model.gguf'
main: exiting due to model loading error
"""
LOGS = {
    "vllm, out of KV cache": (OUT_OF_CACHE, "ValueError: No available memory for the cache blocks."),
    "vllm, no kernel for this device": (NO_KERNEL, "torch.AcceleratorError: CUDA error: no kernel image"),
    "llama.cpp": (LLAMACPP, "common_init: error: failed to load model"),
    "a shell": ("sh: 1: Illegal instruction\n", "sh: 1: Illegal instruction"),
    "nothing to tell": ("all is well\n", ""),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("log", "told"), LOGS.values(), ids=LOGS)
def test_the_telling_line(log: str, told: str) -> None:
    found = last_error(log)
    assert found.startswith(told)
    assert bool(found) == bool(told)
