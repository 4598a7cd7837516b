"""What a training run is asked to do, from TOML and flags."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from specter_batch.settings import Settings
from specter_batch.training.model.classifier import Pooling
from specter_batch.training.model.heads import HEAD_PRESETS, HeadConfig


class TrainConfig(Settings):
    """Settings of a training run; docs/training.md tells how the defaults were found.

    Attributes:
        encoder: A hub name or a local folder of a BERT-type encoder.
        labels: `mesh`, `mag` (SciDocs' tables, for integer labels), or `auto`: the labels of the training file.
        pooling: `auto` is what the encoder was made for: its sentence-transformers pooling if it names one, else `cls`.
        head: A preset's name, or the fields of `HeadConfig`.
        max_length: Most tokens of a paper. Cost grows with it: half the length is more than twice the speed.
        warm_start: Train the head alone on frozen embeddings first, then all together (Kumar et al. 2022,
            https://arxiv.org/abs/2202.10054): a random head would spoil the encoder before it has learned anything.
            Costs one pass over the papers without gradients, about a third of an epoch.
        freeze_encoder: Stop after that: the encoder stays as it is.
        optimizer: `sgd` has a momentum of 0.9, and wants rates a hundred times those of `adamw`.
        head_learning_rate: The head's own. A small head learns faster than the encoder may.
        layer_decay: Learning rate of each encoder layer relative to the layer above it (Howard and Ruder 2018).
        schedule: After the warm-up to the peak rates: `linear` or `cosine` down to 0, or `cyclic`: `cycles` cosines,
            each beginning at the peak (Loshchilov and Hutter 2017).
        class_weights: Weight of a class in the loss: `balanced` is the inverse of its share of the training papers,
            `sqrt` the root of that. Macro F1 counts every class the same, plain cross entropy every paper.
        early_stopping_patience: Stop after so many epochs without a better validation macro F1.
        precision: `bf16` halves the time of a step on hardware that has it, CPUs with AVX512-BF16 or AMX included;
            `auto` takes it there, and fp32 elsewhere.
        track: Report the run's progress to Weights & Biases or to TensorBoard.
        calibration_papers: How many training papers to keep in the run for export to quantize and check with.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    encoder: str = "allenai/specter"
    labels: Literal["auto", "mesh", "mag"] = "auto"
    pooling: Pooling | Literal["auto"] = "auto"
    head: HeadConfig = HeadConfig()
    max_length: int = Field(default=512, ge=8)
    warm_start: bool = True
    freeze_encoder: bool = False
    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=8e-5, gt=0)
    head_learning_rate: float = Field(default=1e-3, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Literal["linear", "cosine", "cyclic"] = "linear"
    cycles: int = Field(default=3, ge=1)
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "sqrt", "balanced"] = "sqrt"
    max_grad_norm: float = Field(default=1.0, gt=0)
    early_stopping_patience: int = Field(default=2, ge=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False
    seed: int = Field(default=321, ge=0, lt=2**32)  # what NumPy takes
    track: Literal["none", "wandb", "tensorboard"] = "none"
    calibration_papers: int = Field(default=1000, ge=1)

    @field_validator("head", mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in HEAD_PRESETS:
                raise ValueError(f"expected one of {', '.join(HEAD_PRESETS)}, or a section of fields; got {value!r}")
            return HEAD_PRESETS[value]
        return value
