"""Text of an expression into a tree.

Grammar: cel-spec, doc/langdef.md, and the optional fields of Kubernetes (`a.?b`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias


class GrammarError(Exception):
    """The text is no expression of the part of CEL that is spoken here."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, text, truth value or null."""

    value: int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """``of.field``, and ``of.?field`` where ``optional``."""

    of: Tree
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """``of[key]``."""

    of: Tree
    key: Tree


@dataclass(frozen=True, slots=True)
class Call:
    """A function, a method of ``of``, or an operator, which is named as it is written."""

    name: str
    of: Tree | None
    arguments: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """``[a, b]``."""

    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """``{a: b}``."""

    entries: tuple[tuple[Tree, Tree], ...]


Tree: TypeAlias = Literal | Name | Select | Index | Call | Sequence | Mapping

_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<float>\d+\.\d+) | (?P<int>\d+)
    | (?P<raw>[rR](?:'[^'\n]*'|"[^"\n]*"))
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>&&|\|\||==|!=|<=|>=|\.\?|[-+*/%!<>?:.,()\[\]{}])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?"}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_BINARY: Final = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
"""Operators by how loosely they bind; all group to the left."""


def parse(text: str) -> Tree:
    """The tree of an expression. Raises GrammarError."""
    parser = _Parser(_tokens(text))
    tree = parser.expression()
    parser.expect("end", "")
    return tree


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None or token.lastgroup is None:
            raise GrammarError(f"nothing that is known begins at {text[at : at + 20]!r}")
        found.append((token.lastgroup, token[token.lastgroup]))
        at = token.end()
    return [*found, ("end", "")]


def _unescaped(text: str) -> str:
    def plain(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise GrammarError(f"the escape {escape[0]} is not known")
        return _ESCAPES[escape[1]]

    return re.sub(r"\\(.)", plain, text, flags=re.DOTALL)


def _literal(group: str, text: str) -> Literal:
    match group:
        case "int":
            return Literal(int(text))
        case "float":
            return Literal(float(text))
        case "raw":
            return Literal(text[2:-1])
        case "text":
            return Literal(_unescaped(text[1:-1]))
        case "name":
            return Literal(_CONSTANTS[text])
    raise GrammarError(f"a value was expected, not {text or 'the end'}")


class _Parser:
    """One token ahead, from left to right."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _take(self, *marks: str) -> str | None:
        """The token if it is one of these marks (or the word `in`)."""
        group, text = self._tokens[self._at]
        if text not in marks or group not in {"mark", "name"}:
            return None
        self._at += 1
        return text

    def expect(self, group: str, text: str) -> None:
        """Take exactly this. Raises GrammarError."""
        found = self._next()
        if found != (group, text):
            raise GrammarError(f"{text or 'the end'} was expected, not {found[1] or 'the end'}")

    def expression(self) -> Tree:
        condition = self._binary(0)
        if not self._take("?"):
            return condition
        yes = self._binary(0)
        self.expect("mark", ":")
        return Call("?:", None, (condition, yes, self.expression()))

    def _binary(self, level: int) -> Tree:
        if level == len(_BINARY):
            return self._unary()
        left = self._binary(level + 1)
        while operator := self._take(*_BINARY[level]):
            left = Call(operator, None, (left, self._binary(level + 1)))
        return left

    def _unary(self) -> Tree:
        if operator := self._take("!", "-"):
            return Call(f"unary {operator}", None, (self._unary(),))
        tree = self._primary()
        while mark := self._take(".", ".?", "["):
            if mark == "[":
                tree = Index(tree, self.expression())
                self.expect("mark", "]")
                continue
            group, name = self._next()
            if group != "name":
                raise GrammarError(f"a name was expected after {mark}, not {name or 'the end'}")
            if mark == "." and self._take("("):
                tree = Call(name, tree, self._listed(")"))
            else:
                tree = Select(tree, name, mark == ".?")
        return tree

    def _primary(self) -> Tree:
        group, text = self._next()
        tree: Tree
        match group, text:
            case "mark", "(":
                tree = self.expression()
                self.expect("mark", ")")
            case "mark", "[":
                tree = Sequence(self._listed("]"))
            case "mark", "{":
                tree = self._mapping()
            case "name", _ if text not in _CONSTANTS:
                tree = Call(text, None, self._listed(")")) if self._take("(") else Name(text)
            case _:
                tree = _literal(group, text)
        return tree

    def _listed(self, end: str) -> tuple[Tree, ...]:
        items: list[Tree] = []
        while not self._take(end):
            if items:
                self.expect("mark", ",")
            items.append(self.expression())
        return tuple(items)

    def _mapping(self) -> Mapping:
        entries: list[tuple[Tree, Tree]] = []
        while not self._take("}"):
            if entries:
                self.expect("mark", ",")
            key = self.expression()
            self.expect("mark", ":")
            entries.append((key, self.expression()))
        return Mapping(tuple(entries))
