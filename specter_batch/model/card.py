"""What a run and a bundle say of their model in the same words."""

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class ModelCard(BaseModel):
    """The part that `run.json` and `bundle.json` share.

    Attributes:
        encoder: Name or folder of the pretrained encoder.
        labels: Label names in the order of the logits.
        text_template: How a paper's title and abstract become its text.
        max_length: Most tokens of a paper that the model reads.
        pooling: How token vectors become one paper vector.
        head: Settings of the classification head.
        temperature: Divides the logits before they become scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    labels: tuple[str, ...]
    text_template: str
    max_length: int = Field(ge=2)
    pooling: str
    head: dict[str, JsonValue]
    temperature: float = Field(gt=0, allow_inf_nan=False)
