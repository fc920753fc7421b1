"""A TCP line to a server on loopback that carries only so many bytes a second, and counts them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

BLOCK = 1 << 16


@dataclass
class SlowLine:
    """Where it is reached, how fast it is (0: as fast as it can) and what came through from the server."""

    port: int = 0
    bytes_per_second: float = 0
    carried: int = 0
    ends: list[socket.socket] = field(default_factory=list)

    def carry(self, source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
        """Pass bytes on until one end closes."""
        with suppress(OSError):
            while block := source.recv(BLOCK):
                sink.sendall(block)
                if counted:
                    self.carried += len(block)
                    if self.bytes_per_second:
                        time.sleep(len(block) / self.bytes_per_second)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_line(port: int) -> Iterator[SlowLine]:
    """Stand before the server of a loopback port for the body."""
    line = SlowLine()
    listener = socket.create_server(("127.0.0.1", 0))
    line.port = listener.getsockname()[1]

    def accept() -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", port))
                line.ends += [here, there]
                for source, sink, counted in ((here, there, False), (there, here, True)):
                    threading.Thread(
                        target=line.carry, args=(source, sink), kwargs={"counted": counted}, daemon=True
                    ).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield line
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for end in (listener, *line.ends):
            end.close()
