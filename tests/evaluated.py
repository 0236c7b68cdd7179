"""A process that evaluates a tiny network: `python evaluated.py DATA OUT [SECONDS]`; so many seconds go by a photo.

Run it under `torchrun`'s variables and it is a rank.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import torch

import tiny
from seem.evaluation import image_loop
from seem.evaluation.plan import EvaluationRequest, EvaluationTask
from seem.evaluation.runner import run_evaluation

TASKS = (
    EvaluationTask.PANOPTIC,
    EvaluationTask.INSTANCE,
    EvaluationTask.SEMANTIC,
    EvaluationTask.PHRASES,
    EvaluationTask.CLICKS,
)


def request(data: Path) -> EvaluationRequest:
    return EvaluationRequest(data=(f"pack:{data}",), tasks=TASKS, clicks=2, baselines="disc")


def opener(seconds: float = 0.0):
    model = tiny.tiny_model("nano")
    encode = model.encode

    def slowly(*given):
        time.sleep(seconds)
        return encode(*given)

    model.encode = slowly
    return model


def main(data: str, out: str, seconds: str = "0") -> None:
    torch.set_num_threads(1)
    image_loop.PATIENCE = 0.0
    image_loop.SHARE = 0.0
    report = run_evaluation(partial(opener, float(seconds)), request(Path(data)), Path(out))
    sys.stdout.write("wrote" if report else "counted")


if __name__ == "__main__":
    main(*sys.argv[1:])
