"""An upload in parts ends, whatever the registry says of how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

import pytest

from slipway_runtime.errors import TransientError
from slipway_runtime.registry import Registry
from slipway_runtime.registry_reference import parse_reference, place_of
from slipway_runtime.registry_upload import Blob, Upload
from slipway_runtime.resuming import FRUITLESS
from tests.support.http_server import answering
from tests.support.registry_double import Double, Handler, digest_of, split

from .conftest import Bench

CONTENT = b"0123456789" * 10
BLOB = Blob(digest_of(CONTENT), len(CONTENT), lambda start, end: iter([CONTENT[start:end]]))


class Keeping(Handler):
    """Says of every part that it came, and that there is what was there."""

    said = "0-0"

    def do_PATCH(self) -> None:  # noqa: N802 - the base class has it so
        self.admitted()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(202, headers={"Location": self.path, "Range": self.said})


class Odd(Handler):
    """Says 0-0 of an upload without bytes, as the distribution project's registry does."""

    def do_GET(self) -> None:  # noqa: N802 - the base class has it so
        _, kind, number = split(urlsplit(self.path).path)
        if kind != "uploads":
            super().do_GET()
        elif self.admitted():
            last = max(0, len(self.double.uploads[number]) - 1)
            self.answer(204, headers={"Range": f"0-{last}", "Location": self.path})


class Ahead(Odd):
    """Lost a byte of the first upload, and says that it has it."""

    def do_PATCH(self) -> None:  # noqa: N802 - the base class has it so
        upload = self.double.uploads[split(urlsplit(self.path).path)[2]]
        if self.headers["Content-Range"].startswith("10-") and len(self.double.uploads) == 1:
            self.admitted()
            self.rfile.read(int(self.headers["Content-Length"]))
            assert len(upload) == 10
            self.answer(416)
        else:
            super().do_PATCH()


@contextmanager
def uploading(bench: Bench, handler: type[Handler], double: Double) -> Iterator[Upload]:
    with answering(partial(handler, double)) as url:
        double.url = url
        registry = Registry(bench.job("push"), place_of(parse_reference(f"{double.host}/acme/m", "x"), ""))
        yield Upload(registry, chunk=10, pause=0)
        registry.client.close()


@pytest.mark.parametrize("said", ["0-0", "0-9"])
def test_parts_that_bring_it_no_further_are_counted(bench: Bench, said: str) -> None:
    double = Double()
    handler = type("Said", (Keeping,), {"said": said})
    with uploading(bench, handler, double) as upload, pytest.raises(TransientError, match="keeps none"):
        upload.put_blob(BLOB)
    assert len(double.asked("PATCH")) == FRUITLESS + 2


@pytest.mark.parametrize("handler", [Odd, Ahead])
def test_what_it_can_not_say_begins_anew(bench: Bench, handler: type[Handler]) -> None:
    double = Double(cut_uploads=[0] if handler is Odd else [])
    with uploading(bench, handler, double) as upload:
        assert upload.put_blob(BLOB)
    assert double.blobs[BLOB.digest] == CONTENT
    assert len(double.asked("POST")) == 2


def test_cuts_behind_what_came_once_are_counted(bench: Bench) -> None:
    double = Double(cut_uploads=[0] * 50)
    with uploading(bench, Odd, double) as upload, pytest.raises(TransientError):
        upload.put_blob(BLOB)
