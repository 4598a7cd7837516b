"""Shows how far a training is: a progress bar on a terminal, JSON lines in a log file."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from specter_batch.logs import log
from specter_batch.terminal import progress_bars

# A log file gets a line about the running epoch at most this often.
SECONDS_BETWEEN_LINES = 10.0


class TrainingProgress(TrainerCallback):
    """Counts the papers that were trained on, and shows loss, learning rate, papers/s and the time that is left.

    Every figure also goes into a log event, so that a training without a terminal can be followed in its log file.

    Args:
        console: Gets the progress bar if it is a terminal; nothing is shown when None.
        papers: Number of training papers, which are seen once in each epoch.
    """

    def __init__(self, console: Console | None, *, papers: int) -> None:
        self._bars = progress_bars(
            console,
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
        )
        self._papers = papers
        self._per_step = 1.0
        self._last_step, self._last_time = 0, 0.0
        self._last_line = -math.inf

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars for the length of a block."""
        with self._bars:
            yield

    @contextmanager
    def stage(self, name: str, *, papers: int) -> Iterator[Callable[[int], None]]:
        """Show a bar for a stage that goes through papers once, and log the end of the stage.

        Args:
            name: What the stage does, such as `embed papers`.
            papers: Number of papers of the stage.

        Yields:
            A function to call with the number of papers that were just done.
        """
        task, began = self._bars.add_task(name, total=papers, figures=""), time.monotonic()
        yield lambda done: self._bars.advance(task, done)
        self._bars.remove_task(task)
        log(f"{name} finished", papers=papers, seconds=round(time.monotonic() - began, 3))

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - the Trainer's own signature
        **_: object,
    ) -> None:
        """Add the bar; a training that resumes begins where it was."""
        self._per_step = self._papers * args.num_train_epochs / state.max_steps
        self._task = self._bars.add_task(
            "train",
            total=round(self._papers * args.num_train_epochs),
            completed=round(state.global_step * self._per_step),
            figures="",
        )
        self._last_step, self._last_time = state.global_step, time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: object,
    ) -> None:
        """Advance the bar."""
        self._bars.update(self._task, completed=round(state.global_step * self._per_step))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **event: Any,
    ) -> None:
        """Show the loss of the last steps; a log file gets a line of it now and then."""
        figures = event["logs"]
        if "loss" not in figures:
            return
        now = time.monotonic()
        papers_per_second = (state.global_step - self._last_step) * self._per_step / max(now - self._last_time, 1e-9)
        seconds_left = (state.max_steps - state.global_step) * self._per_step / max(papers_per_second, 1e-9)
        self._last_step, self._last_time = state.global_step, now
        shown = f"epoch {figures['epoch']:.1f} of {args.num_train_epochs:g}, loss {figures['loss']:.3f}"
        rates = f"rate {figures['learning_rate']:.1e}, {papers_per_second:,.0f} papers/s"
        self._bars.update(self._task, figures=f"{shown}, {rates}")
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            log(
                "training",
                epoch=round(figures["epoch"], 3),
                loss=figures["loss"],
                learning_rate=figures["learning_rate"],
                papers_per_second=round(papers_per_second, 1),
                seconds_left=round(seconds_left),
            )

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **event: Any,
    ) -> None:
        """Log the validation scores of an epoch."""
        metrics: dict[str, float] = event["metrics"]
        self._last_time = time.monotonic()  # the validation is not counted in papers/s
        names = {"eval_loss": "validation_loss", "eval_macro_f1": "macro_f1", "eval_accuracy": "accuracy"}
        scores: dict[str, Any] = {name: round(metrics[key], 4) for key, name in names.items() if key in metrics}
        log("epoch finished", epoch=round(metrics["epoch"], 3), **scores)
