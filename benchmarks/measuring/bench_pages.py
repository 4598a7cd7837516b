"""The table and the picture of `side_by_side.py`, made from `bench.json`; and writing results of any benchmark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contest.contenders import JOB, SESSION, STUDENT_HALF, STUDENT_THIRD

from measuring.machine import hardware
from measuring.pictures import Bar, bars, svg_file
from specter_batch.storage.files import write_json, write_text

OURS = {"int8", STUDENT_HALF, STUDENT_THIRD, SESSION, JOB}
# From this load per core, a machine counts as busy with other work.
BUSY = 0.25


def bench_markdown(found: Mapping[str, Any]) -> str:
    """Return the table for a page: a row for each method, the targets, and the conditions."""
    measured = found["contenders"].values()
    on_card = found["device"] == "cuda"
    scored = any(one["macro_f1"] is not None for one in measured)
    heads = ["papers/s", "× study's loop", "× fp32", "CPU ms per paper", "peak MB", "labels changed"]
    heads += ["macro F1"] * scored + ["card MB", "of the card's peak"] * on_card
    lines = ["| way | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for one in measured:
        cells = [one["title"], ranged(one["papers_per_second"]), times(one["times_study"]), times(one["times_fp32"])]
        cells += [f"{one['cpu_ms']['median']:.1f}", f"{one['peak_mb']['median']:,.0f}"]
        cells.append(_changed(one["labels_changed"]) if found["model"]["trained"] else "–")
        cells += [_or_dash(one["macro_f1"], ".4f")] * scored
        if on_card:
            cells += [_or_dash(one["card_mb"] and one["card_mb"]["median"], ",.0f")]
            cells += [f"{one['share_of_peak']['median']:.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *_notes(found)]
    if found["targets"]:
        lines += ["", "| target | limit | found | reached |", "|---|---:|---:|---|"]
        lines += [_target(target) for target in found["targets"]]
    return "\n".join(lines) + "\n"


def bench_picture(found: Mapping[str, Any]) -> str:
    """Return the SVG file: speed, and peak memory."""
    measured = found["contenders"]
    plain = {key: one["title"].replace("`", "").partition(":")[0] for key, one in measured.items()}
    speeds = [
        Bar(name=plain[key], figure=ranged(one["papers_per_second"]), ours=key in OURS, **one["papers_per_second"])
        for key, one in measured.items()
    ]
    memory = [
        Bar(name=plain[key], figure=f"{one['peak_mb']['median']:,.0f}", ours=key in OURS, **one["peak_mb"])
        for key, one in measured.items()
    ]
    panels = [bars("Papers per second: median and range", speeds), bars("Peak memory, MB", memory)]
    return svg_file(panels, about="Speed and memory of methods to run the model")


def write_found(out: Path, name: str, found: Mapping[str, Any], *, table: str, drawn: str) -> None:
    """Write what a benchmark found to `out` as JSON, table and picture, and print the table."""
    write_json(out / f"{name}.json", found)
    write_text(out / f"{name}.md", table)
    write_text(out / f"{name}.svg", drawn)
    print(table)


def ranged(values: Mapping[str, float]) -> str:
    """Return a median and its range with three digits each. The range is left out for a single value."""
    median, low, high = (f"{values[name]:.3g}" for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low}–{high})"


def times(values: Mapping[str, float] | None) -> str:
    """Return a ratio, or a dash."""
    return "–" if values is None else f"{values['median']:.2f}"


def _changed(changed: Mapping[str, Any] | None) -> str:
    return "–" if changed is None else f"{changed['share']:.2%} of {changed['papers']:,}"


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _notes(found: Mapping[str, Any]) -> list[str]:
    machine, papers, model = found["machine"], found["papers"], found["model"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"{hardware(machine)}, load {machine['load_before']} before and "
        f"{machine['load_after']} after; {papers['timed']} papers of {papers['mean_tokens']:.0f} tokens "
        f"(fewer for slow methods, of the same lengths); medians of {found['rounds']} rounds. {versions}."
    ]
    if machine["load_before"] > BUSY * machine["cores"]:
        lines.append("The machine was busy at the start. Only CPU ms and memory are reliable.")
    job = found["contenders"].get(JOB)
    if job is not None:
        lines.append(
            f"The job's speed does not include its start-up of {job['load_seconds']['median']:.1f} s. With the "
            f"start-up it is {ranged(job['with_start_up'])} papers/s for these {papers['timed']} papers."
        )
    if not model["trained"]:
        lines.append("The weights are random: speed and memory are real, labels mean nothing, no paper is deferred.")
    lines += [f"Not measured: {key} ({reason})." for key, reason in found["skipped"].items()]
    return lines


def _target(target: Mapping[str, Any]) -> str:
    form = "{:.1%}" if target["at_most"] else "{:.2f}×"
    limit = ("at most " if target["at_most"] else "at least ") + form.format(target["limit"])
    told = "–" if target["found"] is None else form.format(target["found"])
    if target["low"] != target["high"]:
        told += f" ({form.format(target['low'])} to {form.format(target['high'])})"
    verdict = {True: "yes", False: "**no**", None: "–"}[target["reached"]]
    note = f" ({target['note']})" if target["note"] else ""
    return f"| {target['name']} | {limit} | {told} | {verdict}{note} |"
