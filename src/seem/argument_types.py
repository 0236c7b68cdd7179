"""Errors about arguments of a wrong type: one line that names the argument, in place of what broke inside.

A call that succeeds is not looked at. One that fails with an error of Python's or of a library's is compared with the
annotations of the function: an argument that they do not allow becomes a `ValueError`; other errors stay what they are.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeGuard, TypeVar, Union, cast

import numpy as np

Arguments = ParamSpec("Arguments")
Options = TypeVar("Options")
Owner = TypeVar("Owner")
Returned = TypeVar("Returned")
Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])

UNEXPLAINED = (
    TypeError, AttributeError, IndexError, KeyError, OverflowError, RuntimeError, NotImplementedError, AssertionError,
    UnicodeError, ValueError,  # of these, those about file names
)  # fmt: skip
LONGEST_VALUE = 60  # characters of a value in a message

NAMES: dict[Any, str] = {
    type(None): "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    os.PathLike: "a path",
    np.ndarray: "an array",
}


def explains_arguments(cls: Class) -> Class:
    """Let the public methods of a class explain arguments of a wrong type; a class decorator."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name != "__getitem__":
            continue
        if isinstance(member, types.FunctionType):
            setattr(cls, name, explained(member))
        elif isinstance(member, classmethod):
            setattr(cls, name, classmethod(explained(member.__func__)))
    return cls


def explained(function: Function) -> Function:
    """Let a function explain arguments of a wrong type; a decorator."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except UNEXPLAINED as error:
            if isinstance(error, ValueError) and not is_about_file_name(error):
                raise
            message = describe_wrong_argument(function, arguments, options)
            if message is None:
                raise
            raise ValueError(message) from error

    return cast("Function", wrapper)


def takes_options(
    make_options: Callable[Arguments, Options],
) -> Callable[
    [Callable[[Owner, Options], Returned]], Callable[Concatenate[Owner, Arguments], Returned]
]:
    """Let a method that is written for a dataclass of options take its fields as arguments; a decorator.

    So each option is written once, in the dataclass: callers see its name, type and default in the method's signature.
    """
    parameters = inspect.signature(make_options).parameters.values()

    def decorate(
        method: Callable[[Owner, Options], Returned],
    ) -> Callable[Concatenate[Owner, Arguments], Returned]:
        @functools.wraps(method)
        def wrapper(self: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
            return method(self, make_options(*args, **kwargs))

        declared = inspect.signature(method)
        owner = next(iter(declared.parameters.values()))
        described: Any = wrapper
        described.__signature__ = declared.replace(parameters=[owner, *parameters])
        described.__annotations__ = {each.name: each.annotation for each in parameters}
        del described.__wrapped__  # so that whoever inspects the method finds these
        return wrapper

    return decorate


def describe_wrong_argument(
    function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]
) -> str | None:
    """Return a message about the first argument that the annotations of a function do not allow; None if all fit."""
    try:
        bound = inspect.signature(function).bind(*arguments, **options)
    except TypeError:  # other arguments than there are: Python words that well
        return None
    for name, value in single_arguments(bound):
        hint = read_annotation(function, name)
        if isinstance(value, (str, os.PathLike)) and not is_file_name(os.fspath(value)):
            return f"{name} is {short_value(value)}, which no file can be called."
        if not fits(value, hint):
            return (
                f"{name} is {short_value(value)}; {function.__name__} takes {describe_type(hint)}."
            )
    return None


def single_arguments(bound: inspect.BoundArguments) -> Iterator[tuple[str, Any]]:
    """Yield the name of the parameter and the value of every argument, also of those that `*` or `**` collect."""
    for name, value in bound.arguments.items():
        match bound.signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                yield from ((name, each) for each in value)
            case inspect.Parameter.VAR_KEYWORD:
                yield from ((name, each) for each in value.values())
            case _:
                yield name, value


def read_annotation(function: Callable[..., Any], name: str) -> Any:
    """Return the annotation of a parameter, `Any` where it cannot be read while the program runs."""
    own = inspect.unwrap(function)
    holder = types.SimpleNamespace(__annotations__={name: own.__annotations__.get(name, Any)})
    try:
        return typing.get_type_hints(holder, globalns=own.__globals__)[name]
    except (NameError, TypeError):
        return Any


def is_about_file_name(error: ValueError) -> bool:
    """Tell an error of the file system about a name from an error of our own."""
    return isinstance(error, UnicodeError) or "null byte" in str(error)


def is_file_name(path: str | bytes) -> bool:
    """Tell whether the file system takes a name: no NUL, nothing that cannot be encoded."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeError:
        return False


def is_tensor(value: object) -> TypeGuard[Any]:
    """Tell whether a value is a tensor, without importing PyTorch: where nobody has, nothing is one."""
    pytorch = sys.modules.get("torch")
    return pytorch is not None and isinstance(value, pytorch.Tensor)


def short_value(value: object) -> str:
    """Return a value as one line of limited length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def fits(value: object, hint: Any) -> bool:
    """Tell whether a value fits an annotation; True for annotations that are not known here."""
    if hint is Any:
        return True
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in parameters)
    if origin is Literal:
        return isinstance(value, str) and value in parameters
    kind = origin or hint
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if not isinstance(kind, type) or kind is object or getattr(kind, "_is_protocol", False):
        return True
    if not isinstance(value, kind):
        return kind in (Sequence, Iterable) and isinstance(value, np.ndarray) and value.ndim > 0
    if kind in (Sequence, Iterable, list) and parameters and isinstance(value, (list, tuple)):
        return all(fits(item, parameters[0]) for item in value)
    return True


def describe_type(hint: Any) -> str:
    """Return what an annotation allows in a few words."""
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        names = dict.fromkeys(describe_type(each) for each in parameters)
        return " or ".join(names)
    if origin is Literal:
        return " or ".join(map(repr, parameters))
    kind = origin or hint
    if kind in NAMES:
        return NAMES[kind]
    if kind in (Sequence, Iterable, list, tuple) and parameters:
        return f"a list ({describe_type(parameters[0])} each)"
    return f"a {getattr(kind, '__name__', str(kind))}"
