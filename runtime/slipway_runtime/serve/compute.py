"""The one thread in which the model computes, token by token for all requests in turn. For ``model``.

Some models keep state between calls (rotary tables that grow with the context), so no two may overlap. And
every thread that computes gets a pool of OpenMP threads of its own: once there are more of them than cores,
libgomp no longer spins at its barriers. SmolLM2-135M on two cores, one and four requests at once: 17.5 and
25.0 tokens a second when every request computes in its own thread, 27.0 and 28.6 with one thread for all.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any


class StoppedError(Exception):
    """Leaves ``generate`` in the middle, because nobody wants more."""


class Compute:
    """Runs the model's calls one after the other; a cancelled request's call ends before its next layer."""

    def __init__(self, model: Any) -> None:
        import torch

        self._threads = torch.get_num_threads()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._request = threading.local()
        self._cancelled: Event | None = None
        """Of the request whose call runs now; only the computing thread touches it."""
        self._move(model)
        if model.config.is_encoder_decoder:
            # generate() calls it apart from the model.
            self._move(model.get_encoder())
        for module in model.modules():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.register_forward_pre_hook(self._leave_if_cancelled)

    def enter(self, cancelled: Event) -> None:
        """Say that the calling thread's calls are wanted until this is set."""
        self._request.cancelled = cancelled
        if getattr(self._request, "single", False):
            return
        import torch

        # Choosing a token is no work for several threads. The first line keeps torch from undoing the second
        # one later; and as MKL has one setting for all threads, the last line has the last word.
        torch.get_num_threads()
        torch.set_num_threads(1)
        self._executor.submit(torch.set_num_threads, self._threads).result()
        self._request.single = True

    def _move(self, module: Any) -> None:
        """Let the module's ``forward`` wait for its turn in the computing thread, and for its result."""
        forward = module.forward

        # generate() reads the signature, which `wraps` keeps.
        @functools.wraps(forward)
        def moved(*args: Any, **kwargs: Any) -> Any:
            cancelled = getattr(self._request, "cancelled", None)
            if cancelled is None:
                # Called by another module's forward, in the computing thread already.
                return forward(*args, **kwargs)
            return self._executor.submit(self._run, cancelled, forward, args, kwargs).result()

        module.forward = moved

    def _run(self, cancelled: Event, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call it, in the computing thread."""
        import torch

        self._cancelled = cancelled
        # generate() has said so in the request's thread, where alone it holds.
        with torch.no_grad():
            return forward(*args, **kwargs)

    def _leave_if_cancelled(self, _layer: Any, _inputs: Any) -> None:
        if self._cancelled is not None and self._cancelled.is_set():
            raise StoppedError
