"""Old public names that keep working for one version, with a `DeprecationWarning`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")
Class = TypeVar("Class")


@dataclass(frozen=True, slots=True)
class Renamed:
    """The new name of a keyword argument, and how its old values become new ones (None = they stay)."""

    name: str
    convert: Callable[[Any], object] | None = None


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that the public name `old` is now `new`; `stacklevel` 3 points at the caller of the function that calls."""
    warnings.warn(
        f"{old} is now {new}; the old name goes in the next version.",
        DeprecationWarning,
        stacklevel,
    )


def renamed_arguments(
    **renamed: Renamed,
) -> Callable[[Callable[Arguments, Returned]], Callable[Arguments, Returned]]:
    """Let a function take keyword arguments by their old names too (the keys of `renamed`), with a warning.

    Raises `TypeError` for a call that gives an argument by both names.
    """

    def decorate(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
        @functools.wraps(function)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
            for old in renamed.keys() & kwargs.keys():
                new = renamed[old]
                if new.name in kwargs:
                    raise TypeError(
                        f"{function.__name__} takes {new.name} or its old name {old}, not both."
                    )
                warn_renamed(f"{function.__name__}({old}=...)", f"{new.name}=...")
                value = kwargs.pop(old)
                kwargs[new.name] = value if new.convert is None else new.convert(value)
            return function(*args, **kwargs)

        return wrapper

    return decorate


def renamed_attributes(renamed: Mapping[str, str]) -> Callable[[type[Class]], type[Class]]:
    """Let attributes of a class be read by their old names too (the keys of `renamed`), with a warning."""

    def decorate(cls: type[Class]) -> type[Class]:
        for old, new in renamed.items():
            setattr(cls, old, _renamed_property(f"{cls.__name__}.{old}", new))
        return cls

    return decorate


def _renamed_property(old: str, new: str) -> property:
    def read(self: object) -> object:
        warn_renamed(old, new)
        return getattr(self, new)

    return property(read, doc=f"Old name of `{new}`.")
