"""Label sets (ordered names whose positions are the label ids), and reading the labels that come with papers."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from specter_batch.errors import LabelError
from specter_batch.papers.columns import BLANKS, normalise_label

_RUN_OF_BLANKS = re.compile(f"[{re.escape(BLANKS)}]+")


def respelled(papers: Mapping[str, int]) -> tuple[str, ...]:
    """Return sentences about labels whose spelling `normalise_label` changed.

    Args:
        papers: Label as found in the data -> number of papers with it.

    Returns:
        One sentence per label that was found with another spelling than the normalised one.
    """
    spellings: dict[str, Counter[str]] = {}
    for label, count in papers.items():
        name = normalise_label(label)
        if name is not None:
            spellings.setdefault(name, Counter())[label] += count
    sentences = []
    for name, found_as in sorted(spellings.items()):
        others = {spelling: count for spelling, count in found_as.items() if spelling != name}
        if others:
            listed = ", ".join(f"{spelling!a} ({count:,} papers)" for spelling, count in sorted(others.items()))
            together = "; all of these are one class" if len(found_as) > 1 else ""
            sentences.append(f"the label {listed} is read as {name!r}{together}")
    return tuple(sentences)


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """Ordered label names; a label's id is its position.

    Every checkpoint and bundle stores the names in this order, so an id always means the same label.

    Raises:
        LabelError: A name is empty or occurs twice, or there are fewer than two names.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise LabelError(f"a label set needs at least two labels, got {list(self.names)}")
        if not all(name.strip() for name in self.names):
            raise LabelError(f"a label name is empty in {list(self.names)}")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise LabelError(f"label names must be unique, got twice: {', '.join(twice)}")

    @classmethod
    def from_values(cls, values: Iterable[str]) -> "LabelSet":
        """Build the set of the labels found in data.

        The order depends only on the names, never on their order of appearance: integers are sorted by value, names
        alphabetically. Labels that are equal after `normalise_label` are one label.
        """
        unique = {normalise_label(value) or "" for value in values}
        if all(value.isdecimal() for value in unique):
            return cls(names=tuple(sorted(unique, key=lambda value: (int(value), value))))
        return cls(names=tuple(sorted(unique)))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @cached_property
    def _exact(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    @cached_property
    def _normalised(self) -> dict[str, int]:
        """Normalised names, and ids written as digits. Labels of older models can have white space around them."""
        read_as = [normalise_label(name) for name in self.names]
        ids = {name: i for i, name in enumerate(read_as) if name is not None and read_as.count(name) == 1}
        if any(name.isdecimal() for name in self.names):
            return ids
        return {str(i): i for i in range(len(self.names))} | ids

    def find(self, value: str) -> int | None:
        """Return the id of a label given by name, or by its id written as digits; None if there is no such label.

        The value is first changed by `normalise_label`. If the names are numbers, a number is always read as a name:
        with labels "1" to "3", the result for "0" is None.
        """
        exact = self._exact.get(value)
        return exact if exact is not None else self._normalised.get(normalise_label(value) or "")

    def id_of(self, value: str) -> int:
        """Return the id of a label given by name, or by its id written as digits.

        Raises:
            LabelError: There is no label with this name or id.
        """
        label_id = self.find(value)
        if label_id is None:
            raise LabelError(f"unknown label {self.described(value)}; expected one of {', '.join(self.names)}")
        return label_id

    def described(self, value: str) -> str:
        """Return a message part about an unknown label, with the name that was probably meant."""
        folded = {name.casefold(): name for name in self.names}
        near = difflib.get_close_matches(value.casefold(), folded, n=1, cutoff=0.8)
        return f"{value!r} (did you mean {folded[near[0]]!r}?)" if near else repr(value)

    def lookalikes(self) -> tuple[tuple[str, ...], ...]:
        """Return the groups of names that differ only in case, in white space or in Unicode form."""
        groups: dict[str, list[str]] = {}
        for name in self.names:
            groups.setdefault(_appearance(name), []).append(name)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _appearance(name: str) -> str:
    return _RUN_OF_BLANKS.sub(" ", unicodedata.normalize("NFKC", name)).strip().casefold()


# The tables of SciDocs (Cohan et al. 2020, https://arxiv.org/abs/2004.07180): class_label 0-10 and 0-18.
MESH = LabelSet(
    names=(
        "Cardiovascular diseases",
        "Chronic kidney disease",
        "Chronic respiratory diseases",
        "Diabetes mellitus",
        "Digestive diseases",
        "HIV/AIDS",
        "Hepatitis A/B/C/E",
        "Mental disorders",
        "Musculoskeletal disorders",
        "Neoplasms (cancer)",
        "Neurological disorders",
    )
)
MAG = LabelSet(
    names=(
        "Art",
        "Biology",
        "Business",
        "Chemistry",
        "Computer science",
        "Economics",
        "Engineering",
        "Environmental science",
        "Geography",
        "Geology",
        "History",
        "Materials science",
        "Mathematics",
        "Medicine",
        "Philosophy",
        "Physics",
        "Political science",
        "Psychology",
        "Sociology",
    )
)
