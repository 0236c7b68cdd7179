"""Fine-tuning on a user's own images and masks.

    seem finetune --data my/photos --model nano --out runs/mine

Inspects the data, holds a part out for validation, measures a step on this machine, makes a plan and reports it, trains
with early stopping, and writes a model that `seem.load` opens. `run.json` holds everything that was decided, so that a
resumed run gives the same weights as one that was not stopped. Two cores without an accelerator are enough: nano trains
on some eight small images a second or two; each run prints its own estimate before its first step.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from seem.checkpoints.network import (
    BACKGROUND_KEY,
    CLASSES_KEY,
    MODEL_KEY,
    PRESENCE_MIDPOINT_KEY,
    REGION_THRESHOLD_KEY,
    STUFF_KEY,
)
from seem.checkpoints.safe import read_tensors, sha256_of, write_tensors
from seem.data.image_bank import ImageBank
from seem.errors import SeemError
from seem.finetuning.console import (
    LineWriter,
    calibration_lines,
    comparison_lines,
    count_text,
    discard_line,
    early_stop_line,
    files_lines,
    no_progress_line,
    progress_text,
    scores_text,
)
from seem.finetuning.datasets import (
    TrainingData,
    finer_masks_from,
    open_image_bank,
    open_training_data,
)
from seem.finetuning.network_state import evaluation_mode, state_dict_as
from seem.finetuning.plan import Plan, read_plan
from seem.finetuning.planning import make_plan, open_start_network
from seem.finetuning.processes import wait_for_all_processes
from seem.finetuning.profile import profile_for
from seem.finetuning.request import FineTuningRequest, PublishedRecipe
from seem.finetuning.run_folder import (
    BEST_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    WORST_FILE,
    check_run_folder,
    hold_run_folder,
    write_json,
)
from seem.loading import open_file, usable_device
from seem.model import Model
from seem.models.segmenter import Segmenter
from seem.training.batch_sampler import BatchSampler
from seem.training.calibration import (
    PresenceCalibration,
    RegionCalibration,
    calibrate_presence,
    calibrate_regions,
)
from seem.training.checkpoint import STATE_FILE, checkpoint_step
from seem.training.distributed import mean_over_processes, rank_and_world_size
from seem.training.engine import Hooks, run_training
from seem.training.figures import draw_run_curves, draw_worst_cases
from seem.training.parts import freeze, freeze_statistics
from seem.training.run_log import ScoreHistory, TensorBoardLog, read_log
from seem.training.steps import make_step_function
from seem.training.validation import ValidationScores, score
from seem.vocabulary import Vocabulary

FINAL_IMAGES = 200  # at most so many validation images are scored before and after training


@dataclass(frozen=True, slots=True)
class FineTuningResult:
    """The result of a run: scores of the start and of the best weights, the step of these, and their file."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    best_step: int
    steps: int
    weights: Path


def finetune(
    request: FineTuningRequest,
    *,
    resume: bool = False,
    overwrite: bool = False,
    write_line: LineWriter = print,
    write_progress: LineWriter | None = None,
    recipe: PublishedRecipe | None = None,
) -> FineTuningResult:
    """Fine-tune a model on the data of a request, and return its scores and its file.

    Args:
        request: what the user asks for.
        resume: go on with the run in `request.out`, by the plan that it began with.
        overwrite: replace the run in `request.out`.
        write_line: gets each line of the report.
        write_progress: gets the progress after every few steps; default: `write_line`.
        recipe: settings of a published training run in place of those of fine-tuning.

    Raises:
        ValueError: a wrong request, or data that cannot be used.
        SeemError: work that failed: weights, disk, a loss that is not finite; or another run is at work in that folder.
    """
    request.check()
    with hold_run_folder(request.out):
        run = _open_run(
            request,
            resume=resume,
            overwrite=overwrite,
            write_line=write_line,
            write_progress=write_progress,
            recipe=recipe,
        )
        return run.go()


