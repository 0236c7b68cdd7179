"""What every metric can do besides being updated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

State: TypeAlias = Mapping[str, Any]
"""What a metric has counted: numbers, strings, lists and NumPy arrays.

Arrays may come back as lists, so that a state survives JSON.
"""

Self = TypeVar("Self", bound="Metric[Any]")
Result = TypeVar("Result", covariant=True)


@runtime_checkable
class Metric(Protocol[Result]):
    """Something that counts: `update` (each has its own) adds a case, the rest is common.

    Counting halves in two processes and merging them gives the same result as counting all in one; so does stopping
    half-way, keeping the `state` and going on `from_state`.
    """

    def compute(self) -> Result:
        """Score everything so far."""
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...

    def merge(self: Self, other: Self) -> None:
        """Add what another process counted; `ValueError` if it counted something else."""
        ...

    def state(self) -> State:
        """Return what was counted."""
        ...

    @classmethod
    def from_state(cls: type[Self], state: State) -> Self:
        """Go on from what was counted."""
        ...
