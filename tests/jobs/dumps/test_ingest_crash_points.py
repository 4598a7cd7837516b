"""An ingest is stopped at each step on disk, and run again: the bytes are those of an ingest that was left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.crash.stopped_disk import Disk, StoppedError
from support.dumps.on_disk import output_bytes, run


def write_csv(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    lines = [f'{n},Title {n},"Text, {n}"' for n in range(30)]
    (folder / "a.csv").write_text("\n".join(["paper_id,title,abstract", *lines, "30,no abstract"]))
    (folder / "b.tsv").write_text('paper_id\ttitle\tabstract\n40\t"Odd" title\tText\n41\tTitle\tText\n')


def write_pubmed(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    citation = (
        "<PubmedArticle><MedlineCitation><PMID Version='1'>{0}</PMID><Article><ArticleTitle>{1}</ArticleTitle>"
        "</Article></MedlineCitation></PubmedArticle>"
    )
    for number in (1, 2):
        papers = "".join(citation.format(n, f"Of file {number}") for n in range(number, 6))
        gone = "<DeleteCitation><PMID Version='1'>3</PMID></DeleteCitation>" if number == 2 else ""
        (folder / f"pubmed26n000{number}.xml").write_text(f"<PubmedArticleSet>{papers}{gone}</PubmedArticleSet>")


@pytest.mark.parametrize(("name", "write"), [("csv", write_csv), ("pubmed", write_pubmed)])
def test_an_ingest_that_is_stopped_anywhere_ends_in_the_same_bytes(
    name: str, write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "dump")
    run(name, tmp_path / "dump", tmp_path / "whole")
    expected = output_bytes(tmp_path / "whole")
    with monkeypatch.context() as patched:
        disk = Disk(patched)
        run(name, tmp_path / "dump", tmp_path / "counted")
        n_steps = disk.steps
    assert n_steps > 20
    for last in range(n_steps):
        out = tmp_path / f"out-{last}"
        with monkeypatch.context() as patched, pytest.raises(StoppedError):
            Disk(patched, last=last)
            run(name, tmp_path / "dump", out)
        assert not (out / "_SUCCESS").exists() or output_bytes(out) == expected
        run(name, tmp_path / "dump", out)
        assert output_bytes(out) == expected, last
        assert (out / "_SUCCESS").exists()
        assert not list(out.rglob("*.partial"))
