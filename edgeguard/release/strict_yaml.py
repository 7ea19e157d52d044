"""Reads the YAML of an application's file. Nothing is dropped without a word, and nobody's file takes for ever.

A key that stands twice, an alias that contains itself and a value that JSON doesn't have are refused. `!include` is the
reference's own tag (Upsun: create-apps/yaml/custom-tags): a file of the tree as a string, as base64 or as YAML.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from edgeguard import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LARGEST = 256 * 1024
"""Bytes of one file. The parser reads about 100 KiB in a second."""
_DEEPEST = 32  # levels of one file
_MOST = 20_000  # values of one file, each alias counted with all that it stands for
_INCLUDES = 20  # files that are included, in all
_NUMBER = 2**63  # JSON's readers hold no larger ones
_SCALARS = str | int | float | bool | None | dt.date


class Fault(Exception):
    """The file can't be used. The message is one sentence without a full stop."""


@dataclass
class Reader:
    """Reads one application's file. `include` returns a file of the tree, None where there is none."""

    include: Callable[[str], bytes | None]
    _included: int = field(default=0, init=False)

    def read(self, text: str | bytes) -> object:
        """The content of a file: dictionaries, lists, text, numbers, dates.

        Raises:
            Fault: the file isn't YAML, or has something that can't be used.
        """
        if len(text) > LARGEST:
            raise Fault(f"it is larger than {LARGEST // 1024} KiB")
        try:
            _bound(text)
            loader = _Loader(text)
            try:
                loader.reader = self
                node = loader.get_single_node()
                if node is None:
                    return None
                _count(node, {}, ())
                content = loader.construct_document(node)
            finally:
                loader.dispose()
        except (yaml.YAMLError, UnicodeDecodeError, ValueError) as exc:
            raise Fault(f"it is not YAML that can be read: {' '.join(str(exc).split())}") from exc
        _usable(content, "")
        return content

    def included(self, said: Mapping[Any, Any]) -> object:
        """The content of an `!include`."""
        path, kind = said.get("path"), said.get("type", "yaml")
        if not isinstance(path, str) or kind not in ("string", "binary", "yaml") or said.keys() - {"path", "type"}:
            raise Fault("!include needs a path, and a type: string, binary or yaml")
        self._included += 1
        if self._included > _INCLUDES:
            raise Fault(f"!include {path}: more than {_INCLUDES} files are included")
        content = self.include(path)
        if content is None:
            raise Fault(f"!include {path}: the tree has no such file")
        if len(content) > LARGEST:
            raise Fault(f"!include {path}: it is larger than {LARGEST // 1024} KiB")
        if kind == "binary":
            return base64.b64encode(content).decode()
        try:
            return self.read(content) if kind == "yaml" else texts.decoded(content)
        except UnicodeDecodeError as exc:
            raise Fault(f"!include {path}: it is not text in UTF-8") from exc
        except Fault as exc:
            raise Fault(f"!include {path}: {exc}") from exc


class _Loader(yaml.SafeLoader):
    reader: Reader


def _include(loader: _Loader, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.reader.included(loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.ScalarNode):
        return loader.reader.included({"path": loader.construct_scalar(node)})
    raise Fault("!include needs a path, and a type: string, binary or yaml")


_Loader.add_constructor("!include", _include)


def _bound(text: str | bytes) -> None:
    """Refuse a file that is too deep or too long before anything reads it recursively."""
    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise Fault(f"it is nested more than {_DEEPEST} levels deep")
        if values > _MOST:
            raise Fault(f"it has more than {_MOST} values")


def _count(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """The number of values that a node stands for, aliases written out."""
    if id(node) in above:
        raise Fault(f"an alias in line {node.start_mark.line + 1} contains itself")
    if (found := known.get(id(node))) is not None:
        return found
    below: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Fault(f"the key in line {key.start_mark.line + 1} is not text")
            if key.value in keys:
                raise Fault(f"the key {key.value!r} stands twice, the second time in line {key.start_mark.line + 1}")
            keys.add(key.value)
            below.append(value)
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    total = 1 + sum(_count(one, known, (*above, id(node))) for one in below)
    if total > _MOST:
        raise Fault(f"its aliases stand for more than {_MOST} values")
    known[id(node)] = total
    return total


def _usable(content: object, path: str) -> None:
    """Refuse a value that neither JSON nor a process's environment can hold."""
    if isinstance(content, dict):
        for key, value in content.items():
            _usable(key, path or "a key")
            _usable(value, f"{path}.{key}".lstrip("."))
    elif isinstance(content, list):
        for value in content:
            _usable(value, path)
    elif isinstance(content, str):
        if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in content):
            raise Fault(f"{path or 'it'}: text with a character that can't be used")
    elif isinstance(content, float) and not math.isfinite(content):
        raise Fault(f"{path or 'it'}: not a number that JSON has")
    elif isinstance(content, int | float) and abs(content) >= _NUMBER:
        raise Fault(f"{path or 'it'}: a number with too many digits; write it in quotes")
    elif not isinstance(content, _SCALARS):
        raise Fault(f"{path or 'it'}: a value of a kind that can't be used")
