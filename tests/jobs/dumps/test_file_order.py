"""PubMed's files are applied by their numbers, wherever they are and whatever their folders are called."""

import itertools
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from specter_jobs.dumps.ingest import IngestRequest, ingest
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.readers.pubmed import PubmedReader
from support.dumps.on_disk import rows


def citation(pmid: int, title: str) -> str:
    article = f"<Article><ArticleTitle>{title}</ArticleTitle></Article>"
    return f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID>{article}</MedlineCitation></PubmedArticle>"


def deletion(pmid: int) -> str:
    return f"<DeleteCitation><PMID>{pmid}</PMID></DeleteCitation>"


def write(path: Path, *records: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<PubmedArticleSet>{''.join(records)}</PubmedArticleSet>")


def titles(dump: Path, out: Path) -> tuple[dict[str, str], str]:
    console = Console(file=StringIO(), width=500)
    ingest(IngestRequest(format=Format(name="pubmed"), source=str(dump), out=out), console=console)
    return {row["paper_id"]: row["title"] for row in rows(out, "papers")}, console.file.getvalue()  # type: ignore[attr-defined]


def test_numbers_count_not_folders_and_years_before_numbers(tmp_path: Path) -> None:
    write(
        tmp_path / "in/z-baseline/pubmed26n0002.xml", citation(1, "Baseline"), citation(2, "Gone"), citation(3, "Kept")
    )
    write(tmp_path / "in/a-updates/pubmed26n1200.xml", citation(1, "Update"), deletion(2))
    write(tmp_path / "in/b/pubmed26n1199.xml", citation(1, "Older update"), citation(2, "Old"))
    found, said = titles(tmp_path / "in", tmp_path / "out")
    assert found == {"1": "Update", "3": "Kept"}
    assert "warning" not in said
    write(tmp_path / "in/0/PubMed27N0001.xml", citation(1, "Next year"))
    assert titles(tmp_path / "in", tmp_path / "next")[0]["1"] == "Next year"


def test_a_file_without_a_number_is_the_newest_and_named(tmp_path: Path) -> None:
    write(tmp_path / "in/pubmed26n0002.xml", citation(1, "Baseline"))
    write(tmp_path / "in/efetch.xml", citation(1, "Fetched"))
    found, said = titles(tmp_path / "in", tmp_path / "out")
    assert found == {"1": "Fetched"}
    assert "no number in the name of efetch.xml" in said


def test_a_file_without_records_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in/pubmed26n0002.xml", citation(1, "One"))
    write(tmp_path / "in/pubmed26n0003.xml")
    assert "no record in pubmed26n0003.xml" in titles(tmp_path / "in", tmp_path / "out")[1]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("pubmed26n0001.xml.gz", (2026, 1)),
        ("x/medline99n0500.xml", (1999, 500)),
        ("26n1/pubmed27n12345.xml (1)", (2027, 12345)),
        ("pubmed2026.xml", None),
        ("efetch.xml", None),
    ],
)
def test_year_and_number_are_in_the_name(name: str, order: tuple[int, int] | None) -> None:
    assert PubmedReader().file_order(name) == order


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_the_last_word_on_each_paper_counts(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """What comes out of files in any folders is what applying them one after another by hand gives."""
    numbers = data.draw(st.lists(st.tuples(st.integers(25, 27), st.integers(1, 9999)), unique=True, max_size=5))
    tmp_path, folders = tmp_path_factory.mktemp("pubmed"), itertools.cycle("cab")
    expected: dict[str, str] = {}
    for year, number in sorted(numbers):
        deeds = data.draw(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=4))
        records = []
        for at, (pmid, deleted) in enumerate(deeds):
            records.append(deletion(pmid) if deleted else citation(pmid, f"{year} {number} {at}"))
            if deleted:
                expected.pop(str(pmid), None)
            else:
                expected[str(pmid)] = f"{year} {number} {at}"
        write(tmp_path / "in" / next(folders) / f"pubmed{year}n{number:04d}.xml", *records)
    if numbers:
        assert titles(tmp_path / "in", tmp_path / "out")[0] == expected
