"""The limits that a night must keep: the section `[gates]` of its settings."""

from typing import Annotated

from pydantic import Field

from specter_batch.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]
# Without the second bound TOML's `inf` would pass, and JSON cannot say it.
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class GateLimits(Settings):
    """The section `[gates]`; a gate that is not set is not judged.

    Attributes:
        min_rows: Fewest rows of the input. The default of 1 fails a night of an empty dump.
        min_macro_f1: Over labelled papers that were not trained on.
        min_mean_score: Of all labelled papers.
        max_reject_rate: Rejected rows by rows.
        max_not_finite_rate: Papers for which the model gave NaN or infinity, by all papers that have a label or should
            have one. The default of 0.1 fails a night of a model that does not work on this device.
        max_psi: Of label shares against the bundle's validation data.
        max_js_distance: The same, as Jensen-Shannon distance.
        max_psi_previous: Of label shares against the previous night.
        max_js_distance_previous: The same, as Jensen-Shannon distance.
    """

    min_rows: Annotated[int, Field(ge=0)] | None = 1
    min_macro_f1: Share | None = None
    min_mean_score: Share | None = None
    max_reject_rate: Share | None = None
    max_not_finite_rate: Share | None = 0.1
    max_psi: Positive | None = None
    max_js_distance: Share | None = None
    max_psi_previous: Positive | None = None
    max_js_distance_previous: Share | None = None
