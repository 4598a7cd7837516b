"""transformers' TrainingArguments for a run, adapted to the machine."""

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from specter_batch.errors import ConfigError
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.epoch_choice import EPOCH_RANK

CHECKPOINTS = "checkpoints"
TRACKING = "tracking"

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "cyclic": "cosine_with_restarts"}


def make_arguments(config: TrainConfig, out: Path) -> TrainingArguments:
    """Make the Trainer's arguments. Under torchrun this call connects to the other processes.

    Raises:
        ConfigError: The machine cannot run with these settings.
    """
    precision = resolve_precision(config)
    # TrainingArguments sets this variable. A later fp32 run in the same process would otherwise use its precision.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no" if precision == "fp32" else precision
    _check_tracker(config, out)
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=2 * config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        max_grad_norm=config.max_grad_norm,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULES[config.schedule],
        lr_scheduler_kwargs={"num_cycles": config.cycles} if config.schedule == "cyclic" else {},
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not torch.cuda.is_available(),  # must be set, or bf16 on a CPU is an error
        ddp_find_unused_parameters=False,
        seed=config.seed,
        data_seed=config.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # early stopping keeps its count
        metric_for_best_model=EPOCH_RANK,
        logging_steps=20,
        logging_nan_inf_filter=False,  # log a NaN loss, which stops the training
        disable_tqdm=True,  # `TrainingProgress` shows the progress
        report_to="wandb" if config.track == "wandb" else "none",
        run_name=out.name,
        label_names=["labels"],
        remove_unused_columns=False,  # `padded` takes what a batch needs
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def resolve_precision(config: TrainConfig) -> Literal["fp32", "bf16", "fp16"]:
    """Return the number format of the training on this machine.

    Raises:
        ConfigError: The setting is fp16 and there is no CUDA device.
    """
    if config.compute == "fp16" and not torch.cuda.is_available():
        raise ConfigError("--compute fp16 needs a CUDA device; on a CPU give bf16 or fp32")
    if config.compute != "auto":
        return config.compute
    if torch.cuda.is_available():
        # Emulated bf16 is slower than fp32.
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return cpu_precision(getattr(torch.cpu, "get_capabilities", dict)())  # new in torch 2.10


def cpu_precision(capabilities: Mapping[str, bool]) -> Literal["fp32", "bf16"]:
    """Return the faster number format on a CPU with these capabilities, from `torch.cpu.get_capabilities`."""
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"


def autocast_dtype(config: TrainConfig) -> torch.dtype | None:
    """Return the number type of matrix products outside the Trainer; None for fp32."""
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[resolve_precision(config)]


def trackers(config: TrainConfig, arguments: TrainingArguments) -> list[TrainerCallback]:
    """Return the callback that writes TensorBoard's files next to the checkpoints, if the settings ask for them.

    The writer is made here, because `TrainingArguments` of transformers 5 has no folder for it.
    """
    if config.track != "tensorboard" or arguments.process_index > 0:
        return []
    package = "torch.utils.tensorboard" if find_spec("tensorboard") else "tensorboardX"
    writer = import_module(package).SummaryWriter(str(Path(str(arguments.output_dir)).with_name(TRACKING)))
    return [TensorBoardCallback(writer)]


def _check_tracker(config: TrainConfig, out: Path) -> None:
    packages = {"none": (), "wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX")}[config.track]
    if packages and not any(find_spec(package) for package in packages):
        raise ConfigError(f"--track {config.track} needs its package: pip install {packages[0]}")
    if config.track == "wandb":
        os.environ.setdefault("WANDB_DIR", str(out))
        if not os.environ.get("WANDB_API_KEY"):
            # Without a key wandb would wait for input. `wandb sync` uploads an offline run later.
            os.environ.setdefault("WANDB_MODE", "offline")
