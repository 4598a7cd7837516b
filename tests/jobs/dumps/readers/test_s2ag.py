import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from specter_batch.errors import PaperSchemaError, ShardError
from specter_jobs.dumps.inputs import InputCount
from specter_jobs.dumps.readers.s2ag import S2agReader, join_s2ag, split_s2ag
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions

MODEL, EXTERNAL = "s2-fos-model", "external"


def paper_line(corpusid: Any, **values: Any) -> dict[str, Any]:
    return {"corpusid": corpusid, "title": f"Title {corpusid}", "year": 2020, "s2fieldsofstudy": None} | values


def abstract_line(corpusid: Any, abstract: Any = "") -> dict[str, Any]:
    text = f"Abstract {corpusid}." if abstract == "" else abstract
    return {"corpusid": corpusid, "openaccessinfo": {"license": None}, "abstract": text}


def write(path: Path, lines: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def join(
    tmp_path: Path, papers: list[Path], abstracts: list[Path], label: str | None = None, **sizes: int
) -> list[Any]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    found = list(join_s2ag(papers, abstracts, scratch, ReadOptions(label=label), InputCount(), **sizes))
    assert list(scratch.iterdir()) == []
    return found


def test_abstracts_find_their_papers_and_papers_come_by_corpusid(tmp_path: Path) -> None:
    papers = [write(tmp_path / "p0.jsonl.gz", [paper_line(9), paper_line(10)]), write(tmp_path / "p1", [paper_line(2)])]
    abstracts = [write(tmp_path / "a.gz", [abstract_line(10), abstract_line(77), abstract_line(9)])]
    assert join(tmp_path, papers, abstracts) == [
        PaperRecord(paper_id="2", title="Title 2", abstract=None, year=2020, position=1),
        PaperRecord(paper_id="9", title="Title 9", abstract="Abstract 9.", year=2020, position=1),
        PaperRecord(paper_id="10", title="Title 10", abstract="Abstract 10.", year=2020, position=2),
    ]


def test_the_join_does_not_depend_on_the_order_of_lines(tmp_path: Path) -> None:
    numbers = list(range(12_000))
    forth = [paper_line(n) for n in numbers], [abstract_line(n) for n in numbers if n % 3]
    back = forth[0][::-1], forth[1][::-1]
    found = []
    for name, (papers, abstracts) in {"forth": forth, "back": back}.items():
        files = [write(tmp_path / f"{name}-p.jsonl", papers)], [write(tmp_path / f"{name}-a.jsonl", abstracts)]
        found.append([(record.paper_id, record.abstract) for record in join(tmp_path, *files)])
    assert found[0] == found[1] == [(str(n), f"Abstract {n}." if n % 3 else None) for n in numbers]


def test_papers_that_stand_twice_stay_two_and_the_first_abstract_counts(tmp_path: Path) -> None:
    papers = write(tmp_path / "p.jsonl", [paper_line(1, title="One"), paper_line(1, title="Again")])
    abstracts = write(
        tmp_path / "a.jsonl", [abstract_line(1, None), abstract_line(1, "First."), abstract_line(1, "Later.")]
    )
    found = join(tmp_path, [papers], [abstracts])
    assert [(record.title, record.abstract) for record in found] == [("One", "First."), ("Again", "First.")]


@pytest.mark.parametrize("abstract", [None, "   "])
def test_an_empty_abstract_is_none(tmp_path: Path, abstract: str | None) -> None:
    papers, abstracts = write(tmp_path / "p", [paper_line(1)]), write(tmp_path / "a", [abstract_line(1, abstract)])
    (record,) = join(tmp_path, [papers], [abstracts])
    assert record.abstract is None


def test_the_label_is_the_one_category_of_the_source_asked_for(tmp_path: Path) -> None:
    fields = [("Medicine", MODEL), ("Biology", EXTERNAL), ("Biology", EXTERNAL), ("History", "other")]
    listed = [{"category": category, "source": source} for category, source in fields]
    several = [*listed, {"category": "Art", "source": MODEL}]
    lines = [paper_line(1, s2fieldsofstudy=listed), paper_line(2, s2fieldsofstudy=several)]
    lines += [paper_line(3, s2fieldsofstudy=value) for value in (None, [], "odd", [None, {"source": MODEL}])]
    papers, abstracts = [write(tmp_path / "p", lines)], [write(tmp_path / "a", [abstract_line(1)])]
    assert [record.label for record in join(tmp_path, papers, abstracts, MODEL)] == ["Medicine"] + [None] * 5
    assert [record.label for record in join(tmp_path, papers, abstracts, EXTERNAL)] == ["Biology"] * 2 + [None] * 4
    assert {record.label for record in join(tmp_path, papers, abstracts)} == {None}
    assert S2agReader.label_choices == (MODEL, EXTERNAL)


def test_malformed_lines_come_last_with_their_file_and_line(tmp_path: Path) -> None:
    papers = write(
        tmp_path / "p.jsonl", [paper_line("x"), paper_line(2), '{"corpusid": 3, "ti', "[1]", paper_line(4, title=5)]
    )
    abstracts = write(tmp_path / "a.jsonl.gz", ["", abstract_line(2), {"corpusid": 2}, paper_line(None, abstract="x")])
    found = join(tmp_path, [papers], [abstracts])
    assert [record.paper_id for record in found] == ["2", "4", None, None, None, None, None]
    assert found[0].abstract == "Abstract 2."
    rejects = [record for record in found if isinstance(record, MalformedRecord)]
    assert sorted((record.detail.split(":")[0], record.position) for record in rejects) == [
        ("a.jsonl.gz line 3", 3),
        ("a.jsonl.gz line 4", 4),
        ("p.jsonl line 1", 1),
        ("p.jsonl line 3", 3),
        ("p.jsonl line 4", 4),
        ("p.jsonl line 5", 5),
    ]
    assert any("corpusid should be a whole number, got x" in record.detail for record in rejects)


def test_odd_values_do_not_cost_a_paper(tmp_path: Path) -> None:
    lines = [paper_line("7", year="1999", title=" Two\n lines "), paper_line(8, year="n. d.", title=None)]
    found = join(tmp_path, [write(tmp_path / "p", lines)], [write(tmp_path / "a", [])])
    assert [(record.paper_id, record.title, record.year) for record in found] == [
        ("7", "Two lines", 1999),
        ("8", None, None),
    ]


def test_a_truncated_file_fails_the_join_before_it_gives_papers_without_abstracts(tmp_path: Path) -> None:
    papers = write(tmp_path / "p.jsonl", [paper_line(n) for n in range(2_000)])
    abstracts = write(tmp_path / "a.jsonl.gz", [abstract_line(n, f"{n * n} words") for n in range(2_000)])
    abstracts.write_bytes(abstracts.read_bytes()[:-2_000])
    with pytest.raises(ShardError, match=r"a\.jsonl\.gz: breaks off .*fetch it again"):
        join(tmp_path, [papers], [abstracts])


def test_buckets_and_writes_of_any_size_give_the_same_papers(tmp_path: Path) -> None:
    numbers = [(n * 7_919) % 3_000 for n in range(3_000)]
    papers = [write(tmp_path / f"p{n}.jsonl", [paper_line(number) for number in numbers[n::3]]) for n in range(3)]
    abstracts = [write(tmp_path / "a.jsonl", [*map(abstract_line, numbers), "broken"])]
    whole = join(tmp_path, papers, abstracts)
    assert join(tmp_path, papers, abstracts, bucket_ids=7, gathered_characters=100_000) == whole
    assert [record.paper_id for record in whole] == [*map(str, range(3_000)), None]


def test_the_datasets_are_told_apart_by_content_whatever_their_names(tmp_path: Path) -> None:
    papers = write(tmp_path / "abstracts-of-nothing.jsonl", [paper_line(1)])
    abstracts = write(tmp_path / "20240101_00001.gz", ["broken", abstract_line(1)])
    other = write(tmp_path / "papers-tldrs.jsonl", [{"corpusid": 1, "model": "m", "text": "short"}])
    citations = write(tmp_path / "citations.jsonl", [{"citingcorpusid": 1, "citedcorpusid": 2}])
    assert split_s2ag([papers, abstracts, other, citations]) == ([papers], [abstracts])


def test_empty_files_are_told_by_the_name_of_file_or_folder(tmp_path: Path) -> None:
    papers, abstracts = write(tmp_path / "papers/part0.gz", []), write(tmp_path / "part0.abstracts.jsonl", [])
    assert split_s2ag([papers, abstracts]) == ([papers], [abstracts])
    with pytest.raises(PaperSchemaError, match="no record shows whether"):
        split_s2ag([papers, abstracts, write(tmp_path / "x.jsonl", ["broken"])])


def test_both_datasets_are_needed(tmp_path: Path) -> None:
    with pytest.raises(PaperSchemaError, match="0 papers files and 1 abstracts files"):
        split_s2ag([write(tmp_path / "a.jsonl", [abstract_line(1)])])


def test_a_file_of_papers_can_be_read_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [paper_line(2), "broken", paper_line(1, abstract="Its own.")])
    with path.open("rb") as stream:
        found = list(S2agReader().read(stream, ReadOptions()))
    assert [(record.position, record.paper_id) for record in found] == [(1, "2"), (2, None), (3, "1")]
    assert found[2] == PaperRecord(paper_id="1", title="Title 1", abstract="Its own.", year=2020, position=3)
