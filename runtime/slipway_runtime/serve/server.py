"""The process: loads the model beside the listening server, and ends it in order. For ``__main__``."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable

import uvicorn

from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.log import LOGGER
from slipway_runtime.serve.app import build_app
from slipway_runtime.serve.engine import Engine, describe
from slipway_runtime.serve.generator import Generator
from slipway_runtime.serve.metrics import Metrics
from slipway_runtime.serve.options import Options

Load = Callable[[Options], Generator]
KEEP_ALIVE_SECONDS = 5
"""A quiet connection is closed after this, so that draining ends."""


def run_server(options: Options, load: Load) -> int:
    """Serve until SIGTERM or SIGINT, then until the last request is answered; return the exit code.

    Args:
        options: the command line.
        load: loads the model; called in a thread.
    """
    # uvicorn raises the signal that ended it once more when it is done: that is no failure of ours.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return asyncio.run(_serve(options, load))


async def _serve(options: Options, load: Load) -> int:
    engine = Engine(options.concurrency, Metrics())
    config = uvicorn.Config(
        build_app(options, engine),
        host=options.host,
        port=options.port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = uvicorn.Server(config)
    codes: list[int] = []

    def fail(code: int) -> None:
        codes.append(code)
        server.should_exit = True

    _load_beside(options, load, engine, fail)
    await server.serve()
    if not server.started and not codes:
        return int(Exit.CONFIG)
    return codes[0] if codes else int(Exit.OK)


def _load_beside(options: Options, load: Load, engine: Engine, fail: Callable[[int], None]) -> None:
    """Load the model in a daemon thread, which an early SIGTERM need not wait for."""
    loop = asyncio.get_running_loop()

    def work() -> None:
        try:
            generator = load(options)
        except StageError as error:
            LOGGER.error("the model can't be loaded (%s): %s", error.reason, error.message)
            loop.call_soon_threadsafe(fail, int(error.code))
        except Exception as error:  # noqa: BLE001 - the log has it, and the process ends
            LOGGER.exception("the model can't be loaded: %s", describe(error))
            loop.call_soon_threadsafe(fail, int(Exit.INTERNAL))
        else:
            loop.call_soon_threadsafe(engine.load, generator)

    threading.Thread(target=work, name="load", daemon=True).start()
