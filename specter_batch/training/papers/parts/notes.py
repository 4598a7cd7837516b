"""Sentences about a split that a user should read: labels that a part lacks, and papers that stay together."""

from collections.abc import Sequence

from specter_batch.training.papers.parts.account import PARTS, LabelCounts, SplitSettings, Together
from specter_batch.training.papers.split import listed_names

# A label with fewer papers can be far from its share by rounding alone.
ENOUGH_PAPERS = 20
# A deviation from the wanted share of a label that is worth a sentence.
DEVIATION = 0.02


def split_notes(
    labels: Sequence[LabelCounts], together: Together, settings: SplitSettings, *, papers: int, source: str
) -> tuple[str, ...]:
    """Return the sentences about a split."""
    sentences = [*_missing(labels, settings), *_deviation(labels, settings), *_largest(together, settings, papers)]
    return tuple(f"{source}: {sentence}" for sentence in sentences)


def _missing(labels: Sequence[LabelCounts], settings: SplitSettings) -> list[str]:
    sentences = []
    for part in PARTS[1:]:
        absent = [one for one in labels if not getattr(one, part)] if settings.shares[part] else []
        if absent:
            are = f"{len(absent):,} labels have" if len(absent) > 1 else "1 label has"
            most = max(one.papers for one in absent)
            sentences.append(
                f"{part}.parquet has no paper of {listed_names([one.label for one in absent])}: {are} too few papers "
                f"for each part (at most {most:,}), or all of them stay together"
            )
    return sentences


def _deviation(labels: Sequence[LabelCounts], settings: SplitSettings) -> list[str]:
    found = [
        (abs(getattr(one, part) / one.papers - share), one, part, share)
        for one in labels
        for part, share in settings.shares.items()
        if one.papers >= ENOUGH_PAPERS
    ]
    if not found:
        return []
    deviation, one, part, share = max(found, key=lambda item: item[0])
    if deviation < DEVIATION:
        return []
    return [
        f"the shares of a label can differ from those asked for, because papers stay together: {part}.parquet has "
        f"{getattr(one, part):,} of the {one.papers:,} papers with the label {one.label!r}, "
        f"{100 * getattr(one, part) / one.papers:.1f} % instead of {100 * share:.1f} %"
    ]


def _largest(together: Together, settings: SplitSettings, papers: int) -> list[str]:
    share = together.largest_set / papers
    smallest = min(one for one in settings.shares.values() if one > 0)
    if together.largest_set < 2 or share < smallest:
        return []
    columns = " and ".join(settings.group_columns)
    why = f"the values of {columns} and texts that are alike connect" if columns else "texts that are alike connect"
    advice = "name a column with smaller groups, such as the first author" if columns else "look for boilerplate texts"
    most = f"; {advice}" if share > 0.5 else ""
    return [f"{why} {together.largest_set:,} papers ({100 * share:.1f} %), which are all in one part{most}"]
