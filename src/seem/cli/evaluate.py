"""`seem evaluate`: a model on data sets, and reports beside each other."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from tqdm import tqdm

from seem.cli.image_files import check_writable
from seem.cli.options import FLAG, PRECISION_HELP, Precision, Values
from seem.cli.report import progress_bar_style
from seem.data.opening import DatasetSpec
from seem.evaluation.compare import LoadedReport, comparison_table, read_reports, results_markdown
from seem.evaluation.formatting import entry_line
from seem.evaluation.interfaces import NO_MODEL, ModelUnderTest, NoModel
from seem.evaluation.plan import NO_BASELINES, EvaluationRequest, EvaluationTask, open_split
from seem.evaluation.plots import plot
from seem.evaluation.report import EvaluationReport
from seem.evaluation.runner import run_evaluation as run
from seem.evaluation.scoreboard import scoreboard, write_into
from seem.loading import load

MEASURE_PANEL = "What is measured"
RUN_PANEL = "How it runs"
COMPARE_PANEL = "Compare reports"
MAX_LISTED_IMAGES = 10
MAX_THREADS = 1024


def measure_option(*flags: str, metavar: str, help_text: str) -> Any:
    """Describe an option about what is measured."""
    return typer.Option(*flags, metavar=metavar, help=help_text, rich_help_panel=MEASURE_PANEL)


def run_option(*flags: str, metavar: str, help_text: str) -> Any:
    """Describe an option about how an evaluation runs."""
    return typer.Option(*flags, metavar=metavar, help=help_text, rich_help_panel=RUN_PANEL)


def compare_option(*flags: str, metavar: str, help_text: str) -> Any:
    """Describe an option about the comparison of reports."""
    return typer.Option(*flags, metavar=metavar, help=help_text, rich_help_panel=COMPARE_PANEL)


def evaluate_command(
    reports: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[REPORT.json ...]", help="Reports to compare, after --compare."),
    ] = None,
    data: Annotated[
        Values,
        measure_option(
            metavar="KIND:PATH", help_text="Data set, such as coco:/data/coco; repeatable."
        ),
    ] = None,
    task: Annotated[
        Values,
        measure_option(
            metavar="|".join(each.value for each in EvaluationTask),
            help_text="Task to measure; repeatable. Default: all that the data and the model allow.",
        ),
    ] = None,
    model: Annotated[
        str,
        measure_option(
            metavar="NAME|FILE|none",
            help_text="Name of the model (see seem models), or its file; none = --baselines alone.",
        ),
    ] = "nano",
    split: Annotated[str, measure_option(metavar="NAME", help_text="Split of the data.")] = "val",
    at_most: Annotated[
        int | None,
        measure_option(
            "--max", metavar="N", help_text="Number of photos for each task, sampled by --seed."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        measure_option(
            metavar="NAME,NAME,...|oracle",
            help_text="Classes to score; oracle = query each photo only for the classes in its ground truth.",
        ),
    ] = None,
    subset: Annotated[
        Path | None,
        measure_option(
            metavar="FILE", help_text="File of seem data subset: photos and objects to score."
        ),
    ] = None,
    clicks: Annotated[
        int, measure_option(metavar="N", help_text="Number of clicks on each object.")
    ] = 20,
    baselines: Annotated[
        str,
        measure_option(
            metavar="disc,grabcut,walker|all|none",
            help_text="Baselines that answer clicks too; slow.",
        ),
    ] = NO_BASELINES,
    seed: Annotated[
        int, measure_option(metavar="N", help_text="Random seed for sampling photos and prompts.")
    ] = 0,
    skip_bad: Annotated[
        bool,
        measure_option(
            "--skip-bad",
            metavar=FLAG,
            help_text="Leave out photos that cannot be read, or whose annotation cannot; the report names them.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        run_option(
            metavar="RESULT.json",
            help_text="Report to write; an interrupted run continues where it stopped.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, run_option("--overwrite", metavar=FLAG, help_text="Replace an existing report.")
    ] = False,
    plots: Annotated[
        Path | None,
        run_option(
            metavar="FOLDER", help_text="Folder for plots: curves, bars and worst cases as PNG."
        ),
    ] = None,
    workers: Annotated[
        int, run_option(metavar="N", help_text="Number of processes that share the photos.")
    ] = 1,
    threads: Annotated[
        int | None,
        run_option(metavar="N", help_text="Number of threads of a single process. Default: all."),
    ] = None,
    device: Annotated[
        str | None,
        run_option(
            metavar="cpu|cuda|mps", help_text="Device of the network. Default: the fastest one."
        ),
    ] = None,
    precision: Annotated[
        Precision, run_option(metavar="exact|auto", help_text=PRECISION_HELP)
    ] = Precision.EXACT,
    quiet: Annotated[
        bool, run_option("--quiet", metavar=FLAG, help_text="Print nothing but errors.")
    ] = False,
    compare: Annotated[
        bool,
        compare_option(
            "--compare", metavar=FLAG, help_text="Print the scores of several reports side by side."
        ),
    ] = False,
    into: Annotated[
        Path | None,
        compare_option(
            metavar="PAGE.md",
            help_text="Page: write all scores of one model between its score marks.",
        ),
    ] = None,
    as_markdown: Annotated[
        bool,
        compare_option(
            "--markdown", metavar=FLAG, help_text="Print Markdown, with the published scores."
        ),
    ] = False,
) -> None:
    """Measure a model on data sets: every score with its protocol, in one report.

    seem evaluate --data coco:/data/coco --task panoptic --model seem-focal-t-v1 --out coco.json

    seem evaluate --data pack:photos/coco_full --task clicks --task prompts --max 20 --plots plots/

    seem evaluate --compare nano.json seem.json --markdown

    seem evaluate --compare scores/*.json --into docs/results.md

    An interrupted run continues when it is started again with the same --out. torchrun --nproc-per-node 4 -m --
    seem evaluate ... shares the photos among GPUs, or among machines.
    """
    if compare:
        compare_reports(
            read_reports(reports or []),
            into=into,
            plots=plots,
            as_markdown=as_markdown,
            quiet=quiet,
        )
        return
    if into is not None:
        raise ValueError(
            f"{into} is filled from reports; write --compare and the reports before --into."
        )
    if reports:
        raise ValueError(
            f"{reports[0]} stands alone; write --compare before reports, --data before a data set."
        )
    if threads is not None:
        limit_threads(threads)
    request = EvaluationRequest(
        data=tuple(data or ()),
        tasks=parse_tasks(task),
        split=split,
        at_most=at_most,
        classes=classes,
        clicks=clicks,
        baselines=baselines,
        seed=seed,
        subset=None if subset is None else str(subset),
        skip_bad=skip_bad,
    )
    if out is not None:
        check_writable(out.absolute().parent)
    if plots is not None:
        check_writable(plots, "--plots")
    report = run(
        opener_of(model, device, precision.value),
        request,
        out,
        workers=workers,
        overwrite=overwrite,
        progress=partial(evaluation_progress, quiet=quiet, at_most=at_most),
    )
    if report is not None:
        print_report(report, request, out=out, plots=plots, as_markdown=as_markdown, quiet=quiet)


def compare_reports(
    reports: Sequence[LoadedReport],
    *,
    into: Path | None,
    plots: Path | None,
    as_markdown: bool,
    quiet: bool,
) -> None:
    """Write reports side by side to a page or to standard output, and draw their plots."""
    if into is not None:
        write_into(into, scoreboard(reports))
        print_paths([into], quiet)
    elif as_markdown:
        typer.echo(results_markdown(reports), nl=False)
    else:
        typer.echo(comparison_table(reports))
    if plots is not None:
        print_paths(plot(reports, plots), quiet)


def print_report(
    report: EvaluationReport,
    request: EvaluationRequest,
    *,
    out: Path | None,
    plots: Path | None,
    as_markdown: bool,
    quiet: bool,
) -> None:
    """Print the scores of a finished evaluation, and draw its plots."""
    loaded = LoadedReport.of(report)
    if as_markdown:
        typer.echo(results_markdown([loaded]), nl=False)
    elif not quiet:
        for entry in report.entries:
            typer.echo(entry_line(entry, report.model.name))
    if plots is not None:
        tolerant = request.skip_bad
        datasets = [open_split(spec, request.split, tolerant=tolerant) for spec in request.data]
        print_paths(plot([loaded], plots, datasets), quiet)
    if quiet:
        return
    for note in skipped_image_notes(report):
        typer.echo(note, err=True)
    for note in training_data_notes(report, request):
        typer.echo(note, err=True)
    if out is not None:
        typer.echo(f"{out}: {len(report.entries)} results", err=True)


def skipped_image_notes(report: EvaluationReport) -> Iterator[str]:
    """Say for each data set how many images were left out, and which."""
    for data in report.data:
        if not data.skipped:
            continue
        listed = "; ".join(map(str, data.skipped[:MAX_LISTED_IMAGES]))
        if len(data.skipped) > MAX_LISTED_IMAGES:
            listed += f"; and {len(data.skipped) - MAX_LISTED_IMAGES} more, all in the report"
        yield f"{data.name}: {len(data.skipped)} left out by --skip-bad, {data.photos} photos scored: {listed}"


def training_data_notes(report: EvaluationReport, request: EvaluationRequest) -> Iterator[str]:
    """Name the evaluated data sets that a fine-tuned model was trained on."""
    for text in request.data:
        spec = DatasetSpec.parse(text)
        part = spec.layout().resolve_split(spec.path, request.split)
        for data in report.model.fine_tuned_on:
            if (
                data.part == part
                and DatasetSpec.parse(data.spec).path.resolve() == spec.path.resolve()
            ):
                share = "this part" if data.is_whole else "nine tenths of this part"
                yield f"{report.model.name} was trained on {share} of {text}: its scores do not generalise."


def parse_tasks(values: Sequence[str] | None) -> tuple[EvaluationTask, ...] | None:
    """Parse the values of `--task`, each a task or several with commas between them; None for no value."""
    if not values:
        return None
    tasks = []
    for value in values:
        for name in value.split(","):
            tasks.append(parse_task(name.strip()))
    return tuple(tasks)


def parse_task(name: str) -> EvaluationTask:
    """Return the task of a name; `ValueError` for an unknown one."""
    known = [task.value for task in EvaluationTask]
    if name in known:
        return EvaluationTask(name)
    hint = f"there are {', '.join(known)}."
    similar = difflib.get_close_matches(name, known, 1)
    if similar:
        hint = f"did you mean {similar[0]}?"
    raise ValueError(f"There is no task {name!r}; {hint}")


def opener_of(
    model: str, device: str | None, precision: Literal["exact", "auto"]
) -> Callable[[], ModelUnderTest]:
    """Return the function by which every process loads the model; under torchrun each takes a GPU of its own."""
    if model == NO_MODEL:
        return NoModel
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and device in (None, "cuda") and torch.cuda.is_available():
        device = f"cuda:{rank}"
    return partial(load, model, device=device, precision=precision)


def limit_threads(count: int) -> None:
    """Limit the threads of the model and of OpenCV's baselines."""
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(
            f"--threads is {count}; use 1 to {MAX_THREADS}, at most one for each core."
        )
    import cv2

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


@contextmanager
def evaluation_progress(
    total: int, done: int, *, quiet: bool, at_most: int | None = None
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on standard error; yields the function to call with the number of new photos.

    Each task samples from the photos that have ground truth for it, so there may be more than `at_most` in all; the bar
    then says so.
    """
    is_main_process = os.environ.get("RANK", "0") == "0"
    description = None
    if at_most is not None and total > at_most:
        description = f"{at_most} for each task"
    with tqdm(
        desc=description,
        total=total,
        initial=done,
        unit="photo",
        disable=quiet or not is_main_process,
        **progress_bar_style(),
    ) as bar:
        yield bar.update


def print_paths(paths: Sequence[Path], quiet: bool) -> None:
    """Print the paths of written files to standard error."""
    if quiet:
        return
    for path in paths:
        typer.echo(str(path), err=True)
