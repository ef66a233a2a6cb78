"""Trees into programs. A program is a Python function of the variables; what it costs is paid once, when it is made."""

from __future__ import annotations

import operator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from bailiwick.cel import syntax
from bailiwick.cel.functions import FUNCTIONS, METHODS, TYPES, among
from bailiwick.cel.values import ABSENT, EvaluationError, Maybe, UnknownError, equal, known, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Variables = dict[str, Any]
    Program = Callable[[Variables], Any]

_ODD: Final = (EvaluationError, TypeError, AttributeError, KeyError, IndexError, ValueError)
"""What comes of values of unexpected types: CEL calls all of them errors."""
_STRICT: Final[Mapping[str, Callable[..., Any]]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "in": among,
    "unary !": lambda value: not truth(value),
    "unary -": operator.neg,
}
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})


@cache
def program(text: str) -> Program:
    """An expression, ready to be asked many times. Raises GrammarError.

    The program raises EvaluationError where the expression has no value.
    """
    made = _program(syntax.parse(text))

    def run(variables: Variables) -> Any:
        try:
            return made(variables)
        except EvaluationError:
            raise
        except _ODD as error:
            raise EvaluationError(f"{type(error).__name__}: {error}") from None

    return run


def _program(tree: syntax.Tree) -> Program:
    made: Program
    match tree:
        case syntax.Literal(value):
            made = _always(value)
        case syntax.Name(name):
            made = _always(TYPES[name]) if name in TYPES else _name(name)
        case syntax.Select(of, field, optional):
            made = (_optional if optional else _select)(_program(of), field)
        case syntax.Index(of, key):
            made = _index(_program(of), _program(key))
        case syntax.Sequence(items):
            made = _list([_program(item) for item in items])
        case syntax.Mapping(entries):
            made = _map([(_program(key), _program(value)) for key, value in entries])
        case syntax.Call():
            made = _call(tree)
    return made


def _always(value: Any) -> Program:
    return lambda _: value


def _list(made: list[Program]) -> Program:
    return lambda variables: [item(variables) for item in made]


def _map(made: list[tuple[Program, Program]]) -> Program:
    return lambda variables: {key(variables): value(variables) for key, value in made}


def _name(name: str) -> Program:
    def run(variables: Variables) -> Any:
        if name not in variables:
            raise EvaluationError(f"nothing is called {name}")
        return known(variables[name])

    return run


def _field(value: Any, field: str) -> Any:
    if isinstance(value, dict):
        if field in value:
            return known(value[field])
        raise EvaluationError(f"no such key: {field}")
    if isinstance(value, Maybe):
        return value.select(field)
    raise EvaluationError(f"{type(value).__name__} has no field {field}")


def _select(whole: Program, field: str) -> Program:
    return lambda variables: _field(whole(variables), field)


def _optional(whole: Program, field: str) -> Program:
    def run(variables: Variables) -> Maybe:
        value = whole(variables)
        return (value if isinstance(value, Maybe) else Maybe((value,))).select(field)

    return run


def _index(whole: Program, key: Program) -> Program:
    def run(variables: Variables) -> Any:
        of, at = whole(variables), key(variables)
        if isinstance(of, dict) or (isinstance(of, list) and type(at) is int and at >= 0):
            return known(of[at])
        raise EvaluationError(f"{type(of).__name__} has no place {at}")

    return run


def _call(call: syntax.Call) -> Program:
    name, arguments = call.name, call.arguments
    if call.of is not None:
        if name in _MACROS:
            if not arguments or not isinstance(arguments[0], syntax.Name):
                raise syntax.GrammarError(f"{name} names a variable first")
            return _macro(name, _program(call.of), arguments[0].name, [_program(each) for each in arguments[1:]])
        return _method(name, [_program(call.of), *map(_program, arguments)])
    if name == "has":
        return _has(arguments)
    made = [_program(each) for each in arguments]
    if name in {"&&", "||"}:
        return _decided(*made, by=name == "||")
    return _chosen(*made) if name == "?:" else _applied(name, made)


def _chosen(condition: Program, yes: Program, no: Program) -> Program:
    return lambda variables: yes(variables) if truth(condition(variables)) else no(variables)


