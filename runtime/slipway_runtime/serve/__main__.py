"""The command ``python -m slipway_runtime.serve``: one model folder behind HTTP. Run by the engine's pod."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from slipway_runtime import log
from slipway_runtime.serve.options import read_options


def main() -> NoReturn:
    """Serve what the command line names, and end the process."""
    options = read_options()
    log.configure("serve", ())
    from slipway_runtime.serve.loading import load_model
    from slipway_runtime.serve.server import run_server

    code = run_server(options, load_model)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: it would wait for a model that is still being loaded.
    os._exit(code)


if __name__ == "__main__":
    main()
