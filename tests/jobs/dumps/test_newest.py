from pathlib import Path

import pytest

from specter_jobs.dumps import newest
from support.dumps.on_disk import output_bytes, rows, run


def citation(pmid: int, title: str, *, version: int = 1, year: int = 2020) -> str:
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article><Journal><JournalIssue>'
        f"<PubDate><Year>{year}</Year></PubDate></JournalIssue></Journal><ArticleTitle>{title}</ArticleTitle>"
        "</Article></MedlineCitation></PubmedArticle>"
    )


def deleted(*pmids: int, version: int = 1) -> str:
    listed = "".join(f'<PMID Version="{version}">{pmid}</PMID>' for pmid in pmids)
    return f"<DeleteCitation>{listed}</DeleteCitation>"


def write(path: Path, *records: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"<PubmedArticleSet>{''.join(records)}</PubmedArticleSet>")


def titles(out: Path) -> dict[str, str]:
    found = [(row["paper_id"], row["title"]) for row in rows(out, "papers")]
    assert len(found) == len(dict(found))
    return dict(found)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    folder = tmp_path / "dump"
    write(folder / "n1.xml", *(citation(n, f"old {n}") for n in range(1, 10)))
    write(folder / "n2.xml", citation(2, "new 2"), citation(3, "new 3"), citation(11, "11"), deleted(5))
    return folder


def test_the_later_file_wins_and_deleted_papers_go(dump: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("pubmed", dump, out)
    expected = {str(n): f"old {n}" for n in (1, 4, 6, 7, 8, 9)} | {"2": "new 2", "3": "new 3", "11": "11"}
    assert titles(out) == expected
    assert result.account.records.model_dump() == {
        "read": 13,
        "papers": 9,
        "rejected": 3,
        "filtered": 0,
        "filtered_without_year": 0,
        "tombstones": 1,
    }
    assert [
        (row["file"], row["position"], row["paper_id"], row["reason"], row["detail"]) for row in rows(out, "rejects")
    ] == [
        ("n1.xml", 2, "2", "superseded", "by n2.xml record 1"),
        ("n1.xml", 3, "3", "superseded", "by n2.xml record 2"),
        ("n1.xml", 5, "5", "deleted", "by n2.xml record 4"),
    ]


def test_a_second_run_changes_nothing(dump: Path, tmp_path: Path) -> None:
    run("pubmed", dump, tmp_path / "out")
    before = output_bytes(tmp_path / "out")
    again = run("pubmed", dump, tmp_path / "out")
    assert again.account.this_run.files == 0
    assert output_bytes(tmp_path / "out") == before


def test_updates_that_come_later_give_the_bytes_of_one_run_over_all(dump: Path, tmp_path: Path) -> None:
    steps, whole = tmp_path / "steps", tmp_path / "whole"
    run("pubmed", dump, steps)
    write(dump / "n3.xml", citation(2, "newest 2"), citation(7, "new 7"), deleted(9, 11))
    second = run("pubmed", dump, steps)
    assert second.account.this_run.files == 1
    run("pubmed", dump, whole)
    assert output_bytes(steps) == output_bytes(whole)
    assert titles(steps)["2"] == "newest 2"
    assert {"9", "11", "5"}.isdisjoint(titles(steps))


def test_an_update_that_is_taken_away_again_gives_the_old_papers_back(dump: Path, tmp_path: Path) -> None:
    steps, whole = tmp_path / "steps", tmp_path / "whole"
    run("pubmed", dump, steps)
    (dump / "n2.xml").unlink()
    run("pubmed", dump, steps)
    run("pubmed", dump, whole)
    assert titles(steps) == {str(n): f"old {n}" for n in range(1, 10)}
    assert output_bytes(steps) == output_bytes(whole)


def test_the_higher_version_wins_over_the_later_file(tmp_path: Path) -> None:
    write(tmp_path / "dump" / "n1.xml", citation(1, "v2", version=2), citation(1, "v1", version=1))
    write(tmp_path / "dump" / "n2.xml", citation(1, "v1 again", version=1))
    run("pubmed", tmp_path / "dump", tmp_path / "out")
    assert titles(tmp_path / "out") == {"1": "v2"}


def test_a_tombstone_takes_out_its_own_version_and_older_ones_only(tmp_path: Path) -> None:
    write(tmp_path / "dump" / "n1.xml", citation(1, "v1"), citation(1, "v2", version=2), citation(2, "v1"))
    write(tmp_path / "dump" / "n2.xml", deleted(1, version=1), deleted(2, version=3))
    run("pubmed", tmp_path / "dump", tmp_path / "out")
    assert titles(tmp_path / "out") == {"1": "v2"}


def test_a_paper_that_comes_back_after_its_deletion_stays(tmp_path: Path) -> None:
    write(tmp_path / "dump" / "n1.xml", citation(1, "first"))
    write(tmp_path / "dump" / "n2.xml", deleted(1))
    write(tmp_path / "dump" / "n3.xml", citation(1, "back"))
    run("pubmed", tmp_path / "dump", tmp_path / "out")
    assert titles(tmp_path / "out") == {"1": "back"}


def test_a_newer_version_outside_the_years_takes_the_older_one_with_it(tmp_path: Path) -> None:
    write(tmp_path / "dump" / "n1.xml", citation(1, "old", year=2020), citation(2, "stays", year=2021))
    write(tmp_path / "dump" / "n2.xml", citation(1, "moved", year=1999))
    result = run("pubmed", tmp_path / "dump", tmp_path / "out", years=(2010, None))
    assert titles(tmp_path / "out") == {"2": "stays"}
    assert result.account.rejects_by_reason == {"superseded": 1}
    assert result.account.records.filtered == 1


def test_a_kill_between_rewritten_files_and_their_line_is_mended(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = newest.take_out

    def killed(*arguments: object, **more: object) -> None:
        real(*arguments, **more)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(newest, "take_out", killed)
        run("pubmed", dump, tmp_path / "out")
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    again = run("pubmed", dump, tmp_path / "out")
    run("pubmed", dump, tmp_path / "whole")
    assert output_bytes(tmp_path / "out") == output_bytes(tmp_path / "whole")
    assert again.account.this_run.files == 1
