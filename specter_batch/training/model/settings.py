"""Which encoder and head a model is made of, from TOML and options."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from specter_batch.options import MAX_WORKERS
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.training.model.head_config import HEAD_PRESETS, HeadConfig, Pooling

# Name of the model in `config.json` of a run.
MODEL_TYPE = "specter-classifier"
# Padded tokens held at once by the Torch model; on a CPU small batches of equal length are the fastest.
TORCH_MAX_TOKENS = 4096


class EncoderSettings(Settings):
    """The encoder, and how it makes one vector of a paper."""

    panel: ClassVar[str] = "Model"

    encoder: Annotated[str, Option(metavar="NAME_OR_FOLDER")] = Field(
        default="allenai/specter",
        description="BERT-type encoder: a name on the Hugging Face hub, or a local folder.",
    )
    pooling: Literal["auto"] | Pooling = Field(
        default="auto",
        description="How token vectors become one paper vector: [CLS], BERT's pooler, or the mean of all tokens. "
        "`auto` is the pooling that the encoder's folder names, else cls.",
    )
    max_length: Annotated[int, Option(unit="tokens")] = Field(
        default=512,
        ge=8,
        description="Number of tokens of a paper that are read; the rest is cut off. Half the length is more than "
        "twice as fast.",
    )


class CpuThreads(Settings):
    """How many CPU threads the model uses."""

    panel: ClassVar[str] = "Run"

    threads: Annotated[int | None, Option(unit="threads", default="the usable cores; fewer for a tiny model")] = Field(
        default=None,
        ge=1,
        le=MAX_WORKERS,
        description="Number of CPU threads of the model. Another number changes the last bits of the results. Without "
        "the option PyTorch uses the environment variable OMP_NUM_THREADS, if it is set.",
    )


class HeadSettings(Settings):
    """The classification head."""

    panel: ClassVar[str] = "Model"

    labels: Literal["auto", "mesh", "mag"] = Field(
        default="auto",
        description="Meaning of the labels. `mesh` and `mag` translate the integer codes of SciDocs to names; `auto` "
        "takes the labels of TRAIN as they are.",
    )
    head: Annotated[HeadConfig, Option(choices=tuple(HEAD_PRESETS), default="linear")] = Field(
        default=HeadConfig(),
        description="Classification head, by the name of a preset. A section [head] in the --config file can describe "
        "any other head.",
    )


class EncoderDropout(Settings):
    """What the encoder leaves out at random while it is trained."""

    panel: ClassVar[str] = "Model"

    attention_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the attention weights that a training step leaves out, instead of the encoder's own "
        "(0.1 for BERT). 0 is faster, on a CPU up to 1.7 times.",
    )


# Fields come in the reverse order of the bases.
class ModelSettings(HeadSettings, EncoderDropout, EncoderSettings):
    """The encoder and the head on it."""

    @field_validator("head", mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in HEAD_PRESETS:
                raise ValueError(f"expected one of {', '.join(HEAD_PRESETS)}, or a section of fields; got {value!r}")
            return HEAD_PRESETS[value]
        return value
