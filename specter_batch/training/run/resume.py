"""Resuming a run in its folder, and stopping a run that is interrupted or diverges."""

import json
import math
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from specter_batch.errors import ConfigError, SpecterBatchError
from specter_batch.storage.files import apply_umask, write_json
from specter_batch.storage.output_claim import folder_locked, mark_output
from specter_batch.terminal import show_notice
from specter_batch.training.run.folder import RUN_FILE

# The settings and papers of a run. A second start in the same folder only resumes if both are the same.
REQUEST_FILE = "training.json"


@contextmanager
def claimed(out: Path, request: dict[str, Any]) -> Iterator[None]:
    """Lock a run folder that is new, or that has an unfinished run of the same request.

    Raises:
        ConfigError: The folder holds other files or another run, or another process uses it.
    """
    _check_folder(out, request)  # before anything is written into a folder of another run
    mark_output(out, "train")
    with folder_locked(out):
        _check_folder(out, request)  # another process may have finished it meanwhile
        write_json(out / REQUEST_FILE, request)
        yield


def _check_folder(out: Path, request: dict[str, Any]) -> None:
    file = out / REQUEST_FILE
    if (out / RUN_FILE).exists():
        raise ConfigError(f"{out}: holds a finished run; give another --out, or remove the folder")
    if not file.exists():
        return
    try:
        before = json.loads(file.read_bytes())
    except ValueError as error:
        raise ConfigError(
            f"{file}: is damaged, so it is not known what the unfinished run was started with; give another --out, or "
            "remove the folder"
        ) from error
    if before != request:
        raise ConfigError(f"{out}: holds an unfinished run with other settings or papers; give another --out")


def remove_broken_checkpoints(folder: Path) -> None:
    """Remove the checkpoints that a kill or a full disk left half-written."""
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())  # what the Trainer writes last
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint, if any."""
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Turn a failure to write the weights into an error of one line. The last complete checkpoint stays.

    Raises:
        SpecterBatchError: The disk is full or cannot be written to.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise SpecterBatchError(
            f"{folder}: the weights could not be written ({reason}); free disk space and run the same command again "
            "to resume from the last complete checkpoint"
        ) from error


class SaveWhenInterrupted(TrainerCallback):
    """Saves after the running step at the first Ctrl-C or SIGTERM. A second signal ends the process at once."""

    def __init__(self) -> None:
        self.interrupted = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals. After saving, `KeyboardInterrupt` is raised if there was one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, *_: object) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        show_notice("interrupted: the running step is finished and saved; press Ctrl-C again to stop at once")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Save and stop; at an epoch's last step the epoch is evaluated first, as it would have been."""
        self._agree(args)
        if self.interrupted and not _at_epoch_end(args, state):
            control.should_save = control.should_training_stop = True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Leave out the evaluation of an epoch that was broken off."""
        self._agree(args)
        if self.interrupted:
            # Not by should_training_stop: the Trainer sets it at the last epoch's last step, too.
            control.should_evaluate = control.should_save = _at_epoch_end(args, state)
            control.should_training_stop = True

    def _agree(self, args: TrainingArguments) -> None:
        """Under torchrun let all processes stop at the same step, or one would wait for the others for ever."""
        if args.world_size > 1:
            flag = torch.tensor(int(self.interrupted), device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            self.interrupted = bool(flag.item())


class SharedCheckpoints(TrainerCallback):
    """Makes checkpoints as readable as the umask allows, and finds them in a folder that was moved."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: object,
    ) -> None:
        """Find the best checkpoint where it is now. Otherwise the Trainer would silently keep the last epoch."""
        if state.best_global_step is not None:  # transformers 5 forgets the path of a moved one, but not its step
            best = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.best_global_step}"
            state.best_model_checkpoint = str(best)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: object,
    ) -> None:
        """Change the modes of the checkpoint that was just written."""
        if state.is_world_process_zero:
            apply_umask(Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")


class StopWhenDiverged(TrainerCallback):
    """Stops training when the loss becomes NaN or infinite, because no later step can repair the weights."""

    def on_log(  # the Trainer's own signature
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **event: Any,
    ) -> None:
        """Check the mean loss of the last steps.

        Raises:
            ConfigError: The mean loss is NaN or infinite.
        """
        if not math.isfinite(event["logs"].get("loss", 0.0)):
            raise diverged(f"at step {state.global_step}")


def diverged(where: str) -> ConfigError:
    """Return the error for a training run whose loss is NaN or infinite."""
    return ConfigError(
        f"the loss is not finite {where}: the weights cannot be used; train again with a lower --learning-rate or "
        "--head-learning-rate, or with --compute fp32, into another --out"
    )


def _at_epoch_end(args: TrainingArguments, state: TrainerState) -> bool:
    return state.global_step % (state.max_steps // args.num_train_epochs) == 0
