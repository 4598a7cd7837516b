"""The command that splits labelled papers into train.parquet, val.parquet and test.parquet: split."""

import shlex
from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.errors import UsageError
from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command, interruptible
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import error_console, show, show_json, show_table, warn

# Most labels in the printed table.
SHOWN_LABELS = 40


class SplitFolder(JsonOutput):
    """What may be replaced."""

    panel: ClassVar[str] = "Output"

    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Replace another split in OUT. Without it such a run is refused."
    )


class Shares(Settings):
    """The sizes of the parts, and what stays together."""

    panel: ClassVar[str] = "Split"

    val: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the papers for val.parquet. With 0 there is no such file."
    )
    test: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the papers for test.parquet. With 0 there is no such file."
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the split.")
    near_duplicates: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Keep two papers in one part if their texts share at least this much of their three-word "
        "sequences. 1 keeps only equal texts together.",
    )
    group_column: Annotated[tuple[str, ...], Option(metavar="NAME", default="none")] = Field(
        default=(),
        description="Column whose values stay together, such as the journal or a list of authors: papers that share a "
        "value are in one part.",
    )
    group_separator: Annotated[str | None, Option(metavar="TEXT", default="a value is one group")] = Field(
        default=None,
        description="Text between several groups in one value of --group-column, such as `;` between authors.",
    )


class SplitOptions(SplitFolder, Shares, InputColumns):
    """Options of `split`."""

    panel: ClassVar[str] = "Input"

    papers: Annotated[LocalPath, Option(argument="PAPERS")] = Field(
        description="Labelled papers to split: a parquet file, a folder or a glob."
    )
    out: Annotated[LocalPath, Option(argument="OUT")] = Field(
        description="Folder for train.parquet, val.parquet, test.parquet and split.json."
    )


@command(
    "specter-batch split papers.parquet parts --val 0.1 --test 0.2",
    "specter-batch split papers.parquet parts --group-column journal",
)
def split(options: SplitOptions) -> None:
    """Split labelled papers into parts to train on, to validate on and to test on, without duplicates across parts."""
    from specter_batch.training.papers.parts.account import PARTS, SplitSettings
    from specter_batch.training.papers.parts.split import split_papers

    if not 0 < options.val + options.test < 1:
        raise UsageError(
            f"--val {options.val:g} and --test {options.test:g}: their sum must be above 0 and below 1, so that papers "
            "to train on are left; for example --val 0.1 --test 0.2"
        )
    settings = SplitSettings(
        val=options.val,
        test=options.test,
        seed=options.seed,
        near_duplicates=options.near_duplicates,
        group_columns=options.group_column,
        group_separator=options.group_separator,
    )
    with interruptible("nothing was written, run the same command again"):
        account = split_papers(
            options.papers,
            options.out,
            settings,
            columns=options.columns,
            replace=options.replace,
            console=error_console(),
        )
    warn(*account.notes)
    if options.as_json:
        show_json(account.model_dump(mode="json"), in_files_too=True)
        return
    rows = [
        (one.label, f"{one.papers:,}", *(f"{getattr(one, part):,}" for part in PARTS))
        for one in account.labels[:SHOWN_LABELS]
    ]
    total = ("all labels", f"{sum(part.papers for part in account.parts.values()):,}")
    show_table(("label", "papers", *PARTS), [*rows, (*total, *(f"{account.parts[part].papers:,}" for part in PARTS))])
    more = len(account.labels) - SHOWN_LABELS
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in account.left_out.items())
    same = account.together
    folder = shlex.quote(str(options.out))
    test = f" --test {folder}/test.parquet" if options.test else ""
    show(
        *([f"{more:,} more labels are in {options.out / 'split.json'}"] if more > 0 else []),
        f"kept in one part: equal texts ({same.equal_texts:,}) and pairs of nearly equal texts "
        f"({same.near_equal_texts:,}); largest set of papers that stay together: {same.largest_set:,}",
        *([f"papers without a value in a group column: {same.without_group:,}"] if same.without_group else []),
        *([f"left out: {left_out}; {options.out / 'left_out.parquet'} lists them"] if left_out else []),
        f"next: specter-batch train {folder}/train.parquet --val {folder}/val.parquet{test} --out RUN",
        in_files_too=True,
    )
