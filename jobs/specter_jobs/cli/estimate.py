"""The command that plans a night: estimate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from pydantic import Field

from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import Sections, command, interruptible
from specter_batch.settings.declaration import Option
from specter_batch.terminal import show, show_json
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import LabelColumns, LabelRules, Model, Papers, ReusedNights

if TYPE_CHECKING:
    from specter_jobs.estimate.ranges import Range
    from specter_jobs.estimate.result import Estimate, MeasuredRate, ReuseFigures, WallTime

EXIT_FILES_FAILED = 3
ASSUMED = """assumed    a worker on each device, with the cores of this machine for it, and one driver:
           night time = survey + max(model, preparation) / devices + writing. Ranges come from the sample and the
           timed slices. A sample cannot show equal ids and texts in different places of the dump; they save
           time."""


class Measurement(JsonOutput):
    """How much is measured for an estimate, and what is taken as given."""

    panel: ClassVar[str] = "Measurement"

    papers_per_second: Annotated[float | None, Option(unit="papers", default="measured here")] = Field(
        default=None, description="Papers that one device labels in a second. If given, the model is not timed here."
    )
    seconds: Annotated[float, Option(unit="seconds")] = Field(
        default=10.0, description="How long to time the model. A longer time gives a narrower range."
    )
    sample: Annotated[int, Option(unit="rows")] = Field(
        default=2000, description="Number of rows to read, spread over the files. More rows give a narrower range."
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the choice of rows.")
    cost_per_hour: Annotated[float | None, Option(default="no cost is shown")] = Field(
        default=None, description="Price of one device for an hour, in any currency. With it the cost is shown."
    )


# The night's own options that matter to an estimate. OUT is never written to.
Planned = Annotated[
    NightConfig, Sections(Papers, InputColumns, Model, LabelRules, LabelColumns, ReusedNights, given={"out": Path()})
]


@command(
    "specter-batch estimate papers --bundle bundle",
    "specter-batch estimate papers --bundle bundle --papers-per-second 90 --cost-per-hour 0.40",
)
def estimate(settings: Planned, measurement: Measurement) -> None:
    """Estimate a night before it runs: papers, tokens, hours, disk, memory, and what --reuse saves."""
    from specter_jobs.estimate.estimate import estimate_night

    with interruptible("nothing was written"):
        result = estimate_night(
            settings,
            papers_per_second=measurement.papers_per_second,
            seconds=measurement.seconds,
            sample_rows=measurement.sample,
            seed=measurement.seed,
            cost_per_hour=measurement.cost_per_hour,
        )
    if measurement.as_json:
        show_json(result.model_dump(mode="json"))
    else:
        show(*_table(result))
    raise typer.Exit(EXIT_FILES_FAILED if result.unreadable_files else 0)


def _table(estimate: "Estimate") -> list[str]:
    tokens, model, output, memory = (estimate.tokens, estimate.model, estimate.output, estimate.memory)
    fixed = estimate.fixed_seconds
    cost = "" if estimate.cost is None else f", cost {_range(estimate.cost)}"
    return [
        *_input_lines(estimate),
        f"tokens     mean {tokens.mean:.0f}, median {tokens.p50:.0f}, p90 {tokens.p90:.0f}, p99 "
        f"{tokens.p99:.0f}; {tokens.cut_share:.1%} cut at {tokens.max_length}",
        f"           {_range(tokens.total)} in all",
        f"rate       {_range(model.papers_per_second)} papers/s, "
        + ("as given" if model.measured is False else _measured(model)),
        *_reuse_lines(estimate.reuse),
        f"model      {_range(estimate.device_hours)} device-hours{cost}",
        f"other time survey {_time(fixed.survey)}, preparation {_time(fixed.prepare)} (next to the model, in each "
        f"worker), writing {_time(fixed.write)}",
        *(_wall_line(wall) for wall in estimate.wall),
        f"output     {_size(output.labels)} of labels ({output.bytes_a_label:.0f} bytes each), "
        f"{_size(output.rejects)} of rejects, {output.label_files:,} label files",
        f"memory     {_size(memory.total)}: process and model {_size(memory.process_and_sessions)}, shards "
        f"{_size(memory.shards_in_flight)}, survey {_size(memory.survey)}, ledger {_size(memory.ledger)}; "
        f"the survey takes {_size(memory.survey_on_disk)} of disk",
        *ASSUMED.split("\n"),
    ]


def _input_lines(estimate: "Estimate") -> list[str]:
    from specter_batch.display import ignored_line

    sample = estimate.sample
    rejects = ", ".join(f"{reason} {rows:,}" for reason, rows in sample.rejects_by_reason.items()) or "none"
    read = "all rows" if sample.whole else f"{sample.rows:,} rows spread over the files, seed {sample.seed}"
    return [
        f"rows       {estimate.rows:,} in {estimate.files:,} files, by their footers: {estimate.shards:,} shards",
        *(f"unreadable {name}: {error}" for name, error in estimate.unreadable_files.items()),
        *([f"ignored    {ignored}"] if (ignored := ignored_line(estimate.ignored_files)) else []),
        f"sample     {read}; rejected: {rejects}",
        *(f"unreadable {error}" for error in sample.unreadable),
        f"papers     {_range(estimate.papers)} to label",
    ]


def _measured(model: "MeasuredRate") -> str:
    return (
        f"{_range(model.tokens_per_second)} tokens/s: {model.papers:,} papers in {model.seconds:.1f} s on "
        f"{model.device} ({model.graph}, {model.threads} at once)"
    )


def _reuse_lines(reuse: "ReuseFigures | None") -> list[str]:
    if reuse is None:
        return []
    cost = "" if reuse.cost_saved is None else f", cost {_digits(reuse.cost_saved)}"
    return [
        f"reuse      {_range(reuse.share.times(100))} % of the papers are in {reuse.label_files:,} earlier label "
        f"files: saves {_digits(reuse.papers)} papers, {_digits(reuse.device_hours_saved)} device-hours{cost}",
        *(f"           {sentence}" for sentence in reuse.unusable),
    ]


def _wall_line(wall: "WallTime") -> str:
    count = f"{wall.devices:>2} device{'s' if wall.devices > 1 else ' '}"
    estimate, low, high = (_time(value) for value in (wall.seconds.estimate, wall.seconds.low, wall.seconds.high))
    duration = estimate if low == high else f"{estimate} ({low} to {high})"
    return f"night time {count}  {duration}, limited by the {wall.bound_by}"


def _range(value: "Range") -> str:
    estimate, low, high = (_digits(part) for part in (value.estimate, value.low, value.high))
    return estimate if low == high else f"{estimate} ({low} to {high})"


def _digits(value: float) -> str:
    """Write a number with the digits that mean something: three from a million on, whole from 100 on, else two."""
    for unit, name in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _time(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * unit:
            return f"{_digits(seconds / unit)} {name}"
    return f"{seconds:.2g} s"


def _size(size: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{_digits(size / unit)} {name}"
    return f"{size:.0f} bytes"