def _applied(name: str, made: list[Program]) -> Program:
    function = _STRICT.get(name) or FUNCTIONS.get(name)
    if function is None:
        raise syntax.GrammarError(f"the function {name} is not known")
    match made:
        case [only]:
            return lambda variables: function(only(variables))
        case [left, right]:
            return lambda variables: function(left(variables), right(variables))
    raise syntax.GrammarError(f"{name} got too few or too many arguments")


def _method(name: str, made: list[Program]) -> Program:
    if name not in METHODS:
        return _of_nobody(name, made[0])
    kinds, function = METHODS[name]

    def run(variables: Variables) -> Any:
        receiver, *arguments = [each(variables) for each in made]
        if not isinstance(receiver, kinds):
            raise EvaluationError(f"{type(receiver).__name__} has no method {name}")
        return function(receiver, *arguments)

    return run


def _of_nobody(name: str, of: Program) -> Program:
    """A method that only a cluster can answer, as those of `authorizer`; asking its receiver tells so."""

    def run(variables: Variables) -> Any:
        raise EvaluationError(f"{type(of(variables)).__name__} has no method {name}")

    return run


def _has(arguments: tuple[syntax.Tree, ...]) -> Program:
    if len(arguments) != 1 or not isinstance(arguments[0], syntax.Select):
        raise syntax.GrammarError("has() asks for a field")
    field, whole = arguments[0].field, _program(arguments[0].of)

    def run(variables: Variables) -> bool:
        value = whole(variables)
        if isinstance(value, dict):
            return field in value
        if isinstance(value, Maybe):
            return value.select(field) is not ABSENT
        raise EvaluationError(f"{type(value).__name__} has no fields")

    return run


def _decided(left: Program, right: Program, *, by: bool) -> Program:
    """`||` where true decides, `&&` where false does: then it does not matter that the other side has no value."""

    def run(variables: Variables) -> bool:
        try:
            if truth(left(variables)) is by:
                return by
        except _ODD as error:
            return _in_spite(error, right, variables, by=by)
        return truth(right(variables))

    return run


def _in_spite(error: Exception, right: Program, variables: Variables, *, by: bool) -> bool:
    try:
        if truth(right(variables)) is by:
            return by
    except UnknownError:
        raise
    except _ODD:
        raise error from None
    raise error


def _items(value: Any) -> Iterable[Any]:
    """Of a map its keys."""
    if isinstance(value, list | dict):
        return value
    raise EvaluationError(f"{type(value).__name__} holds no items")


def _macro(name: str, of: Program, variable: str, bodies: list[Program]) -> Program:
    wanted = {"map": (1, 2)}.get(name, (1,))
    if len(bodies) not in wanted:
        raise syntax.GrammarError(f"{name} got too few or too many arguments")
    condition, made = bodies[0], bodies[-1]

    def over(variables: Variables) -> Iterable[tuple[Any, Variables]]:
        inner = dict(variables)
        for item in _items(of(variables)):
            inner[variable] = item
            yield item, inner

    match name, len(bodies):
        case "map", 1:
            return lambda variables: [made(inner) for _, inner in over(variables)]
        case "map", _:
            return lambda variables: [made(inner) for _, inner in over(variables) if truth(condition(inner))]
        case "filter", _:
            return lambda variables: [item for item, inner in over(variables) if truth(condition(inner))]
        case "exists_one", _:
            return lambda variables: sum(truth(condition(inner)) for _, inner in over(variables)) == 1
    return lambda variables: (
        _settled((condition, inner) for _, inner in over(variables))
        if name == "exists"
        else (not _settled(((condition, inner) for _, inner in over(variables)), by=False))
    )


def _settled(asked: Iterable[tuple[Program, Variables]], *, by: bool = True) -> bool:
    """Whether one of them is ``by``, which decides although others have no value. Raises what one of those raised."""
    error: Exception | None = None
    for condition, variables in asked:
        try:
            if truth(condition(variables)) is by:
                return True
        except _ODD as odd:
            error = odd if error is None or isinstance(odd, UnknownError) else error
    if error is not None:
        raise error
    return False
