"""`seem finetune`: fine-tune a model on a user's own photos and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from seem.cli.data import SPEC
from seem.cli.options import FLAG, takes_option_groups
from seem.cli.training_options import (
    LearningRateOption,
    MinutesOption,
    OutOption,
    ProgressScreen,
    RunOptions,
    parse_parts,
    resume_hint,
)

if TYPE_CHECKING:
    from seem.finetuning.request import FineTuningRequest


@takes_option_groups
def finetune_command(
    *,
    data: Annotated[
        list[str], typer.Option(metavar="SPEC[*WEIGHT]", help=f"Data set: {SPEC}; repeatable.")
    ],
    out: OutOption,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Model to start from: its name, a file of weights, or a run's folder.",
        ),
    ] = "nano",
    minutes: MinutesOption = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Number of training steps. Default: at most half an hour of them."
        ),
    ] = None,
    learning_rate: LearningRateOption = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="PARTS", help="Network parts that are not trained: backbone,text,... or none."
        ),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART=FACTOR", help="Factor of the learning rate of a network part; repeatable."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the training canvas.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Photos of a step in each process. Default: what the plan chooses."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Device of the network: cpu, cuda, cuda:1, ..."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Validations without progress before the run stops, 0 = never. Default: 4.",
        ),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch", metavar=FLAG, help="Start from random weights, for comparison."
        ),
    ] = False,
    run: RunOptions,
) -> None:
    """Fine-tune a model on your own photos and masks; seem.load(RUN) opens the best one."""
    from seem.finetuning.processes import process_count
    from seem.finetuning.request import FineTuningRequest
    from seem.training.distributed import run_distributed

    request = FineTuningRequest(
        data=tuple(data),
        out=out,
        model=model,
        minutes=minutes,
        steps=steps,
        learning_rate=learning_rate,
        freeze=parse_parts(freeze),
        size=size,
        batch=batch,
        device=device,
        seed=run.seed,
        patience=patience,
        shard=run.shard,
        rates=parse_rates(rate or ()),
        scratch=from_scratch,
    )
    count = process_count(request, run.processes, resume=run.resume, overwrite=run.overwrite)
    with resume_hint(out):
        run_distributed(count, finetune_in_process, request, run)


def finetune_in_process(request: FineTuningRequest, run: RunOptions) -> None:
    """Fine-tune as one of the processes of a run, or as the only one."""
    from seem.finetuning import run as fine_tuning

    screen = ProgressScreen(run.quiet)
    try:
        fine_tuning.finetune(
            request,
            resume=run.resume,
            overwrite=run.overwrite,
            write_line=screen.write_line,
            write_progress=screen.write_progress,
        )
    finally:
        screen.end_progress()


def parse_rates(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Parse factors of the learning rate, each "PART=FACTOR"."""
    rates = []
    for text in texts:
        part, _, factor = text.partition("=")
        try:
            rates.append((part.strip(), float(factor)))
        except ValueError:
            raise ValueError(
                f"--rate is {text!r}; write PART=FACTOR, such as backbone=0.1."
            ) from None
    return tuple(rates)
