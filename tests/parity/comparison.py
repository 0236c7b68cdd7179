"""Our tensors beside the recorded ones: how far apart, how far is allowed, and what rounding may excuse.

Errors are relative to max(1, standard deviation of the recorded array). Attention masks are hard thresholds: where a
mask logit lies within rounding of zero, a pixel may flip and move one whole query. Such a query is excused, but only
with evidence: our own run must have come that near to zero for this very query.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from parity.recording import Recording, query_step, sliced

THRESHOLD_NOISE = 4e-5
"""How far float32 mask logits of the official network lie from float64 ones: nearer to zero than that, pixels flip."""

MAX_FLIPS = 3
FLIP_MOVES = 2e-2


@dataclass(frozen=True)
class Tolerance:
    """Largest error allowed: of mask logits, and of everything else that is not a decision."""

    vectors: float
    masks: float

    def __str__(self) -> str:
        return f"{self.vectors:.0e}" if self.vectors == self.masks else f"{self.vectors:.0e}, masks {self.masks:.0e}"


@dataclass(frozen=True)
class Origin:
    """Where the rows (second dimension) of an array come from: which query, and how near it came to a flip.

    `margins` hold the smallest absolute mask logit that decided where the query looked, over all layers.
    """

    group: str
    queries: Tensor
    margins: Tensor

    def every(self, step: int) -> Origin:
        """Keep every n-th row."""
        return Origin(self.group, self.queries[:, ::step], self.margins[:, ::step])

    def take(self, rows: Tensor) -> Origin:
        """Keep the given rows of every photo ("b n")."""
        return Origin(self.group, self.queries.gather(1, rows), self.margins.gather(1, rows))


@dataclass(frozen=True)
class Finding:
    """How one array fared. `error` leaves excused queries out; they are named in `flips`."""

    name: str
    error: float
    limit: float
    flips: frozenset[tuple[str, int, int]] = frozenset()

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

    def within(self, name: str, ours: Tensor, limit: float) -> None:
        """Compare numbers that have a tolerance of their own, absolute."""
        recorded = self.recording.tensor(name)
        assert ours.shape == recorded.shape, f"{name}: ours is {list(ours.shape)}, recorded {list(recorded.shape)}"
        self.findings.append(Finding(name, (ours.double() - recorded.double()).abs().max().item(), limit))

    def exact(self, name: str, ours: Tensor, recorded: Tensor | None = None) -> None:
        """Compare decisions: every entry is equal. The error is the number of entries that are not."""
        recorded = self.recording.tensor(name) if recorded is None else recorded
        assert ours.shape == recorded.shape, f"{name}: ours is {list(ours.shape)}, recorded {list(recorded.shape)}"
        self.findings.append(Finding(name, float((ours != recorded).sum()), 0.0))

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
        excused = (worst > limit) & (worst <= FLIP_MOVES) & (origin.margins < THRESHOLD_NOISE)
        flips = {(origin.group, photo, int(origin.queries[photo, row])) for photo, row in excused.nonzero().tolist()}
        rest = worst.masked_fill(excused, 0.0).max().item()
        self.findings.append(Finding(name, rest, limit, frozenset(flips)))

    @property
    def flips(self) -> list[tuple[str, int, int]]:
        """Queries that were excused: group, photo, number."""
        return sorted(frozenset().union(*(finding.flips for finding in self.findings)))

    @property
    def worst(self) -> Finding:
        """The finding nearest to its limit, or furthest beyond."""
        return max(self.findings, key=lambda finding: finding.error / finding.limit if finding.limit else finding.error)

    def complaints(self) -> list[str]:
        """Say in sentences what is off; empty when all is well."""
        wrong = [f"{f.name} is off by {f.error:.1e}, allowed {f.limit:.0e}" for f in self.findings if not f.ok]
        if not self.findings:
            wrong.append("nothing was compared")
        if len(self.flips) > MAX_FLIPS:
            wrong.append(f"{len(self.flips)} queries moved, at most {MAX_FLIPS} can be rounding: {self.flips}")
        if unseen := self.recording.unseen():
            wrong.append(f"nothing was compared with {', '.join(unseen)}")
        return wrong