def _open_run(
    request: FineTuningRequest,
    *,
    resume: bool,
    overwrite: bool,
    write_line: LineWriter,
    write_progress: LineWriter | None,
    recipe: PublishedRecipe | None,
) -> FineTuningRun:
    """Plan a run, or read the plan of one that is resumed; arguments as of `finetune`."""
    rank, processes = rank_and_world_size()
    device = usable_device(request.device)
    if rank > 0:
        write_line = write_progress = discard_line
    else:
        check_run_folder(request.out, resume=resume, overwrite=overwrite)
    is_resumed = (request.out / RUN_FILE).is_file() and not overwrite
    if rank == 0 and not is_resumed:
        new_plan = make_plan(request, device, write_line, recipe)
        write_json(request.out / RUN_FILE, new_plan.to_json())
    wait_for_all_processes()
    plan = read_plan(request)
    plan.check_same_options(request, recipe)
    data = open_training_data(plan.sources, plan.config.seed, finer_masks_from(plan.finer_masks))
    _check_same_data(plan, data, request.out)
    _check_same_processes(plan, processes, request.out)
    if is_resumed:
        write_line(
            f"Going on with {request.out} as it was begun: {count_text(plan.config.steps, 'step')} in all."
        )
    return FineTuningRun(request.out, plan, data, device, write_line, write_progress or write_line)


def _check_same_data(plan: Plan, data: TrainingData, out: Path) -> None:
    if data.fingerprint != plan.data_fingerprint:
        raise SeemError(
            f"The data of {out} have changed since it began; begin anew with --overwrite."
        )


def _check_same_processes(plan: Plan, processes: int, out: Path) -> None:
    if plan.processes != processes:
        raise ValueError(
            f"{out} was begun with {plan.processes} processes, here are {processes}: batches would differ; use as "
            "many, or begin anew with --overwrite."
        )


