"""Settings of a training run, from TOML and flags."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from specter_batch.model.card import ModelCard
from specter_batch.settings import Settings
from specter_batch.settings.declaration import FormerName, Option
from specter_batch.training.distillation.settings import StudentSettings
from specter_batch.training.model.settings import EncoderDropout, ModelSettings


class HeadFirst(Settings):
    """Whether the head is trained alone first, or only the head."""

    panel: ClassVar[str] = "Optimisation"

    # Kumar et al. 2022 (https://arxiv.org/abs/2202.10054).
    warm_start: bool = Field(
        default=True,
        description="Train the head alone first, on frozen embeddings, so that a random head does not damage the "
        "encoder. It costs about a third of an epoch.",
    )
    freeze_encoder: bool = Field(
        default=False, description="Train the head only: stop after the warm start and leave the encoder as it is."
    )


class LabelLoss(Settings):
    """The loss of the true labels."""

    panel: ClassVar[str] = "Optimisation"

    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Label smoothing factor.")
    class_weights: Literal["none", "sqrt", "balanced"] = Field(
        default="sqrt",
        description="Weight of rare classes in the loss: `balanced` is the inverse of a class's share of TRAIN, `sqrt` "
        "is the square root of it. Macro F1 counts every class the same.",
    )


class Optimisation(Settings):
    """Settings of the optimisation: learning rates, schedule and batches."""

    panel: ClassVar[str] = "Optimisation"

    epochs: Annotated[int, Option(unit="epochs")] = Field(
        default=3, ge=1, description="Number of passes over the training papers."
    )
    batch_size: Annotated[int, Option(unit="papers")] = Field(
        default=16, ge=1, description="Number of papers in a batch, on each device."
    )
    gradient_accumulation_steps: Annotated[int, Option(unit="batches")] = Field(
        default=1, ge=1, description="Number of batches in one optimizer step. More batches act like a larger batch."
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw",
        description="Optimizer. `sgd` has a momentum of 0.9 and needs learning rates about a hundred times higher.",
    )
    learning_rate: float = Field(default=8e-5, gt=0, description="Peak learning rate of the encoder.")
    head_learning_rate: float = Field(
        default=1e-3, gt=0, description="Peak learning rate of the head, which can learn faster than the encoder."
    )
    # Howard and Ruder 2018.
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Learning rate of each encoder layer, divided by the learning rate of the layer above it. 1 gives "
        "all layers the same learning rate.",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay, applied to weight matrices and not to biases or LayerNorm."
    )
    # `cyclic` after Loshchilov and Hutter 2017.
    schedule: Literal["linear", "cosine", "cyclic"] = Field(
        default="linear",
        description="Learning-rate schedule after the warm-up: linear or cosine down to 0, or cyclic, which starts "
        "again at the peak in each cycle.",
    )
    cycles: Annotated[int, Option(unit="cycles")] = Field(
        default=3, ge=1, description="Number of cycles of --schedule cyclic."
    )
    warmup_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Share of the steps in which the learning rates rise to their peak."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Norm at which gradients are clipped. A lower norm makes training steadier."
    )
    # Polyak and Juditsky 1992; Izmailov et al. 2018 (https://arxiv.org/abs/1803.05407).
    weight_averaging: float = Field(
        default=0.33,
        ge=0,
        le=1,
        description="Evaluate and keep an average of the weights over about this share of the latest steps. 0 keeps "
        "the weights of the last step.",
    )
    early_stopping_patience: Annotated[int, Option(unit="epochs")] = Field(
        default=2,
        ge=1,
        description="Stop after this many epochs in a row whose macro F1 on --val is clearly worse than the best.",
    )


class RunSettings(Settings):
    """Settings of the computation, and what the run records."""

    panel: ClassVar[str] = "Run"

    compute: Annotated[Literal["auto", "fp32", "bf16", "fp16"], FormerName("precision")] = Field(
        default="auto",
        description="Number format of the computation. `bf16` is 1.5 to 2 times as fast on hardware that has it; "
        "`auto` uses it there, and fp32 elsewhere. fp16 needs CUDA.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Save memory by computing activations twice. It takes about a third more time."
    )
    seed: int = Field(default=321, ge=0, lt=2**32, description="Random seed.")  # the limit is NumPy's
    track: Literal["none", "wandb", "tensorboard"] = Field(
        default="none", description="Experiment tracker that the progress is also logged to."
    )
    calibration_papers: Annotated[int, Option(unit="papers")] = Field(
        default=1000,
        ge=1,
        description="Number of training papers to keep in the run folder. Export quantizes and checks the model with "
        "them. They are not the papers of `export --calibration`.",
    )


# Fields come in the reverse order of the bases.
class TrainConfig(RunSettings, LabelLoss, Optimisation, HeadFirst, ModelSettings):
    """Settings of a training run. docs/training-trials.md describes how the defaults were chosen."""

    model_config = ConfigDict(allow_inf_nan=False)
    may_be_in_a_file: ClassVar[bool] = True


class DistillConfig(RunSettings, Optimisation, EncoderDropout, StudentSettings):
    """Settings of the training of a student. docs/training-trials.md describes how the defaults were chosen."""

    model_config = ConfigDict(allow_inf_nan=False)
    may_be_in_a_file: ClassVar[bool] = True

    learning_rate: float = Field(default=2e-4, gt=0, description="Peak learning rate of the encoder.")
    head_learning_rate: float = Field(
        default=2e-4, gt=0, description="Peak learning rate of the head, which is the teacher's and is already trained."
    )

    def of_student(self, teacher: ModelCard) -> TrainConfig:
        """Return all settings of the student's run: these, and the teacher's pooling, head, length and encoder."""
        kinds = (EncoderDropout, Optimisation, RunSettings)
        own = {name: getattr(self, name) for kind in kinds for name in kind.model_fields}
        of_teacher = {name: getattr(teacher, name) for name in ("encoder", "pooling", "max_length", "head")}
        return TrainConfig.model_validate({**own, **of_teacher, "warm_start": False, "class_weights": "none"})
