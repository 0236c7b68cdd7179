"""Our tensors beside the recorded ones: how far apart, how far is allowed, and what rounding may excuse.

Errors are relative to max(1, standard deviation of the recorded array). Attention masks are hard thresholds: where a
mask logit lies within rounding of zero, a pixel may flip and move one whole query, and a little those that listen to
it. Such queries are excused, but only with evidence: our own run must have come that near to zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from parity.recording import Recording, query_step, sliced

MAX_FLIPS = 3
"""Queries of a case whose own pixels may have flipped."""

FLIP_MOVES = 2e-2
ECHO_MOVES = 1e-3
"""How far a flip moves the query itself, and at most those of its group that listen to it."""


@dataclass(frozen=True)
class Tolerance:
    """Largest error allowed: of mask logits, and of everything else that is not a decision.

    `noise` is how far two runs' mask logits may lie apart by rounding alone: nearer to zero than that, pixels flip.
    `max_echoes` is how many queries of a case may have moved because they listened to one that flipped.
    """

    vectors: float
    masks: float
    noise: float = 0.0
    max_echoes: int = 0

    def __str__(self) -> str:
        return brief(self.vectors) + (f" (masks {brief(self.masks)})" if self.masks != self.vectors else "")


Query: TypeAlias = tuple[str, int, int]


def brief(number: float) -> str:
    """Write 0.0001 as 1e-4."""
    return f"{number:.0e}".replace("e-0", "e-")


@dataclass(frozen=True)
class Origin:
    """Where the rows (second dimension) of an array come from: which query, and how near it came to a flip.

    `margins` hold the smallest absolute mask logit that decided where the query looked, over all layers; `nearest` the
    smallest of any query of the group, one a photo.
    """

    group: str
    queries: Tensor
    margins: Tensor
    nearest: Tensor

    def every(self, step: int) -> Origin:
        """Keep every n-th row."""
        return replace(self, queries=self.queries[:, ::step], margins=self.margins[:, ::step])

    def take(self, rows: Tensor) -> Origin:
        """Keep the given rows of every photo ("b n")."""
        return replace(self, queries=self.queries.gather(1, rows), margins=self.margins.gather(1, rows))

    def after(self, before: Origin) -> Origin:
        """Add what an earlier round, whose masks this one was given, brings along."""
        margins = torch.minimum(self.margins, before.margins)
        return replace(self, margins=margins, nearest=torch.minimum(self.nearest, before.nearest))


@dataclass(frozen=True)
class Finding:
    """How one array fared. `error` leaves the excused queries out: group, photo and number of each."""

    name: str
    error: float
    limit: float
    flips: frozenset[Query] = frozenset()
    echoes: frozenset[Query] = frozenset()

    def __str__(self) -> str:
        return f"{self.error:.1e} {self.name}" if self.limit else f"{self.error:.0f} entries of {self.name}"

    @property
    def ok(self) -> bool:
        """Whether the array is as near as it has to be; NaN is not."""
        return self.error <= self.limit


@dataclass
class Comparison:
    """Collects the findings of one case in one precision."""

    recording: Recording
    tolerance: Tolerance
    findings: list[Finding] = field(default_factory=list)

    def vectors(self, name: str, ours: Tensor, origin: Origin | None = None) -> None:
        """Compare features, logits, vectors."""
        self._near(name, ours, self.tolerance.vectors, origin)

    def masks(self, name: str, ours: Tensor, origin: Origin | None = None) -> None:
        """Compare mask logits."""
        self._near(name, ours, self.tolerance.masks, origin)

    def numbers(self, name: str, ours: Tensor) -> None:
        """Compare numbers as they are, without regard to their spread."""
        self._differ(name, ours, torch.ones(()))

    def ratios(self, name: str, ours: Tensor) -> None:
        """Compare numbers in proportion to their size."""
        self._differ(name, ours, self.recording.tensor(name).double().abs())

    def exact(self, name: str, ours: Tensor, recorded: Tensor | None = None) -> None:
        """Compare decisions: every entry is equal. The error is the number of entries that are not."""
        recorded = self.recording.tensor(name) if recorded is None else recorded
        assert ours.shape == recorded.shape, f"{name}: ours is {list(ours.shape)}, recorded {list(recorded.shape)}"
        self.findings.append(Finding(name, float((ours != recorded).sum()), 0.0))

    def _differ(self, name: str, ours: Tensor, unit: Tensor) -> None:
        recorded = self.recording.tensor(name).double()
        assert ours.shape == recorded.shape, f"{name}: ours is {list(ours.shape)}, recorded {list(recorded.shape)}"
        error = ((ours.double() - recorded).abs() / unit).max().item()
        self.findings.append(Finding(name, error, self.tolerance.vectors))

    def _near(self, name: str, ours: Tensor, limit: float, origin: Origin | None) -> None:
        recorded, ours = self.recording.tensor(name).double(), sliced(name, ours).double()
        if origin is not None and recorded.dim() == ours.dim() - 1:  # recorded without the batch
            recorded = recorded[None]
        assert ours.shape == recorded.shape, f"{name}: ours is {list(ours.shape)}, recorded {list(recorded.shape)}"
        spread = recorded.std().clamp(min=1) if recorded.numel() > 1 else torch.ones(())
        errors = (ours - recorded).abs() / spread
        if origin is None:
            self.findings.append(Finding(name, errors.max().item(), limit))
            return
        origin, worst = origin.every(query_step(name)), errors.flatten(2).amax(dim=2)
        assert origin.margins.shape == worst.shape, f"{name}: rows and their origins differ"
        off, noise = worst > limit, self.tolerance.noise
        flipped = off & (worst <= FLIP_MOVES) & (origin.margins < noise)
        echoed = off & (worst <= ECHO_MOVES) & (origin.nearest < noise)[:, None] & ~flipped

        def named(rows: Tensor) -> frozenset[Query]:
            return frozenset((origin.group, b, int(origin.queries[b, row])) for b, row in rows.nonzero().tolist())

        rest = worst.masked_fill(flipped | echoed, 0.0).max().item()
        self.findings.append(Finding(name, rest, limit, named(flipped), named(echoed)))

    @property
    def flips(self) -> list[Query]:
        """Queries that were excused because their own pixels may have flipped."""
        return sorted(frozenset().union(*(finding.flips for finding in self.findings)))

    @property
    def echoes(self) -> list[Query]:
        """Queries that were excused because they listen to one that may have flipped."""
        return sorted(frozenset().union(*(finding.echoes for finding in self.findings)) - set(self.flips))

    def summary(self) -> str:
        """Name the largest error, and how many queries were excused."""
        worst = max(self.findings, key=lambda finding: finding.error)
        if not self.flips and not self.echoes:
            return str(worst)
        return f"{worst} but for {len(self.flips)} flipped queries and {len(self.echoes)} that heard of it"

    def complaints(self) -> list[str]:
        """Say in sentences what is off; empty when all is well."""
        wrong = [f"{finding} is off, allowed {brief(finding.limit)}" for finding in self.findings if not finding.ok]
        if not self.findings:
            wrong.append("nothing was compared")
        if len(self.flips) > MAX_FLIPS:
            wrong.append(f"{len(self.flips)} queries flipped, at most {MAX_FLIPS} can be rounding: {self.flips}")
        if len(self.echoes) > self.tolerance.max_echoes:
            wrong.append(f"{len(self.echoes)} queries heard of a flip, allowed {self.tolerance.max_echoes}")
        if unseen := self.recording.unseen():
            wrong.append(f"nothing was compared with {', '.join(unseen)}")
        return wrong
