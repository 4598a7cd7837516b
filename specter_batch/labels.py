"""Label sets: ordered names whose positions are the label ids."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from specter_batch.errors import LabelError


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """Ordered label names; a label's id is its position.

    The order is written by name into every checkpoint and bundle, so an id always means the same label.

    Raises:
        LabelError: A name is empty or stands twice, or there are fewer than two.
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

        The order depends on the names alone, never on their order of appearance: whole numbers by value, names
        alphabetically.
        """
        unique = set(values)
        if all(value.isdecimal() for value in unique):
            return cls(names=tuple(sorted(unique, key=lambda value: (int(value), value))))
        return cls(names=tuple(sorted(unique)))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def find(self, value: str) -> int | None:
        """Return the id of a label given by name, or by its id written as digits; None when it is neither.

        Where names are numbers themselves, a number is always a name: with labels 1 to 3, "0" is none of them.
        """
        if value in self.names:
            return self.names.index(value)
        ids = {str(i): i for i in range(len(self.names))}
        return None if any(name.isdecimal() for name in self.names) else ids.get(value)

    def id_of(self, value: str) -> int:
        """Return the id of a label given by name, or by its id written as digits.

        Raises:
            LabelError: The value is neither.
        """
        found = self.find(value)
        if found is None:
            raise LabelError(f"unknown label {value!r}; expected one of {', '.join(self.names)}")
        return found


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
