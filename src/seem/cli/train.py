"""`seem train`: whole training runs by the recipe of the embedded model or by the published one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seem.cli.data import SPEC
from seem.cli.errors import write_line
from seem.cli.options import OptionGroup, takes_option_groups
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
    from seem.recipes.nano_task import Leg
    from seem.training.objectives.published_config import Ablation

RECIPES = ("nano", "seem")
ABLATION_PANEL = "Ablations of the published objective"


@dataclass(frozen=True, slots=True)
class AblationOptions(OptionGroup):
    """The parts of the published objective that can be switched off; fields are those of `Ablation`."""

    rounds: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Largest number of interactive rounds before the one that is trained.",
            rich_help_panel=ABLATION_PANEL,
        ),
    ] = 5
    memory: Annotated[
        bool,
        typer.Option(
            "--memory/--no-memory",
            help="Pass the mask of a round on to the next.",
            rich_help_panel=ABLATION_PANEL,
        ),
    ] = True
    positive: Annotated[
        bool,
        typer.Option(
            "--positive/--no-positive",
            help="Add positive clicks between rounds.",
            rich_help_panel=ABLATION_PANEL,
        ),
    ] = True
    negative: Annotated[
        bool,
        typer.Option(
            "--negative/--no-negative",
            help="Use negative marks, and add negative clicks between rounds.",
            rich_help_panel=ABLATION_PANEL,
        ),
    ] = True
    objects: Annotated[
        bool,
        typer.Option(
            "--objects/--no-objects",
            help="Train object queries (panoptic).",
            rich_help_panel=ABLATION_PANEL,
        ),
    ] = True
    phrases: Annotated[
        bool,
        typer.Option(
            "--phrases/--no-phrases", help="Train text prompts.", rich_help_panel=ABLATION_PANEL
        ),
    ] = True
    visual: Annotated[
        bool,
        typer.Option(
            "--visual/--no-visual", help="Train visual prompts.", rich_help_panel=ABLATION_PANEL
        ),
    ] = True
    captions: Annotated[
        bool,
        typer.Option(
            "--captions/--no-captions",
            help="Train captions, their nouns and retrieval (X-Decoder).",
            rich_help_panel=ABLATION_PANEL,
        ),
    ] = True

    def to_ablation(self) -> Ablation:
        """Return the switches as the objective takes them."""
        from seem.training.objectives.published_config import Ablation

        return Ablation(**asdict(self))


@takes_option_groups
def train_command(
    *,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="nano: the next embedded model; seem: the published one."
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="SPEC[*WEIGHT]", help=f"Data set. nano: folder of the photo pack. seem: {SPEC}"
        ),
    ],
    out: OutOption,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="nano: file of weights of an earlier run, to start from. seem: model to train.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Number of training steps. Default: that of the recipe."
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Photos of a step.")] = None,
    learning_rate: LearningRateOption = None,
    minutes: MinutesOption = None,
    freeze: Annotated[
        str | None, typer.Option(metavar="PARTS", help="seem: network parts that are not trained.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="seem: side of the training canvas.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="seem: device of the network.")
    ] = None,
    finer_masks: Annotated[
        Path | None,
        typer.Option(
            metavar="LVIS", help="seem: LVIS folder, whose masks replace coarser ones of COCO."
        ),
    ] = None,
    run: RunOptions,
    ablations: AblationOptions,
) -> None:
    """Train a model by a recipe, from random or from given weights."""
    if recipe not in RECIPES:
        raise ValueError(f"There is no recipe {recipe!r}; the recipes are {', '.join(RECIPES)}.")
    from seem.finetuning.processes import process_count
    from seem.finetuning.request import FineTuningRequest
    from seem.folder_lock import check_not_in_use
    from seem.training.distributed import run_distributed

    request = FineTuningRequest(
        data=tuple(data),
        out=out,
        model=model or "seem-focal-t-v1",
        minutes=minutes,
        steps=steps,
        learning_rate=learning_rate,
        freeze=parse_parts(freeze),
        size=size,
        batch=batch,
        device=device,
        seed=run.seed,
        patience=0,
        shard=run.shard,
    )
    if recipe == "nano":
        check_nano_request(request, ablations, finer_masks)
        check_not_in_use(out)
        check_nano_folder(out, run)
        count = nano_process_count(request, run)
        work = partial(run_nano_recipe, request, model, run)
    else:
        count = process_count(request, run.processes, resume=run.resume, overwrite=run.overwrite)
        work = partial(run_published_recipe, request, ablations, finer_masks, run)
    with resume_hint(out):
        run_distributed(count, work)


# --- The published recipe ---------------------------------------------------------------------------------------------


def run_published_recipe(
    request: FineTuningRequest,
    ablations: AblationOptions,
    finer_masks: Path | None,
    run: RunOptions,
) -> None:
    """Run the published recipe as one of the processes of a run, or as the only one."""
    from seem.recipes.seem import train_published

    screen = ProgressScreen(run.quiet)
    try:
        train_published(
            request,
            ablations.to_ablation(),
            finer_masks,
            resume=run.resume,
            overwrite=run.overwrite,
            write_line=screen.write_line,
            write_progress=screen.write_progress,
        )
    finally:
        screen.end_progress()


# --- The recipe of the embedded model ---------------------------------------------------------------------------------


def check_nano_request(
    request: FineTuningRequest, ablations: AblationOptions, finer_masks: Path | None
) -> None:
    """Raise `ValueError` for options that the recipe of the embedded model does not have."""
    from seem.data.opening import DatasetSpec

    request.check()
    unsupported = (request.freeze, request.size, request.device, finer_masks)
    if (
        any(value is not None for value in unsupported)
        or request.shard
        or ablations != AblationOptions()
    ):
        raise ValueError(
            "The recipe 'nano' takes no --freeze, --size, --device, --shard, --finer-masks and none of SEEM's "
            "ablations; the recipe 'seem' and seem finetune do."
        )
    specs = list(map(DatasetSpec.parse, request.data))
    if len(specs) != 1 or specs[0].kind not in (None, "pack") or specs[0].weight != 1:
        raise ValueError(
            "The recipe 'nano' trains on the photo pack: give its folder once with --data pack:FOLDER."
        )


def check_nano_folder(out: Path, run: RunOptions) -> None:
    """Raise `ValueError` or `FileExistsError` if the recipe of the embedded model must not write into a folder."""
    from seem.recipes.nano_run_folder import SETTINGS_FILE, WEIGHTS_FILE

    if run.resume and run.overwrite:
        raise ValueError("--resume goes on with a run and --overwrite replaces it; choose one.")
    if run.resume and not (out / SETTINGS_FILE).exists():
        raise ValueError(f"There is no run to go on with in {out}; leave --resume away.")
    has_run = any((out / name).exists() for name in (SETTINGS_FILE, WEIGHTS_FILE))
    if has_run and not run.resume and not run.overwrite:
        raise FileExistsError(
            f"{out} holds a run already; pass --resume, --overwrite or another --out."
        )


def nano_process_count(request: FineTuningRequest, run: RunOptions) -> int:
    """Return how many processes train nano: as many as requested, or as a resumed run began with."""
    from seem.finetuning.processes import process_count
    from seem.recipes.nano_run_folder import read_settings
    from seem.training.distributed import under_torchrun

    requested = run.processes
    if requested is None and run.resume and not under_torchrun():
        requested = read_settings(request.out)["processes"]
    return process_count(request, requested, overwrite=run.overwrite)


def run_nano_recipe(request: FineTuningRequest, model: str | None, run: RunOptions) -> None:
    """Run the recipe of the embedded model, as one of the processes of a run or as the only one."""
    from seem.finetuning.run_folder import hold_run_folder

    if model is not None and not Path(model).is_file():
        raise ValueError(
            f"--model is {model}; for the recipe 'nano' it is a file of weights that an earlier run made."
        )
    with hold_run_folder(request.out):
        run_nano_recipe_in(request, model, run)


def run_nano_recipe_in(request: FineTuningRequest, model: str | None, run: RunOptions) -> None:
    """Run the recipe of the embedded model in a folder that is locked."""
    from seem.data.opening import DatasetSpec
    from seem.finetuning.console import discard_line
    from seem.recipes import nano
    from seem.recipes.nano_run_folder import WEIGHTS_FILE
    from seem.training.distributed import rank_and_world_size
    from seem.training.run_log import print_log_row

    if run.overwrite:
        clear_nano_folder(request.out)
    legs = nano_legs(request, has_weights=model is not None)
    rank, processes = rank_and_world_size()
    report_line = discard_line if run.quiet or rank > 0 else write_line
    for leg in legs:
        report_line(describe_leg(leg, processes))
    nano.train_nano(
        DatasetSpec.parse(request.data[0]).path,
        request.out,
        legs,
        None if model is None else Path(model),
        minutes=math.inf if request.minutes is None else request.minutes,
        report=discard_line if run.quiet else print_log_row,
    )
    report_line(f"Use it: seem.load({str(request.out / WEIGHTS_FILE)!r})")


def describe_leg(leg: Leg, processes: int) -> str:
    """Describe a leg in one line."""
    from seem.finetuning.console import count_text

    each_process = ""
    if processes > 1:
        each_process = f" in each of {processes} processes"
    return (
        f"{leg.name}: {count_text(leg.config.steps, 'step')} of {leg.config.batch} photos{each_process} "
        f"at learning rate {leg.config.learning_rate:g}"
    )


def clear_nano_folder(out: Path) -> None:
    """Delete the files of an earlier run, before any process of this one begins."""
    from seem.finetuning.processes import wait_for_all_processes
    from seem.finetuning.run_folder import prepare_run_folder
    from seem.recipes.nano import FINISHED_FILE, LEGS
    from seem.recipes.nano_run_folder import SETTINGS_FILE, WEIGHTS_FILE
    from seem.training.distributed import rank_and_world_size

    if rank_and_world_size()[0] == 0:
        for leg in LEGS:
            if (out / leg.name).is_dir():
                prepare_run_folder(out / leg.name)
                (out / leg.name / FINISHED_FILE).unlink(missing_ok=True)
        (out / WEIGHTS_FILE).unlink(missing_ok=True)
        (out / SETTINGS_FILE).unlink(missing_ok=True)
    wait_for_all_processes()


def nano_legs(request: FineTuningRequest, *, has_weights: bool) -> tuple[Leg, ...]:
    """Return the legs of the recipe of the embedded model, with what the request asks for."""
    from seem.recipes.nano import LEGS, adapted_legs

    return adapted_legs(
        LEGS[-1:] if has_weights else LEGS,
        steps=request.steps,
        batch=request.batch,
        learning_rate=request.learning_rate,
        seed=request.seed,
    )
