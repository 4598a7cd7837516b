"""Makes the golden nights and ingests: small inputs, and what became of them.

Usage: PYTHONPATH=tests python tests/golden/make_runs.py

It was run once, and writes only where nothing is yet: what it wrote stands for the labels, rejects and reports that
people have kept. The papers are those of the demo, on which the golden bundle was trained.
"""

import gzip
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from specter_batch.training.demo.sample import make_papers
from support.golden_runs import EXPECTED, INGESTS, INPUTS, NIGHTS, record_all, write_recording
from support.papers_on_disk import ENGLISH, GERMAN

TITLE_ONLY = {"title": "A title and nothing more", "abstract": None}
# Lines that are no record of any format.
BROKEN = [b"no JSON", b"[1]", b'{"id": "x", "title": "caf\xe9"}', b'{"id": "y", "title": "\\ud83d"}']


def write_papers(folder: Path) -> None:
    """Write a night of two good files with every kind of odd paper, and a damaged third."""
    seen = make_papers(n_papers=8).to_pylist()
    new = make_papers(n_papers=48, seed=11).to_pylist()
    first, second, third = [*new[:22], *seen[:3]], [*new[22:36], *seen[3:5]], new[36:48]
    changes: dict[int, dict[str, Any]] = {
        3: {"title": None},
        4: {"abstract": None},
        5: {"abstract": "   "},
        6: {"abstract": GERMAN},
        7: {"paper_id": None},
        8: {"paper_id": first[1]["paper_id"]},
        9: {"title": first[2]["title"], "abstract": first[2]["abstract"]},
        10: {"label": "No such label"},
        11: {"label": None},
        12: {"abstract": f"{ENGLISH} " * 20},
        13: {"title": "NaN", "abstract": "None"},
    }
    first = [row | changes.get(i, {}) for i, row in enumerate(first)]
    second[0] |= {"paper_id": first[0]["paper_id"]}
    second[1] |= {"abstract": None}
    folder.mkdir(parents=True)
    for number, rows in enumerate((first, second, third)):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"part-{number}.parquet", row_group_size=12)
    damaged = bytearray((folder / "part-2.parquet").read_bytes())
    damaged[100:2000] = bytes(1900)  # of its pages, so that its rows are still counted
    (folder / "part-2.parquet").write_bytes(bytes(damaged))


def texts(number: int) -> dict[str, str]:
    """Return a title and an abstract with the blanks that dumps have."""
    return {"title": f"Outcomes of\n  trial {number}", "abstract": f"  {ENGLISH} {number}.\n"}


def write_dumps(folder: Path) -> None:
    """Write a dump in each format, with records that are odd or no records at all."""
    for name, content in (_line_dumps() | _whole_dumps()).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(line + b"\n" for line in [*(json.dumps(record).encode() for record in records), *BROKEN])


def _line_dumps() -> dict[str, bytes]:
    fields = [{"category": "Medicine", "source": "s2-fos-model"}]
    index = {word: [place] for place, word in enumerate(dict.fromkeys(ENGLISH.split()))}
    work = {"title": "T", "publication_year": 2020, "abstract_inverted_index": index}
    works = [work | {"id": f"https://openalex.org/W{n}", "display_name": f"Title {n}"} for n in range(1, 4)]
    arxiv = [
        {"id": f"2001.{n:05d}", "categories": "cs.CL stat.ML", "update_date": "2024-11-26", **texts(n)}
        | {"versions": [{"version": "v1", "created": f"Mon, 6 Jan 20{9 + n:02d} 19:18:42 GMT"}]}
        for n in range(1, 6)
    ]
    s2orc = [{"paper_id": str(n), "year": n and 2000 + n, "mag_field_of_study": ["Medicine"]} for n in range(3)]
    return {
        "arxiv/arxiv-metadata-oai-snapshot.json": _lines([*arxiv, arxiv[-1] | TITLE_ONLY, arxiv[3] | {"title": None}]),
        "jsonl/0.jsonl": _lines([{"id": n, "label": "Neoplasms" if n % 2 else None, **texts(n)} for n in range(3)]),
        "jsonl/1.jsonl": b'{"nothing": 1}\n',
        "openalex/works/updated_date=2026-11-19/part_0000.gz": _lines(
            [*works, works[0] | {"id": "https://openalex.org/W9", "abstract_inverted_index": ["a"]}]
        ),
        "openalex/works/updated_date=2026-11-20/part_0000.gz": _lines([works[1] | {"title": "Newer"}]),
        "s2ag/papers/0.gz": _lines(
            {"corpusid": n, "title": f"Trial {n}", "year": 2020, "s2fieldsofstudy": fields} for n in range(5)
        ),
        "s2ag/abstracts/0.gz": _lines({"corpusid": n, "abstract": f"{ENGLISH} {n}."} for n in (3, 1, 1, 8)),
        "s2orc/metadata_0.jsonl.gz": _lines(
            [*(record | texts(1) for record in s2orc), s2orc[1] | {"paper_id": "9", **TITLE_ONLY}]
        ),
    }


