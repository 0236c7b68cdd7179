"""A process that evaluates a tiny network, and a benchmark on its own.

`python evaluated.py DATA OUT [SECONDS]`: so many seconds go by for each image.

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
from seem.evaluation.accumulator import new_accumulators
from seem.evaluation.benchmark import EvaluationContext, evaluate_image
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


def run_benchmark(model, dataset, benchmark, step=lambda: None, items=None):
    """Evaluate one benchmark; `items`, by image id, replace its own, and `step` is called once for every item."""
    accumulators = new_accumulators(benchmark.specs)
    for index, image in enumerate(dataset.images):
        found = benchmark.items(image) if items is None else items.get(image.id, ())
        if len(found):
            evaluate_image(
                EvaluationContext(model, dataset, image, index), [(benchmark, found, accumulators)]
            )
            for _ in found:
                step()
    return [accumulator.entry(dataset) for accumulator in accumulators if len(accumulator)]


def main(data: str, out: str, seconds: str = "0") -> None:
    torch.set_num_threads(1)
    image_loop.WRITE_INTERVAL_SECONDS = 0.0
    image_loop.WRITE_INTERVAL_SHARE = 0.0
    report = run_evaluation(partial(opener, float(seconds)), request(Path(data)), Path(out))
    sys.stdout.write("wrote" if report else "counted")


if __name__ == "__main__":
    main(*sys.argv[1:])
