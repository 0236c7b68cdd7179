"""Our tensors beside the recorded ones: how far apart, and how far is allowed.

Errors are relative to max(1, standard deviation of the recorded array). Decisions (token ids, chosen queries, maps,
clicks) are equal or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from parity.recording import Recording, sliced


@dataclass(frozen=True)
class Tolerance:
    """Largest error allowed: of mask logits, and of everything else that is not a decision.

    `noise` is how far two runs' mask logits may lie apart by rounding alone (see `thresholds.py`).
    """

    vectors: float
    masks: float
    noise: float = 0.0

    def __str__(self) -> str:
        return brief(self.vectors) + (
            f" (masks {brief(self.masks)})" if self.masks != self.vectors else ""
        )


def brief(number: float) -> str:
    """Write 0.0001 as 1e-4."""
    return f"{number:.0e}".replace("e-0", "e-") if number else "0"


@dataclass(frozen=True)
class Finding:
    """How one array fared: its largest error, and how many of its entries are off. Decisions have the limit 0."""

    name: str
    error: float
    limit: float
    num_off: int

    def __str__(self) -> str:
        return (
            f"{self.error:.1e} {self.name}"
            if self.limit
            else f"{self.num_off} entries of {self.name}"
        )

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
    notes: tuple[str, ...] = ()

    def vectors(self, name: str, ours: Tensor) -> None:
        """Compare features, logits, vectors."""
        self._near(name, sliced(name, ours), self.tolerance.vectors)

    def rows(self, name: str, ours: Tensor) -> None:
        """Compare vectors that are already sliced as the recorded ones are."""
        self._near(name, ours, self.tolerance.vectors)

    def masks(self, name: str, ours: Tensor) -> None:
        """Compare mask logits."""
        self._near(name, sliced(name, ours), self.tolerance.masks)

    def numbers(self, name: str, ours: Tensor) -> None:
        """Compare numbers as they are, without regard to their spread."""
        self._differ(name, ours, torch.ones(()), self.tolerance.vectors)

    def ratios(self, name: str, ours: Tensor) -> None:
        """Compare numbers in proportion to their size."""
        self._differ(name, ours, self.recording.tensor(name).double().abs(), self.tolerance.vectors)

    def exact(self, name: str, ours: Tensor, recorded: Tensor | None = None) -> None:
        """Compare decisions; `recorded` where the array needs reading first."""
        recorded = self.recording.tensor(name) if recorded is None else recorded
        assert ours.shape == recorded.shape, (
            f"{name}: ours is {list(ours.shape)}, recorded {list(recorded.shape)}"
        )
        wrong = int((ours != recorded).sum())
        self.findings.append(Finding(name, float(wrong > 0), 0.0, wrong))

    def foreground(self, name: str, logits: Tensor, recorded: Tensor) -> None:
        """Compare where mask logits are positive; so near to zero that rounding decides, both are right."""
        sure = logits.abs() > self.tolerance.masks
        self.exact(name, sure & (logits > 0), sure & recorded)

    def _near(self, name: str, ours: Tensor, limit: float) -> None:
        recorded = self.recording.tensor(name).double()
        spread = recorded.std().clamp(min=1) if recorded.numel() > 1 else torch.ones(())
        self._differ(name, ours, spread, limit)

    def _differ(self, name: str, ours: Tensor, unit: Tensor, limit: float) -> None:
        recorded = self.recording.tensor(name).double()
        assert ours.shape == recorded.shape, (
            f"{name}: ours is {list(ours.shape)}, recorded {list(recorded.shape)}"
        )
        errors = (ours.double() - recorded).abs() / unit
        self.findings.append(
            Finding(name, errors.max().item(), limit, int((~(errors <= limit)).sum()))
        )

    @property
    def num_off(self) -> int:
        """How many entries of all arrays are further off than allowed."""
        return sum(finding.num_off for finding in self.findings)

    @property
    def largest(self) -> Finding:
        """The largest error of what is not a decision, or of the decisions where there is nothing else."""
        return max(self.findings, key=lambda finding: (finding.limit > 0, finding.error))

    def summary(self) -> str:
        """Name the largest error, and what had to be assumed."""
        return ", ".join((str(self.largest), *self.notes))

    def complaints(self) -> list[str]:
        """Say in sentences what is off; empty when all is well."""
        wrong = [
            f"{finding} is off, allowed {brief(finding.limit)}"
            for finding in self.findings
            if not finding.ok
        ]
        if not self.findings:
            wrong.append("nothing was compared")
        if unseen := self.recording.unseen():
            wrong.append(f"nothing was compared with {', '.join(unseen)}")
        return wrong
