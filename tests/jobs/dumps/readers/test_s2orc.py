import io
import json
from typing import Any

import pytest

from specter_batch.papers.labels import MAG
from specter_jobs.dumps.readers.s2orc import S2orcReader
from specter_jobs.dumps.records import PaperRecord, ReadOptions


def paper(label: str | None = "mag_field_of_study", **changes: Any) -> PaperRecord:
    record = {"paper_id": "77", "title": "T", "abstract": None, "year": 1975, "mag_field_of_study": ["Medicine"]}
    stream = io.BytesIO(json.dumps(record | changes).encode())
    (found,) = S2orcReader().read(stream, ReadOptions(label=label))
    assert isinstance(found, PaperRecord)
    return found


def test_a_null_abstract_stays_null() -> None:
    assert paper() == PaperRecord(paper_id="77", title="T", abstract=None, label="Medicine", year=1975, position=1)


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        (["Medicine"], "Medicine"),
        (["Medicine", "Biology"], None),
        ([], None),
        (None, None),
        (["Computer Science"], "Computer science"),
        (["A Field Of Tomorrow"], "A Field Of Tomorrow"),
    ],
)
def test_a_single_field_of_study_is_the_label_by_the_name_it_has_in_scidocs(
    fields: list[str] | None, label: str | None
) -> None:
    assert paper(mag_field_of_study=fields).label == label


def test_every_field_of_study_meets_its_class() -> None:
    assert {paper(mag_field_of_study=[name.title()]).label for name in MAG} == set(MAG)


def test_labels_can_be_left_out() -> None:
    assert paper(label=None).label is None


@pytest.mark.parametrize(("year", "read"), [(None, None), (2001, 2001), ("2001", 2001), (2001.0, 2001), (-1, None)])
def test_an_odd_year_costs_no_paper(year: object, read: int | None) -> None:
    assert paper(year=year).year == read


def test_the_colons_of_a_structured_abstract_are_line_breaks() -> None:
    assert paper(abstract="BACKGROUND ::: A text: one. ::: ::: RESULTS:::Another.").abstract == (
        "BACKGROUND\nA text: one.\nRESULTS\nAnother."
    )
