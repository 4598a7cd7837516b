"""What a training run is asked to do, from TOML and flags."""

from typing import Literal

from pydantic import Field

from specter_batch.settings import Settings
from specter_batch.training.heads import HeadConfig
from specter_batch.training.model import Pooling

MLP_HIDDEN_SIZES = (256,)


class TrainConfig(Settings):
    """Settings of a training run; the defaults suit SPECTER on SciDocs.

    Attributes:
        encoder: A hub name or a local folder of a BERT-type encoder.
        labels: `mesh`, `mag` (SciDocs' tables, for integer labels), or `auto`: the labels of the training file.
        max_length: Most tokens of a paper. Cost grows with it: half the length is more than twice the speed.
        head_learning_rate: The head's own; the encoder's when None. A fresh head learns faster than the encoder may.
        class_weights: Weigh each class by the inverse of its share of the training papers.
        early_stopping_patience: Stop after so many epochs without a better validation macro F1.
        precision: `bf16` halves the time of a step on hardware that has it, CPUs with AVX512-BF16 included.
        calibration_papers: How many training papers to keep in the run for export to quantize and check with.
    """

    encoder: str = "allenai/specter"
    labels: Literal["auto", "mesh", "mag"] = "auto"
    pooling: Pooling = "cls"
    head: HeadConfig = HeadConfig()
    max_length: int = Field(default=512, ge=8)
    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=3e-5, gt=0)
    head_learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: bool = False
    max_grad_norm: float = Field(default=1.0, gt=0)
    early_stopping_patience: int = Field(default=2, ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = False
    seed: int = 321
    calibration_papers: int = Field(default=1000, ge=1)