class FineTuningRun:
    """A run from its plan to its result; one that was stopped goes on from its checkpoint."""

    def __init__(
        self,
        out: Path,
        plan: Plan,
        data: TrainingData,
        device: torch.device,
        write_line: LineWriter,
        write_progress: LineWriter,
    ) -> None:
        self.out = out
        self.plan = plan
        self.data = data
        self.device = device
        self.write_line = write_line
        self.write_progress = write_progress
        self.is_first_process = rank_and_world_size()[0] == 0
        loaded = open_start_network(plan.model, plan.scratch, plan.config.seed)
        if loaded.sha256 != plan.start_sha256:
            raise SeemError(
                f"The weights of {plan.model} have changed since {out} began; pass --overwrite."
            )
        tokenizer = loaded.tokenizer()
        self.loaded = replace(
            loaded, tokenizer=lambda: tokenizer
        )  # read once, not at every validation
        self.profile = profile_for(loaded.network, by_published_recipe=plan.ablation is not None)

        state_file = out / STATE_FILE
        self.has_checkpoint = state_file.is_file()
        self.first_step = 0
        self.history = ScoreHistory(out, -1)
        if self.has_checkpoint:
            self.first_step = checkpoint_step(state_file)
            self.history = ScoreHistory(out, self.first_step)
        self.board: TensorBoardLog | None = None
        if self.is_first_process:
            self.board = TensorBoardLog(out, self.first_step)
        self.started = time.monotonic()

    # --- From start to result -----------------------------------------------------------------------------------------

    def go(self) -> FineTuningResult:
        """Train, calibrate and score; write the weights, scores and figures; return the result."""
        torch.manual_seed(self.plan.config.seed)
        if self.board is not None and not self.board.is_there:
            self.write_line(
                "TensorBoard is not installed: curves go to results.csv alone (pip install 'seem[train]')."
            )
        initial_score = -math.inf
        if self.is_first_process and not self.has_checkpoint:
            initial_score = self._score_start()
        self.started = time.monotonic()
        self._train(initial_score)
        time_is_up = time.monotonic() - self.started >= 60 * self.plan.config.minutes
        wait_for_all_processes()
        if self.is_first_process:
            result = self._finish(time_is_up)
            wait_for_all_processes()
            return result
        result = self._result(after={})  # read before the first process writes the summary again
        wait_for_all_processes()
        return result

    def _score_start(self) -> float:
        """Score the weights that the run starts from and save them, so that there is a model from now on."""
        self.write_line("Scoring the model as it is ...")
        network = self.loaded.network.to(self.device)
        before = self.score(network, FINAL_IMAGES)
        first = before
        if self.plan.validation_images < before.photos:
            first = self.score(network)
        self.history.add(0, {**first.parts, "score": first.main})
        write_json(self.out / SUMMARY_FILE, {"before": before.parts, "photos": before.photos})
        self._save_best(network, 0, first.main)
        self.write_line(
            f"Before: {scores_text(before.parts)} ({count_text(before.photos, 'photo')})"
        )
        if not first.parts:
            return -math.inf
        return first.main

    def _train(self, initial_score: float) -> None:
        """Run the training loop to its last step, until it stops early, or until its time is up."""
        plan = self.plan
        network = self.loaded.network
        bank = self._open_bank()
        self._prepare_network(network)
        sampler = self.profile.batch_sampler(
            network, bank, plan.size, plan.config.batch, plan.config.seed, plan.naming_ratio
        )
        objective = self.profile.make_objective(
            network,
            self.loaded.tokenizer(),
            plan.ablation,
            partial(mean_over_processes, device=self.device),
        )
        step, prefetcher = make_step_function(
            sampler, network, objective, plan.config, plan.precision
        )
        hooks = self._hooks(sampler, network, initial_score)
        try:
            run_training(network, step, plan.config, self.out, hooks)
        finally:
            prefetcher.close()
            if self.board is not None:
                self.board.close()

    def _open_bank(self) -> ImageBank:
        """Open the training images; the first process writes the cache that the others read."""
        if not self.is_first_process:
            wait_for_all_processes()
        bank = open_image_bank(self.data, self.plan.size, self.out)
        if self.is_first_process:
            wait_for_all_processes()
        return bank

    def _prepare_network(self, network: Segmenter) -> None:
        """Bring the network into the state of training: device, memory format, frozen parts and statistics."""
        network.train().to(self.device)
        if not self.plan.config.shard:  # only tensors in one piece can be divided
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(network, self.plan.frozen_parts)
        if not self.plan.scratch:
            freeze_statistics(network)

    def _hooks(self, sampler: BatchSampler, network: Segmenter, initial_score: float) -> Hooks:
        return Hooks(
            validate=self._validate,
            save_best=self._save_best,
            describe=lambda number: sampler.describe(number, network),
            report=self._report_progress,
            initial_score=initial_score,
        )

    def _finish(self, time_is_up: bool) -> FineTuningResult:
        """Calibrate and score the best weights, draw figures, write the summary, and report."""
        presence, regions = self._calibrate()
        scores = score(self._best_model(), self.data.validation, FINAL_IMAGES)
        draw_run_curves(self.out)
        draw_worst_cases(self.out / WORST_FILE, scores.worst)
        result = self._result(after=scores.parts)
        self._write_summary(result, presence, regions)
        self._report_result(result, presence, regions, time_is_up)
        return result

    def _result(self, after: Mapping[str, float]) -> FineTuningResult:
        summary = json.loads((self.out / SUMMARY_FILE).read_text(encoding="utf-8"))
        state_file = self.out / STATE_FILE
        return FineTuningResult(
            before=summary["before"],
            after=after,
            best_step=best_step_of(state_file),
            steps=checkpoint_step(state_file),
            weights=self.out / BEST_FILE,
        )

    # --- During training ----------------------------------------------------------------------------------------------

    def score(self, network: nn.Module, max_images: int | None = None) -> ValidationScores:
        """Score a network on validation images; by default on as many as during training."""
        assert isinstance(network, Segmenter)
        classes = None
        if self.data.classes:
            classes = Vocabulary.of(self.data.classes)
        # with the classes that the saved weights will have
        loaded = replace(self.loaded, network=network, classes=classes)
        with evaluation_mode(network):
            model = Model(loaded, self.device, "float32")
            return score(model, self.data.validation, max_images or self.plan.validation_images)

    def _validate(self, network: nn.Module, step: int) -> float:
        """Score the averaged weights; where nothing can be scored, later steps are better."""
        scores = self.score(network)
        log = read_log(self.out)
        row = {**scores.parts, "score": scores.main}
        if log:
            row["loss"] = log[-1]["total"]
        self.history.add(step, row)
        if self.board is not None:
            self.board.add("validation", scores.parts, step)
        self.write_line(f"step {step}: {scores_text(scores.parts)}")
        if not scores.parts:
            return float(step)
        return scores.main

    def _save_best(self, network: nn.Module, step: int, score: float) -> None:
        """Write the best weights so far as a file that `seem.load` opens."""
        made_by = {
            "recipe": "finetune",
            "step": step,
            "score": None if math.isnan(score) else score,
            **self.plan.recorded_json(),
        }
        metadata = {
            MODEL_KEY: self.loaded.name,
            CLASSES_KEY: json.dumps(self.data.classes),
            STUFF_KEY: json.dumps(self.data.stuff_classes),
            BACKGROUND_KEY: json.dumps(not self.data.is_fully_labelled),
            "made_by": json.dumps(made_by),
            "data_fingerprint": self.plan.data_fingerprint,
            "start_sha256": self.plan.start_sha256,
        }
        write_tensors(
            self.out / BEST_FILE, state_dict_as(network, self.profile.file_dtype), metadata
        )

    def _report_progress(self, row: Mapping[str, float]) -> None:
        """Report a row of the training log."""
        step = int(row["step"])
        if self.board is not None:
            terms = dict(row)
            del terms["step"]
            self.board.add("train", terms, step)
        steps_done = max(step - self.first_step, 1)
        seconds_per_step = (time.monotonic() - self.started) / steps_done
        steps = self.plan.config.steps
        self.write_progress(
            progress_text(row, steps, minutes_left=seconds_per_step * (steps - step) / 60)
        )

    # --- After training -----------------------------------------------------------------------------------------------

    def _best_model(self) -> Model:
        loaded = open_file(self.out / BEST_FILE)
        loaded.network.to(self.device)
        return Model(loaded, self.device, "float32")

    def _calibrate(self) -> tuple[PresenceCalibration | None, RegionCalibration | None]:
        """Measure from which scores on a class counts as present and a region is kept; write both beside the weights.

        None for models without these thresholds, and where there are too few validation images.
        """
        if not self.profile.has_calibrated_thresholds:
            return None, None
        presence = calibrate_presence(self._best_model(), self.data.validation, FINAL_IMAGES)
        if presence is not None:
            self._add_metadata({PRESENCE_MIDPOINT_KEY: f"{presence.midpoint:.4g}"})
        regions = calibrate_regions(
            self._best_model(), self.data.validation
        )  # with the presence threshold in place
        if regions is not None:
            # all digits, because the threshold is the score of a region that is kept
            self._add_metadata({REGION_THRESHOLD_KEY: str(regions.threshold)})
        return presence, regions

    def _add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Write metadata beside the best weights."""
        content = read_tensors(self.out / BEST_FILE)
        write_tensors(self.out / BEST_FILE, content.tensors, {**content.metadata, **metadata})

    def _write_summary(
        self,
        result: FineTuningResult,
        presence: PresenceCalibration | None,
        regions: RegionCalibration | None,
    ) -> None:
        summary = json.loads((self.out / SUMMARY_FILE).read_text(encoding="utf-8"))
        summary["after"] = result.after
        if presence is not None:
            summary.update(names_found=presence.found, names_refused=presence.refused)
        if regions is not None:
            summary.update(region_threshold=regions.threshold, region_f1=regions.f1)
        summary.update(
            best_step=result.best_step,
            steps=result.steps,
            sha256=sha256_of(self.out / BEST_FILE),
            classes=self.data.classes,
        )
        write_json(self.out / SUMMARY_FILE, summary)

    def _report_result(
        self,
        result: FineTuningResult,
        presence: PresenceCalibration | None,
        regions: RegionCalibration | None,
        time_is_up: bool,
    ) -> None:
        if result.steps < self.plan.config.steps:
            self.write_line(
                early_stop_line(self.plan, result.steps, result.best_step, time_is_up=time_is_up)
            )
        if result.best_step == 0:
            self.write_line(no_progress_line())
        self._write_lines(comparison_lines(result.before, result.after))
        if self.profile.has_calibrated_thresholds and self.data.classes:
            self._write_lines(calibration_lines(presence, regions))
        self._write_lines(files_lines(self.out))

    def _write_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write_line(line)


def best_step_of(state_file: Path) -> int:
    """Return the step of the best weights of a run, from its checkpoint."""
    state = torch.load(state_file, weights_only=True, mmap=True, map_location="cpu")
    return max(0, int(state["best"]["step"]))
