"""The line that says why an engine died, from the ends of real engines' logs."""

from __future__ import annotations

import pytest

from slipway.plan.last_words import last_error, only_points

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
WORKER = "(Worker_TP1 pid=311) ERROR 11-25 09:12:40 [multiproc_executor.py:671]"
OTHER = "(Worker_TP0 pid=310) ERROR 11-25 09:12:43 [multiproc_executor.py:671]"
CORE = "(EngineCore_DP0 pid=274) ERROR 11-25 09:12:44 [core.py:708]"
FRONT = "(APIServer pid=1)"
FRONTS_END = f"""\
{FRONT} Traceback (most recent call last):
{FRONT}   File "/usr/local/bin/vllm", line 10, in <module>
{FRONT}     sys.exit(main())
{FRONT}              ^^^^^^
{FRONT}   File "/x/vllm/v1/engine/utils.py", line 732, in launch_core_engines
{FRONT}     raise RuntimeError("Engine core initialization failed. "
{FRONT} RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
/usr/lib/python3/multiprocessing/resource_tracker.py:279: UserWarning: resource_tracker: There appear to be \
1 leaked shared_memory objects
"""
CORES_END = f"""\
{CORE} EngineCore failed to start.
{CORE} Traceback (most recent call last):
{CORE}   File "/x/vllm/v1/executor/multiproc_executor.py", line 509, in wait_for_ready
{CORE}     raise e from None
{CORE} Exception: WorkerProc initialization failed due to an exception in a background process. \
See stack trace for root cause.
(EngineCore_DP0 pid=274) Process EngineCore_DP0:
(EngineCore_DP0 pid=274) Traceback (most recent call last):
(EngineCore_DP0 pid=274)   File "/usr/lib/python3.12/multiprocessing/process.py", line 314, in _bootstrap
(EngineCore_DP0 pid=274)     self.run()
(EngineCore_DP0 pid=274) Exception: WorkerProc initialization failed due to an exception in a background \
process. See stack trace for root cause.
"""
OF_A_WORKER = f"""\
(EngineCore_DP0 pid=274) INFO 11-25 09:12:01 [core.py:77] Initializing a V1 LLM engine (v0.11.2)
{WORKER} WorkerProc failed to start.
{WORKER} Traceback (most recent call last):
(Worker_TP0 pid=310) INFO 11-25 09:12:40 [gpu_model_runner.py:2602] Starting to load model /models/m...
{WORKER}   File "/x/vllm/v1/executor/multiproc_executor.py", line 645, in worker_main
{WORKER}     worker = WorkerProc(*args, **kwargs)
{WORKER}              ^^^^^^^^^^^^^^^^^^^^^^^^^^^
{WORKER} torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 1
{OTHER} Traceback (most recent call last):
{OTHER}   File "/x/y.py", line 1, in broadcast
{OTHER} torch.distributed.DistBackendError: NCCL error
[rank0]:[W1125 09:12:44.8 ProcessGroupNCCL.cpp:1538] Warning: destroy_process_group() was not called
{CORES_END}{FRONTS_END}"""
COLOURED = "\x1b[1;36m(EngineCore_DP0 pid=99)\x1b[0;0m"
CHAINED = f"""\
{COLOURED} WARNING 11-25 09:00:00 [fa.py:1] Traceback (most recent call last):
{COLOURED} WARNING 11-25 09:00:00 [fa.py:1] ImportError: no flash_attn, going on
{COLOURED} ERROR 11-25 09:00:01 [core.py:708] Traceback (most recent call last):
{COLOURED} ERROR 11-25 09:00:01 [core.py:708]   File "/x/auto.py", line 1, in f
{COLOURED} ERROR 11-25 09:00:01 [core.py:708] KeyError: 'qwen9'
{COLOURED} ERROR 11-25 09:00:01 [core.py:708]
{COLOURED} ERROR 11-25 09:00:01 [core.py:708] During handling of the above \
exception, another exception occurred:
{COLOURED} ERROR 11-25 09:00:01 [core.py:708]
{COLOURED} ERROR 11-25 09:00:01 [core.py:708] Traceback (most recent call last):
{COLOURED} ERROR 11-25 09:00:01 [core.py:708]   File "/x/auto.py", line 2, in f
{COLOURED} ERROR 11-25 09:00:01 [core.py:708] ValueError: Transformers does not \
recognize this architecture: qwen9
{FRONTS_END}"""
LOGS = {
    "vllm, a worker of several": (OF_A_WORKER, "torch.OutOfMemoryError: CUDA out of memory. Tried"),
    "vllm, chained and coloured": (CHAINED, "ValueError: Transformers does not recognize"),
    "vllm, nothing but the end": (CORES_END + FRONTS_END, ""),
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


@pytest.mark.parametrize(
    ("words", "points"),
    [
        (FRONTS_END, True),
        (CORES_END + FRONTS_END, True),
        (OUT_OF_CACHE, False),
        (LLAMACPP, False),
        ("", False),
    ],
)
def test_which_last_words_only_point_at_the_log(words: str, points: bool) -> None:
    assert only_points(words) is points
