"""The description of a model that runs and bundles share."""

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class ModelCard(BaseModel):
    """The fields about the model that are in both `run.json` and `bundle.json`.

    Attributes:
        encoder: Name or folder of the pretrained encoder.
        labels: Label names in the order of the logits.
        text_template: Template that joins a paper's title and abstract into one text.
        max_length: Largest number of tokens of a paper that the model reads.
        pooling: Name of the method that turns token vectors into one paper vector.
        head: Settings of the classification head.
        temperature: Divisor that calibrates the scores: the logits of the Torch model are divided by it before the
            softmax.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    labels: tuple[str, ...]
    text_template: str
    max_length: int = Field(ge=2)
    pooling: str
    head: dict[str, JsonValue]
    temperature: float = Field(gt=0, allow_inf_nan=False)
