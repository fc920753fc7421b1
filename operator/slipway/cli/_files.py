"""Files that the subcommands read: their text, and the objects in it with their lines. For cli only."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import Reader

from slipway.cli import UsageError

if TYPE_CHECKING:
    from slipway.api.validate import Location

KIND = "ModelDeployment"
STDIN = "-"
NAMED_KINDS = 3
"""Other kinds that a message names."""
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Marks of encodings, the longer first: PowerShell's ``>`` writes UTF-16 with a mark."""
TIMESTAMP = "tag:yaml.org,2002:timestamp"
SURROGATES = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


class BrokenYamlError(UsageError):
    """A text is no YAML.

    Attributes:
        line: where it breaks, from 1.
        cause: why, in one sentence.
    """

    def __init__(self, file: str, line: int, cause: str) -> None:
        super().__init__(f"{file}:{line}: {cause}")
        self.line = line
        self.cause = cause


@dataclass(frozen=True)
class Document:
    """One object: a whole document, or one item of a List.

    Attributes:
        number: its document, from 1.
        node: its place in the text; it knows the lines.
        value: what was read, of any shape.
        twice: fields that are written twice, of which YAML would silently take the last.
    """

    number: int
    node: yaml.Node
    value: Any
    twice: tuple[Location, ...] = ()

    @property
    def kind(self) -> str:
        """Its kind; empty when it says none."""
        return str(self.value.get("kind") or "") if isinstance(self.value, dict) else ""


def read_text(file: str) -> str:
    """The text of a file, of standard input for ``-``.

    Raises:
        UsageError: it can't be read, or is no text.
    """
    try:
        data = _stdin() if file == STDIN else Path(file).read_bytes()
    except IsADirectoryError as error:
        raise UsageError(f"{file} is a folder: name its files, such as {Path(file) / '*.yaml'}") from error
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    encoding = next((name for mark, name in BOMS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        raise UsageError(f"{file} is no {name} text (byte {error.start + 1}): save it as UTF-8") from error


def _stdin() -> bytes:
    """Bytes of standard input: its text layer would decode by the locale."""
    if sys.stdin is None:
        raise UsageError("standard input is closed: name a file")
    binary = getattr(sys.stdin, "buffer", None)
    data: bytes = binary.read() if binary else sys.stdin.read().encode()
    return data


def read_data(file: str) -> Any:
    """What one document of JSON or YAML holds.

    Raises:
        UsageError: it can't be read, or is neither.
    """
    text = read_text(file)
    try:
        return json.loads(text)  # a hundred times faster than YAML, and kubectl's lists of nodes are long
    except ValueError:
        found = [one.value for one in documents(file, text)]
    return found[0] if len(found) == 1 else found or None


def documents(file: str, text: str) -> Iterator[Document]:
    """Each document of a YAML or JSON text, of a List each item.

    Raises:
        BrokenYamlError: from here on it can't be read; what came before is fine.
    """
    _refuse_control_characters(file, text)
    loader = _loader(text)
    number, line = 0, 1
    try:
        while loader.check_node():
            number += 1
            if (node := loader.get_node()) is not None:
                line = node.start_mark.line + 1
                # Before construct_document: that writes merged keys (<<) into the node, as if written twice.
                twice = tuple(_twice(node, (), set()))
                value = json.loads(json.dumps(loader.construct_document(node), default=str))
                yield from _items(Document(number, node, value, twice))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BrokenYamlError(file, mark.line + 1 if mark else 1, error.problem or str(error)) from error
    except RecursionError as error:
        raise BrokenYamlError(file, line, "it is nested too deeply") from error
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise BrokenYamlError(file, line, " ".join(str(error).split())) from error
    finally:
        loader.dispose()


def none_found(files: Sequence[str], kinds: Iterable[str]) -> UsageError:
    """That there is no ModelDeployment, and what is there, so that a typing mistake in ``kind`` is seen."""
    named = list(dict.fromkeys(kind or "an object without a kind" for kind in kinds))
    more = f" and {len(named) - NAMED_KINDS} more" if len(named) > NAMED_KINDS else ""
    instead = f", only {', '.join(named[:NAMED_KINDS])}{more}" if named else ""
    return UsageError(f"no {KIND} in {', '.join(files)}{instead}")


def _refuse_control_characters(file: str, text: str) -> None:
    if found := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        cause = f"the character U+{ord(found[0]):04X} can't stand in YAML: delete it, or is the file binary?"
        raise BrokenYamlError(file, line, cause)


def _loader(text: str) -> Any:
    """A loader that reads as kubectl does: a date is a text. In C where PyYAML has it, ten times faster."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(_as_yaml(text))
    loader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != TIMESTAMP]
        for first, pairs in loader.yaml_implicit_resolvers.items()
    }
    return loader


def _as_yaml(text: str) -> str:
    """JSON without the two things that YAML has not, tabs as indentation and pairs of escapes; same lines."""
    if "\t" not in text and not SURROGATES.search(text):
        return text
    try:
        json.loads(text)
    except ValueError:
        return text
    return SURROGATES.sub(lambda pair: str(json.loads(f'"{pair[0]}"')), text.replace("\t", " "))


def _items(document: Document) -> Iterator[Document]:
    """The items of a List, as ``kubectl get -o yaml`` prints several objects; else the document itself."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        yield document
        return
    pairs = document.node.value if isinstance(document.node, yaml.MappingNode) else ()
    place = next((node for key, node in pairs if key.value == "items"), document.node)
    nodes = place.value if isinstance(place, yaml.SequenceNode) else [place] * len(value["items"])
    for index, (item, node) in enumerate(zip(value["items"], nodes, strict=True)):
        inside = ("items", index)
        twice = tuple(one[len(inside) :] for one in document.twice if one[: len(inside)] == inside)
        yield Document(document.number, node, item, twice)


def _twice(node: yaml.Node, location: Location, seen: set[int]) -> Iterator[Location]:
    """Fields that are written twice; each node once, so that anchors cost nothing."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in keys:
                yield (*location, name)
            keys.add(name)
            yield from _twice(value, (*location, name), seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _twice(value, (*location, index), seen)
