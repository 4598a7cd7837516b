"""The settings that stop a night or let it fail, by section."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import PathOrUrl

Share = Annotated[float, Field(ge=0, le=1)]
# Without the upper limit TOML's `inf` would be accepted, and JSON cannot store it.
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
OFF = "no limit"
# How many days back `--previous "nights/{yesterday}"` looks for a night that succeeded.
PREVIOUS_DAYS = 30


def parse_max_fresh(value: Any) -> Any:
    """Read `1000` as a number of papers, and `10%` or `0.1` as a share.

    Raises:
        ValueError: The value is neither.
    """
    limit = value
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"[0-9]+", text):
            limit = int(text)
        elif re.fullmatch(r"[0-9]+(\.[0-9]+)?\s*%", text):
            limit = float(text.rstrip("% ")) / 100
        elif re.fullmatch(r"[0-9]*\.[0-9]+", text):
            limit = float(text)
    is_number = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
    is_share = isinstance(limit, float) and 0 <= limit <= 1
    if limit is not None and not is_number and not is_share:
        raise ValueError("expected a number of papers such as 1000, or a share such as 10% or 0.1")
    return limit


class GateLimits(Settings):
    """The section `[gates]`. A gate that is not set is not checked."""

    panel: ClassVar[str] = "Gates"

    # An empty dump fails by default.
    min_rows: Annotated[Annotated[int, Field(ge=0)] | None, Option(unit="rows")] = Field(
        default=1, description="Fail (exit 4) if the input has fewer rows than this."
    )
    min_macro_f1: Annotated[Share | None, Option(default=OFF)] = Field(
        default=None,
        description="Fail (exit 4) if the macro F1 is lower than this. It is measured on papers that have a true label "
        "and were not trained on; without such papers the gate fails.",
    )
    min_mean_score: Annotated[Share | None, Option(default=OFF)] = Field(
        default=None, description="Fail (exit 4) if the mean score of all labels is lower than this."
    )
    max_reject_rate: Annotated[Share | None, Option(default=OFF)] = Field(
        default=None, description="Fail (exit 4) if a larger share of the input rows than this is rejected."
    )
    # A model that does not work on this device fails the night by default.
    max_not_finite_rate: Annotated[Share | None, Option()] = Field(
        default=0.1,
        description="Fail (exit 4) if the model gives NaN or infinity for a larger share of the papers than this. 1 "
        "turns the gate off.",
    )
    # A single difference never shows more than a share of 0, so a limit of 0 would never fail.
    max_disagreement: Annotated[Share | None, Option(default=OFF)] = Field(
        default=None,
        gt=0,
        description="Fail (exit 4) if the audit shows with 95 % confidence that a larger share of labels than this "
        "differs from the exact fp32 model. Chance alone seldom fails the gate, because all nights count together.",
    )
    max_clear_disagreement: Annotated[Share | None, Option(default=OFF)] = Field(
        default=None,
        gt=0,
        description="The same for papers whose best label is at least twice as probable as the second, where a fast "
        "graph hardly ever differs. A tenth of --max-disagreement finds a broken model several times sooner.",
    )
    max_psi: Annotated[Positive | None, Option(default=OFF)] = Field(
        default=None,
        description="Fail (exit 4) if the population stability index (PSI) of the label shares, compared with the "
        "model's validation data, is higher than this.",
    )
    max_js_distance: Annotated[Share | None, Option(default=OFF)] = Field(
        default=None,
        description="Fail (exit 4) if the Jensen-Shannon distance of the label shares from the model's validation data "
        "is higher than this.",
    )
    max_psi_previous: Annotated[Positive | None, Option(default=OFF)] = Field(
        default=None,
        description="Fail (exit 4) if the population stability index (PSI) of the label shares, compared with the "
        "--previous night, is higher than this.",
    )
    max_js_distance_previous: Annotated[Share | None, Option(default=OFF)] = Field(
        default=None,
        description="Fail (exit 4) if the Jensen-Shannon distance of the label shares from the --previous night is "
        "higher than this.",
    )


class ReuseLimit(Settings):
    """The limit for papers that the model has to label."""

    panel: ClassVar[str] = "Reuse"

    max_fresh: Annotated[
        Annotated[int, Field(ge=0, strict=True)] | Annotated[float, Field(ge=0, le=1)] | None,
        BeforeValidator(parse_max_fresh),
        Option(metavar="PAPERS", unit="papers, or a share of all papers", default=OFF),
    ] = Field(
        default=None,
        description="Stop before labelling (exit 4) if more papers than this have no label yet: a number of papers, "
        "or a share such as 10%.",
    )


class Gates(Settings):
    """The limits that a night must keep to succeed."""

    panel: ClassVar[str] = "Gates"

    previous: Annotated[PathOrUrl | None, Option(default="no comparison")] = Field(
        default=None,
        description="OUT of an earlier night to compare label shares with. If it has {yesterday} in it, the last night "
        f"that succeeded is used, up to {PREVIOUS_DAYS} days back.",
    )
    require_previous: bool = Field(
        default=False,
        description="Fail (exit 4) if a gate compares with an earlier night and there is none. Otherwise such a gate "
        "does not apply, as in the first night.",
    )
    gates: GateLimits = GateLimits()
