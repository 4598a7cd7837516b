"""Checks of training and validation papers before training starts: texts in both, and classes with too few papers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specter_batch.errors import ConfigError, LabelError
from specter_batch.papers.labels import LabelSet
from specter_batch.training.papers.labelled import LabelledPapers

# Most names in a message.
_SHOWN = 5


def check_split(
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    labels: LabelSet,
    *,
    inherited: npt.NDArray[np.uint64],
    allow_overlap: bool = False,
) -> tuple[str, ...]:
    """Check that the validation papers can be used to choose the best epoch.

    Args:
        train_papers: Papers to train on.
        val_papers: Papers on which the best epoch is chosen.
        labels: Label set of the model.
        inherited: Sorted hashes of the texts that the encoder was trained on before, `(n_texts,)`.
        allow_overlap: True to continue although some validation papers are also training papers.

    Returns:
        Sentences that a user should read.

    Raises:
        ConfigError: Validation papers are training papers, and the two are not the same papers.
        LabelError: A validation paper has a label that no training paper has.
    """
    in_train = np.bincount(train_papers.label_ids(labels), minlength=len(labels))
    in_val = np.bincount(val_papers.label_ids(labels), minlength=len(labels))
    missing = [name for name, fitted, chosen in zip(labels, in_train, in_val, strict=True) if chosen and not fitted]
    if missing:
        raise LabelError(f"{val_papers.source}: no training paper has the label {' or '.join(missing)}")
    return (
        *_overlap(train_papers, val_papers, allowed=allow_overlap),
        *_seen_before(val_papers, inherited),
        *_small_classes(train_papers, labels, in_train),
        *_unchecked_classes(val_papers, labels, in_train, in_val),
    )


def _overlap(train_papers: LabelledPapers, val_papers: LabelledPapers, *, allowed: bool) -> tuple[str, ...]:
    shared = int(val_papers.seen_by(train_papers.seen_hashes()).sum())
    if not shared:
        return ()
    sentence = (
        f"{val_papers.source}: {shared:,} of {len(val_papers):,} validation papers are also in {train_papers.source} "
        "(by a hash of the text without case and punctuation)"
    )
    if shared == len(val_papers):  # a trial of the tool: there is no figure that anybody could believe
        return (f"{sentence}, so there is no validation score, and the best epoch is chosen on training papers",)
    if not allowed:
        raise ConfigError(
            f"{sentence}: the best epoch would be chosen on training papers; remove them from one of the two, or "
            "continue with --allow-overlap"
        )
    return (f"{sentence}: they help to choose the best epoch; the validation score leaves them out",)


def _seen_before(val_papers: LabelledPapers, inherited: npt.NDArray[np.uint64]) -> tuple[str, ...]:
    seen = int(val_papers.seen_by(inherited).sum())
    if not seen:
        return ()
    return (
        f"{val_papers.source}: the encoder was already trained on {seen:,} of {len(val_papers):,} validation papers; "
        "the validation score leaves them out",
    )


def _small_classes(papers: LabelledPapers, labels: LabelSet, counts: npt.NDArray[np.int64]) -> tuple[str, ...]:
    single = [name for name, count in zip(labels, counts, strict=True) if count == 1]
    absent = [name for name, count in zip(labels, counts, strict=True) if count == 0]
    return (
        *((f"{papers.source}: labels with only one paper: {listed_names(single)}",) if single else ()),
        *(
            (f"{papers.source}: no paper has the label {listed_names(absent)}, so it is never learned",)
            if absent
            else ()
        ),
    )


def _unchecked_classes(
    papers: LabelledPapers, labels: LabelSet, in_train: npt.NDArray[np.int64], in_val: npt.NDArray[np.int64]
) -> tuple[str, ...]:
    unchecked = [name for name, fitted, chosen in zip(labels, in_train, in_val, strict=True) if fitted and not chosen]
    if not unchecked:
        return ()
    return (
        f"{papers.source}: no validation paper has the label {listed_names(unchecked)}, so nothing shows whether it is "
        "learned",
    )


def listed_names(names: Sequence[str]) -> str:
    """Return label names for a message; the first few if there are many."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
