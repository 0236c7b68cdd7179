"""`seem train`: whole training runs, each a recipe."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seem.cli.data import SPEC
from seem.cli.errors import write_line
from seem.cli.finetune import PROCESSES, Screen, parts, told_how_to_go_on

if TYPE_CHECKING:
    from seem.finetuning.run import FineTuningRequest

RECIPES = ("nano", "seem")
INTERACTIVE = "SEEM's ablations"


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="nano: the embedded model; seem: the published one.")],
    data: Annotated[list[str], typer.Option(metavar="SPEC[*WEIGHT]", help=f"nano: the photo pack. seem: {SPEC}")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run.")],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="nano: weights to begin from. seem: which model.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many steps; default: the recipe's.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Photos a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="The highest learning rate.")] = None,
    minutes: Annotated[float | None, typer.Option(metavar="N", help="How long to train; scoring comes on top.")] = None,
    freeze: Annotated[str | None, typer.Option(metavar="PARTS", help="seem: parts that do not learn.")] = None,
    size: Annotated[int | None, typer.Option(metavar="PIXELS", help="seem: side of the training canvas.")] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="seem: cpu, cuda, ...")] = None,
    processes: Annotated[int | None, typer.Option(metavar="N", help=PROCESSES)] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, another run.")] = 0,
    finer_masks: Annotated[Path | None, typer.Option(metavar="LVIS", help="seem: LVIS, for its finer masks.")] = None,
    rounds: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="At most so many rounds before the one that counts.", rich_help_panel=INTERACTIVE
        ),
    ] = 5,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Hand masks on between rounds.", rich_help_panel=INTERACTIVE)
    ] = True,
    positive: Annotated[
        bool,
        typer.Option("--positive/--no-positive", help="Positive clicks in rounds.", rich_help_panel=INTERACTIVE),
    ] = True,
    negative: Annotated[
        bool, typer.Option("--negative/--no-negative", help="Negative clicks.", rich_help_panel=INTERACTIVE)
    ] = True,
    objects: Annotated[
        bool, typer.Option("--objects/--no-objects", help="Object queries.", rich_help_panel=INTERACTIVE)
    ] = True,
    phrases: Annotated[
        bool, typer.Option("--phrases/--no-phrases", help="Phrases.", rich_help_panel=INTERACTIVE)
    ] = True,
    visual: Annotated[
        bool, typer.Option("--visual/--no-visual", help="Visual prompts.", rich_help_panel=INTERACTIVE)
    ] = True,
    captions: Annotated[
        bool,
        typer.Option(
            "--captions/--no-captions", help="X-Decoder: captions, nouns, retrieval.", rich_help_panel=INTERACTIVE
        ),
    ] = True,
    shard: Annotated[
        bool, typer.Option("--shard", metavar=" ", help="Under torchrun: divide the weights between processes.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", metavar=" ", help="Go on with the run in RUN.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar=" ", help="Replace the run in RUN.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", metavar=" ", help="Say nothing but errors.")] = False,
) -> None:
    """Train by a recipe, from the beginning or from given weights."""
    if recipe not in RECIPES:
        raise ValueError(f"There is no recipe {recipe!r}; the recipes are {', '.join(RECIPES)}.")
    from seem.finetuning.run import FineTuningRequest, process_count
    from seem.training.team import together

    request = FineTuningRequest(
        data=tuple(data),
        out=out,
        model=model or "seem-focal-t-v1",
        minutes=minutes,
        steps=steps,
        learning_rate=learning_rate,
        freeze=parts(freeze),
        size=size,
        batch=batch,
        device=device,
        seed=seed,
        patience=0,
        shard=shard,
    )
    switches = (rounds, memory, positive, negative, objects, phrases, visual, captions)
    if recipe == "nano":
        from seem.recipes import nano
        from seem.training.engine import under_torchrun

        check_nano(request, switches, finer_masks, resume=resume, overwrite=overwrite)
        before = nano.begun(out)["processes"] if resume and not under_torchrun() else None
        count = process_count(request, processes or before, overwrite=overwrite)
        with told_how_to_go_on(out):
            together(count, partial(train_nano, request, model, overwrite=overwrite, quiet=quiet))
        return
    count = process_count(request, processes, resume=resume, overwrite=overwrite)
    with told_how_to_go_on(out):
        together(count, train_published, request, switches, finer_masks, resume, overwrite, quiet)


def train_published(
    request: FineTuningRequest,
    switches: tuple[int, bool, bool, bool, bool, bool, bool, bool],
    finer_masks: Path | None,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Run the published recipe as one of the processes of a run, or as the only one."""
    from seem.recipes import seem as published

    screen = Screen(quiet)
    ablation = published.Ablation(*switches)
    try:
        published.run(
            request, ablation, finer_masks, resume=resume, overwrite=overwrite, say=screen.say, live=screen.live
        )
    finally:
        screen.end()


