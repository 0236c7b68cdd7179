"""`seem evaluate`: a model on data sets, and reports beside each other."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from tqdm import tqdm

from seem.cli.options import FLAG, Precision, Values
from seem.cli.report import PATIENCE, Lines
from seem.data.opening import Spec
from seem.evaluation.compare import LoadedReport, comparison_table, read_reports, results_markdown
from seem.evaluation.formatting import entry_line
from seem.evaluation.interfaces import NO_MODEL, ModelUnderTest, NoModel
from seem.evaluation.plan import EvaluationRequest, EvaluationTask, open_split
from seem.evaluation.plots import plot
from seem.evaluation.report import EvaluationReport
from seem.evaluation.runner import run_evaluation as run
from seem.evaluation.scoreboard import scoreboard, write_into
from seem.loading import load

ASKED = "What is measured"
RUN = "How it runs"
COMPARE = "Reports beside each other"


def evaluate(
    reports: Annotated[
        list[Path] | None, typer.Argument(metavar="[REPORT.json ...]", help="Reports, after --compare.")
    ] = None,
    data: Annotated[
        Values,
        typer.Option(metavar="KIND:PATH", help="A data set, coco:/data/coco; may be repeated.", rich_help_panel=ASKED),
    ] = None,
    task: Annotated[
        Values,
        typer.Option(
            metavar="|".join(each.value for each in EvaluationTask),
            help="May be repeated. Default: all that the data and the model can do.",
            rich_help_panel=ASKED,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME|FILE|none", help="See seem models; none = baselines.", rich_help_panel=ASKED)
    ] = "nano",
    split: Annotated[str, typer.Option(metavar="NAME", help="Part of the data.", rich_help_panel=ASKED)] = "val",
    at_most: Annotated[
        int | None,
        typer.Option(
            "--max", metavar="N", help="For each task so many photos, drawn by --seed.", rich_help_panel=ASKED
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...|oracle",
            help="Score only these, or ask each photo only for those in its truth.",
            rich_help_panel=ASKED,
        ),
    ] = None,
    subset: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only the photos and objects of seem data subset.", rich_help_panel=ASKED),
    ] = None,
    clicks: Annotated[int, typer.Option(metavar="N", help="Clicks on each object.", rich_help_panel=ASKED)] = 20,
    baselines: Annotated[
        str | None,
        typer.Option(
            metavar="disc,grabcut,walker|all|none",
            help="Who else answers clicks. Default: all on the photo pack.",
            rich_help_panel=ASKED,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what is drawn.", rich_help_panel=ASKED)] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RESULT.json", help="The report; a broken run goes on where it was.", rich_help_panel=RUN),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Replace the report.", rich_help_panel=RUN)
    ] = False,
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Curves, bars and worst cases as PNG.", rich_help_panel=RUN)
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes that share the photos.", rich_help_panel=RUN)
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Of a single process. Default: all.", rich_help_panel=RUN)
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="cpu|cuda|mps", help="Default: the fastest there is.", rich_help_panel=RUN)
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            metavar="exact|auto", help="Float32 everywhere, or the fastest that sees the same.", rich_help_panel=RUN
        ),
    ] = Precision.EXACT,
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar=FLAG, help="Say nothing but errors.", rich_help_panel=RUN)
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", metavar=FLAG, help="Set reports beside each other.", rich_help_panel=COMPARE),
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="PAGE.md", help="Put all scores of one model between the marks of a page.", rich_help_panel=COMPARE
        ),
    ] = None,
    as_markdown: Annotated[
        bool,
        typer.Option(
            "--markdown", metavar=FLAG, help="As Markdown, with the published scores.", rich_help_panel=COMPARE
        ),
    ] = False,
) -> None:
    """Measure a model on data sets: every score with its protocol, in one report.

    seem evaluate --data coco:/data/coco --task panoptic --model seem-focal-t-v1 --out coco.json

    seem evaluate --data pack:photos/coco_full --task clicks --task prompts --max 20 --plots plots/

    seem evaluate --compare nano.json seem.json --markdown

    seem evaluate --compare scores/*.json --into README.md

    A run that is broken off goes on when it is started again with the same --out. torchrun --nproc-per-node 4 -m --
    seem evaluate ... shares the photos among GPUs, or among machines.
    """
    if compare:
        told = read_reports(reports or [])
        if into is not None:
            write_into(into, scoreboard(told))
            say_where([into], quiet)
        else:
            typer.echo(results_markdown(told) if as_markdown else comparison_table(told), nl=not as_markdown)
        if plots is not None:
            say_where(plot(told, plots), quiet)
        return
    if into is not None:
        raise ValueError(f"{into} is filled from reports; write --compare and the reports before --into.")
    if reports:
        raise ValueError(f"{reports[0]} stands alone; write --compare before reports, --data before a data set.")
    if threads is not None:
        use_threads(threads)
    request = EvaluationRequest(
        data=tuple(data or ()),
        tasks=read_tasks(task),
        split=split,
        at_most=at_most,
        classes=classes,
        clicks=clicks,
        baselines=baselines,
        seed=seed,
        subset=None if subset is None else str(subset),
    )
    opener = opener_of(model, device, precision.value)
    found = run(
        opener, request, out, workers=workers, overwrite=overwrite, progress=partial(bar, quiet=quiet, at_most=at_most)
    )
    if found is not None:
        finish(found, request, out, plots, as_markdown, quiet)


def finish(
    report: EvaluationReport,
    request: EvaluationRequest,
    out: Path | None,
    plots: Path | None,
    as_markdown: bool,
    quiet: bool,
) -> None:
    """Tell what came out, and draw it."""
    told = LoadedReport.of(report)
    if as_markdown:
        typer.echo(results_markdown([told]), nl=False)
    elif not quiet:
        typer.echo("".join(f"{entry_line(entry, report.model.name)}\n" for entry in report.entries), nl=False)
    if plots is not None:
        say_where(plot([told], plots, [open_split(spec, request.split) for spec in request.data]), quiet)
    for note in remembered(report, request) if not quiet else ():
        typer.echo(note, err=True)
    if out is not None and not quiet:
        typer.echo(f"{out}: {len(report.entries)} results", err=True)


def remembered(report: EvaluationReport, request: EvaluationRequest) -> Iterator[str]:
    """Say of which data a fine-tuned model has seen the answers: scores there tell what it remembers."""
    for text in request.data:
        asked = Spec.parse(text)
        part = asked.layout().own_split(asked.path, request.split)
        for learnt in report.model.learnt:
            if learnt.part == part and Spec.parse(learnt.spec).path.resolve() == asked.path.resolve():
                share = "this part" if learnt.is_whole else "nine tenths of this part"
                yield f"{report.model.name} has learnt from {share} of {text}: its scores say what it remembers."


def read_tasks(words: Sequence[str] | None) -> tuple[EvaluationTask, ...] | None:
    """Read tasks, each in an option of its own or with commas between; None for none."""
    if not words:
        return None
    found = []
    for word in (part.strip() for each in words for part in each.split(",")):
        known = [task.value for task in EvaluationTask]
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
            raise ValueError(f"There is no task {word!r}; {hint}")
        found.append(EvaluationTask(word))
    return tuple(found)


def opener_of(model: str, device: str | None, precision: Literal["exact", "auto"]) -> Callable[[], ModelUnderTest]:
    """Say how every process loads the model; under torchrun each takes a GPU of its own."""
    if model == NO_MODEL:
        return NoModel
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and device in (None, "cuda") and torch.cuda.is_available():
        device = f"cuda:{rank}"
    return partial(load, model, device=device, precision=precision)


def use_threads(count: int) -> None:
    """Limit the model and OpenCV's baselines alike."""
    if count < 1:
        raise ValueError(f"--threads is {count}; use at least 1.")
    import cv2

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


@contextmanager
def bar(total: int, done: int, *, quiet: bool, at_most: int | None = None) -> Iterator[Callable[[int], object]]:
    """Show progress on standard error: a bar, or in a log a line from time to time.

    Not every photo has the truth for every task, so tasks draw different ones: more than `at_most` in all, which the
    bar explains.
    """
    hidden = quiet or os.environ.get("RANK", "0") != "0"
    why = None if at_most is None or total <= at_most else f"{at_most} for each task"
    if sys.stderr.isatty():
        with tqdm(desc=why, total=total, initial=done, unit="photo", file=sys.stderr, disable=hidden) as shown:
            yield shown.update
    else:
        lines = Lines()
        with tqdm(
            desc=why,
            total=total,
            initial=done,
            unit="photo",
            file=lines,
            mininterval=PATIENCE,
            ncols=80,
            disable=hidden,
        ) as shown:
            yield shown.update


def say_where(paths: Sequence[Path], quiet: bool) -> None:
    """Name the files that were drawn."""
    for path in paths if not quiet else ():
        typer.echo(str(path), err=True)
