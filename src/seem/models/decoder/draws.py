"""The choices that the published code leaves to chance, as named rules.

Official inference draws random numbers in three places: which prompt pixels become tokens when there are more than 512,
which object queries become visual queries, and which memory slots serve which object. `FairDraws` is our deterministic
default. `RecordedDraws` is the rule of the parity recordings. `RandomDraws` is the published behaviour, from a
generator that the caller seeds.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Int
from torch import Tensor


class Draws(Protocol):
    """One answer for each of the three choices; indices are ascending where order carries no meaning."""

    def points(self, owner: Int[Tensor, " p"], limit: int) -> Int[Tensor, " k"]:
        """Choose at most `limit` of the prompt pixels; `owner` is the (ascending) object of each."""
        ...

    def queries(self, num_objects: int, per_object: int, num_queries: int) -> Int[Tensor, " k"]:
        """Choose the object query that each visual query copies, object-major."""
        ...

    def memory(
        self, num_objects: int, num_slots: int
    ) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """Choose memory rows: the learned slot of each, and the object that it serves."""
        ...


class FairDraws:
    """Every object gets the same queries, all memory slots and an equal share of the pixels, evenly spaced.

    An object's answer does not depend on what else is asked in the same pass, as long as all prompts fit into the
    limit; beyond it, small prompts keep all their pixels and large ones share what is left.
    """

    def points(self, owner: Int[Tensor, " p"], limit: int) -> Int[Tensor, " k"]:
        """Share the limit between objects, smallest prompts first."""
        if len(owner) <= limit:
            return torch.arange(len(owner), device=owner.device)
        objects, counts = torch.unique_consecutive(owner, return_counts=True)
        shares = dict.fromkeys(range(len(objects)), 0)
        left = limit
        for served, index in enumerate(counts.argsort().tolist()):
            shares[index] = min(int(counts[index]), left // (len(objects) - served))
            left -= shares[index]
        starts = counts.cumsum(0) - counts
        chosen = [
            starts[i] + spaced(int(counts[i]), share, owner.device) for i, share in shares.items()
        ]
        return torch.cat(chosen)

    def queries(self, num_objects: int, per_object: int, num_queries: int) -> Int[Tensor, " k"]:
        """Give every object the same evenly spaced queries."""
        return spaced(num_queries, per_object).repeat(num_objects)

    def memory(
        self, num_objects: int, num_slots: int
    ) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """Give every object all slots."""
        return (
            torch.arange(num_slots).repeat(num_objects),
            torch.arange(num_objects).repeat_interleave(num_slots),
        )


class RecordedDraws:
    """The rule of the parity recordings: k of n are `(i * n) // k`, whatever belongs to whom."""

    def points(self, owner: Int[Tensor, " p"], limit: int) -> Int[Tensor, " k"]:
        """Keep pixels in proportion to area."""
        return spaced(len(owner), min(limit, len(owner)), owner.device)

    def queries(self, num_objects: int, per_object: int, num_queries: int) -> Int[Tensor, " k"]:
        """Spread the queries of all objects together over the object queries."""
        return spaced(num_queries, num_objects * per_object)

    def memory(
        self, num_objects: int, num_slots: int
    ) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """Split the slots between the objects."""
        return torch.arange(num_slots), spaced(num_objects, num_slots)


class RandomDraws:
    """The published behaviour: every choice drawn anew from the caller's generator (CPU)."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def points(self, owner: Int[Tensor, " p"], limit: int) -> Int[Tensor, " k"]:
        """Draw pixels so that every object has the same expected share."""
        if len(owner) <= limit:
            return torch.arange(len(owner), device=owner.device)
        owners = owner.cpu()
        _, inverse, counts = torch.unique_consecutive(
            owners, return_inverse=True, return_counts=True
        )
        weights = 1.0 / counts[inverse].double()
        chosen = torch.multinomial(weights, limit, replacement=False, generator=self.generator)
        return chosen.sort().values.to(owner.device)

    def queries(self, num_objects: int, per_object: int, num_queries: int) -> Int[Tensor, " k"]:
        """Draw queries with replacement."""
        return torch.randint(0, num_queries, (num_objects * per_object,), generator=self.generator)

    def memory(
        self, num_objects: int, num_slots: int
    ) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """Draw the object of each slot."""
        return (
            torch.arange(num_slots),
            torch.randint(0, num_objects, (num_slots,), generator=self.generator).sort().values,
        )


def spaced(n: int, k: int, device: torch.device | None = None) -> Int[Tensor, " {k}"]:
    """Return k of n indices, evenly spaced from the first."""
    return (torch.arange(k, device=device) * n) // max(k, 1)