def _whole_dumps() -> dict[str, bytes]:
    doi = {"title": ["Title &amp; <i>more</i>"], "published": {"date-parts": [[2020, 5]]}}
    dois = [doi | {"DOI": f"10.5555/A{n}", "abstract": f"<jats:p>{ENGLISH} {n}</jats:p>"} for n in range(3)]
    mesh = (
        '<MeshHeadingList><MeshHeading><DescriptorName UI="D1" MajorTopicYN="Y">Neoplasms</DescriptorName>'
        "</MeshHeading></MeshHeadingList>"
    )
    citations = [
        f'<PubmedArticle><MedlineCitation><PMID Version="1">{n}</PMID><Article><Journal><JournalIssue><PubDate><Year>'
        f"{2000 + n}</Year></PubDate></JournalIssue></Journal><ArticleTitle>A <i>title</i> {n}</ArticleTitle><Abstract>"
        f'<AbstractText Label="METHODS">{ENGLISH}</AbstractText></Abstract></Article>{mesh if n % 2 else ""}'
        "</MedlineCitation></PubmedArticle>"
        for n in range(1, 5)
    ]
    deleted = '<DeleteCitation><PMID Version="1">3</PMID></DeleteCitation>'
    scidocs: dict[str, Any] = {f"a{n}": {"paper_id": f"a{n}", "year": 2010, **texts(n)} for n in range(3)}
    return {
        "crossref/0.json.gz": json.dumps({"items": [*dois, dois[0] | {"DOI": "10.5555/x", "title": []}, 7]}).encode(),
        "crossref/1.json": json.dumps(
            {"status": "ok", "message": {"items": [dois[1] | {"title": ["Again"]}]}}
        ).encode(),
        "csv/a.csv": f'paper_id,title,abstract,when\n1,"A ""b""",{ENGLISH},2020\n2,,x,\nshort,row\n'.encode(),
        "pubmed/pubmed26n0001.xml.gz": f"<PubmedArticleSet>{''.join(citations)}</PubmedArticleSet>".encode(),
        "pubmed/pubmed26n0002.xml.gz": f"<PubmedArticleSet>{citations[0]}{deleted}</PubmedArticleSet>".encode(),
        "pubmed/pubmed26n0003.xml.gz": f"<PubmedArticleSet>{citations[1]}<PubmedArticle>".encode(),
        "scidocs/paper_metadata_mag_mesh.json": json.dumps(scidocs | {"odd": [1], "none": TITLE_ONLY}).encode(),
    }


def main() -> None:
    """Write the inputs and what the commands make of them."""
    write_papers(INPUTS / "papers")
    write_dumps(INPUTS / "dumps")
    EXPECTED.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        for name, recorded in record_all(Path(scratch) / "runs", (NIGHTS | INGESTS).items()).items():
            write_recording(recorded, EXPECTED / f"{name}.json")


if __name__ == "__main__":
    main()
