"""Old public names that keep working for one version, with a `DeprecationWarning`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that the public name `old` is now `new`; `stacklevel` 3 points at the caller of the function that calls."""
    warnings.warn(f"{old} is now {new}; the old name goes in the next version.", DeprecationWarning, stacklevel)


def renamed_argument(
    old: str, new: str, convert: Callable[[Any], object] | None = None
) -> Callable[[Callable[Arguments, Returned]], Callable[Arguments, Returned]]:
    """Let a function take the keyword argument `new` by its old name too, with a warning.

    `convert` turns the old argument's value into the new one's. Raises `TypeError` for a call that gives both.
    """

    def decorate(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
        @functools.wraps(function)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{function.__name__} takes {new} or its old name {old}, not both.")
                warn_renamed(f"{function.__name__}({old}=...)", f"{new}=...")
                value = kwargs.pop(old)
                kwargs[new] = value if convert is None else convert(value)
            return function(*args, **kwargs)

        return wrapper

    return decorate