def check_nano(
    request: FineTuningRequest,
    switches: tuple[int, bool, bool, bool, bool, bool, bool, bool],
    finer_masks: Path | None,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Refuse what the recipe of the embedded model does not know, and a folder that holds another run."""
    from seem.data.opening import DatasetSpec
    from seem.recipes.nano import WEIGHTS_FILE
    from seem.training.engine import STATE_FILE

    request.check()
    ablated = switches != (5, *[True] * 7)
    others = (request.freeze, request.size, request.device, finer_masks, request.shard or None, ablated or None)
    if any(other is not None for other in others):
        raise ValueError(
            "The recipe 'nano' takes no --freeze, --size, --device, --shard, --finer-masks and none of SEEM's "
            "ablations; the recipe 'seem' and seem finetune do."
        )
    specs = [DatasetSpec.parse(text) for text in request.data]
    if len(specs) != 1 or specs[0].kind not in (None, "pack") or specs[0].weight != 1:
        raise ValueError("The recipe 'nano' trains on the photo pack: give its folder once with --data pack:FOLDER.")
    if resume and overwrite:
        raise ValueError("--resume goes on with a run and --overwrite replaces it; choose one.")
    if resume and not (request.out / STATE_FILE).exists():
        raise ValueError(f"There is no run to go on with in {request.out}; leave --resume away.")
    held = any((request.out / name).exists() for name in (STATE_FILE, WEIGHTS_FILE))
    if held and not resume and not overwrite:
        raise FileExistsError(f"{request.out} holds a run already; pass --resume, --overwrite or another --out.")


def train_nano(request: FineTuningRequest, model: str | None, *, overwrite: bool, quiet: bool) -> None:
    """Run the recipe of the embedded model, as one of the processes of a run or as the only one."""
    from contextlib import nullcontext
    from dataclasses import replace

    from seem.data.opening import DatasetSpec
    from seem.finetuning.run import begin_folder, counted, meet, nothing
    from seem.loading import embedded
    from seem.recipes import nano
    from seem.training.curves import RESULTS_FILE
    from seem.training.engine import show, world
    from seem.training.pictures import CURVES_FILE

    if model not in (None, "nano") and not Path(str(model)).is_file():
        raise ValueError(f"--model is {model}; for the recipe 'nano' it is nano, or a file of weights to begin from.")
    if overwrite:
        if world()[0] == 0:
            begin_folder(request.out)
            (request.out / nano.WEIGHTS_FILE).unlink(missing_ok=True)
        meet(world()[1])
    usual = nano.config(seed=request.seed)
    if model is None:
        usual = replace(usual, learning_rate=nano.RATE_FROM_NOTHING)
    asked = {name: getattr(request, name) for name in ("steps", "batch", "learning_rate", "minutes")}
    settings = replace(usual, **{name: value for name, value in asked.items() if value is not None})
    say = nothing if quiet or world()[0] else write_line
    each = f" in each of {world()[1]} processes" if world()[1] > 1 else ""
    rate = f"at learning rate {settings.learning_rate:g}"
    say(f"{counted(settings.steps, 'step')} of {settings.batch} photos{each} {rate}")
    given = embedded() if model == "nano" else nullcontext(None if model is None else Path(model))
    with given as start:
        nano.run(DatasetSpec.parse(request.data[0]).path, request.out, settings, start, nothing if quiet else show)
    say(f"{request.out}/: {nano.WEIGHTS_FILE}, {RESULTS_FILE}, {CURVES_FILE}")
    say(f"Use it: seem.load({str(request.out / nano.WEIGHTS_FILE)!r})")
