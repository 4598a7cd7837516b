import io
import json
from typing import Any

import pytest

from specter_jobs.dumps.readers.arxiv import ArxivReader
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions
from support.dumps.on_disk import arxiv


def read(*records: dict[str, Any], label: str | None = None) -> list[PaperRecord | MalformedRecord]:
    stream = io.BytesIO("".join(json.dumps(record) + "\n" for record in records).encode())
    return list(ArxivReader().read(stream, ReadOptions(label=label)))


def paper(label: str | None = None, **changes: Any) -> PaperRecord:
    (found,) = read(arxiv(1, **changes), label=label)
    assert isinstance(found, PaperRecord)
    return found


def test_line_wraps_and_leading_blanks_become_single_blanks() -> None:
    found = paper(title="A title\n  that  wraps", abstract="  First line\nsecond.\n  A new paragraph.\n")
    assert found.title == "A title that wraps"
    assert found.abstract == "First line second. A new paragraph."


def test_a_label_is_given_only_when_asked_for() -> None:
    assert paper().label is None


@pytest.mark.parametrize(
    ("categories", "archive", "category"),
    [
        ("cs.CL stat.ML", "cs", "cs.CL"),
        ("hep-ph", "hep-ph", "hep-ph"),
        ("cond-mat.mes-hall", "cond-mat", "cond-mat.mes-hall"),
        ("cmp-lg cs.CL", "cs", "cs.CL"),
        ("alg-geom", "math", "math.AG"),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_first_category_is_the_label_and_closed_archives_go_where_arxiv_put_them(
    categories: str | None, archive: str | None, category: str | None
) -> None:
    assert paper("archive", categories=categories).label == archive
    assert paper("category", categories=categories).label == category


def test_the_year_is_that_of_the_first_version() -> None:
    assert paper().year == 2020


@pytest.mark.parametrize(
    ("paper_id", "year"), [("0704.0001", 2007), ("hep-th/9901001", 1999), ("2412.12345", 2024), ("odd", None)]
)
def test_without_versions_the_year_is_read_off_the_id(paper_id: str, year: int | None) -> None:
    assert paper(id=paper_id, versions=[]).year == year
    assert paper(id=paper_id, versions=[{"version": "v1", "created": None}]).year == year


@pytest.mark.parametrize(
    "comments",
    [
        "This paper has been withdrawn by the author due to a crucial sign error in equation 1",
        "This paper has been\n  withdrawn",
        "Withdrawn",
        "Paper withdrawn",
        "withdrawn by the author",
        "This paper is withdrawn",
        "12 pages, 3 figures. This paper has been withdrawn",
        "10 pages, withdrawn",
        "(withdrawn)",
        "Temporarily withdrawn",
        "This submission has been withdrawn by arXiv administrators",
        "arXiv admin note: submission withdrawn by arXiv",
        "The paper has now been withdrawn",
        "The authors have withdrawn this paper",
        "This paper has been withdrawn and replaced by arXiv:0801.0001",
        "This paper has been withdrawn from arXiv, as its proof of Theorem 3 has a gap",
        "The article was withdrawn from the arXiv at the request of its author",
        "7 pages; withdrawn from this archive",
        "This manuscript is being withdrawn",
        "We withdraw this paper because of an error in Section 2",
        "The author withdraws the paper",
        "The submission had to be withdrawn",
    ],
)
def test_a_paper_that_its_comments_call_withdrawn_is_marked(comments: str) -> None:
    assert paper(comments=comments).withdrawn == " ".join(comments.split())


@pytest.mark.parametrize(
    "comments",
    [
        None,
        "12 pages",
        "Replaces withdrawn paper arXiv:0704.1234",
        "Supersedes the withdrawn arXiv:0704.1234",
        "an earlier version was withdrawn",
        "An earlier paper was withdrawn",
        "The previous submission was withdrawn",
        "Withdrawn from the conference",
        "This paper was withdrawn from ICML and extended",
        "We study how banks withdraw the support",
        "The paper replaces one that authors had withdrawn",
        "A study of 12 withdrawn drugs",
    ],
)
def test_a_paper_whose_comments_speak_of_something_else_withdrawn_is_not(comments: str | None) -> None:
    assert paper(comments=comments).withdrawn is None


@pytest.mark.parametrize(
    ("abstract", "withdrawn"),
    [
        ("  This paper has been withdrawn by the author.\n", True),
        ("This paper (hep-th/9901001) has been withdrawn.", True),
        ("Withdrawn.", True),
        ("This paper has been withdrawn from arXiv because of a sign error.", True),
        ("We withdraw this paper.", True),
        ("We withdraw the assumption of independence in models of risk.", False),
        ("Paper withdrawn due to an error", True),
        ("The authors have withdrawn this paper.", True),
        ("Drugs withdrawn from the market are studied.", False),
        ("Withdrawn applications are modelled.", False),
        ("We study papers that have been withdrawn by their authors.", False),
        ("This paper studies how an article is withdrawn.", False),
    ],
)
def test_an_abstract_that_only_tells_of_the_withdrawal_marks_the_paper(abstract: str, withdrawn: bool) -> None:
    assert (paper(abstract=abstract).withdrawn is not None) == withdrawn


def test_a_record_of_another_dump_is_malformed_and_says_what_is_missing() -> None:
    (found,) = read({"id": "7", "title": "T", "abstract": "A"})
    assert found == MalformedRecord(
        position=1, detail="no field categories; its fields are id, title, abstract", paper_id="7"
    )


def test_a_title_that_is_no_text_is_malformed() -> None:
    found = read(arxiv(1), arxiv(2, title=["a"]))
    assert found[1] == MalformedRecord(position=2, detail="title should be text, got a list", paper_id="2001.00002")
