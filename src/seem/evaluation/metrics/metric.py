"""The interface of all metrics, besides `update`."""

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
    """A metric: `update`, whose arguments differ, adds a case; the other methods are common to all.

    Counting halves in two processes and merging them gives the same result as counting all in one; so does stopping
    half-way, storing the `state` and continuing with `from_state`.
    """

    def compute(self) -> Result:
        """Compute the scores of everything counted so far."""
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...

    def merge(self: Self, other: Self) -> None:
        """Add what another process counted; `ValueError` if its settings differ."""
        ...

    def state(self) -> State:
        """Return what was counted."""
        ...

    @classmethod
    def from_state(cls: type[Self], state: State) -> Self:
        """Restore a metric from its `state`."""
        ...
