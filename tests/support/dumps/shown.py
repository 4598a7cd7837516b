"""One paper in the format of each public dump, in files of the names that the pages of docs/dumps give them."""

import json
from collections.abc import Mapping
from typing import Any

from support.papers_on_disk import ENGLISH

TITLE = "Outcomes of a trial"
TEXTS = {"title": TITLE, "abstract": ENGLISH}


def _line(**record: Any) -> str:
    return json.dumps(record) + "\n"


_CROSSREF = {"DOI": "10.5555/1", "title": [TITLE], "abstract": ENGLISH, "issued": {"date-parts": [[2026]]}}
_PUBMED = (
    "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article>"
    "<Journal><JournalIssue><PubDate><Year>2026</Year></PubDate></JournalIssue></Journal>"
    f"<ArticleTitle>{TITLE}</ArticleTitle><Abstract><AbstractText>{ENGLISH}</AbstractText></Abstract>"
    "</Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"
)
_S2_FIELDS = [{"category": "Medicine", "source": "s2-fos-model"}]

OPENALEX = {
    "works/updated_date=2026-11-20/part_0000.gz": _line(
        id="https://openalex.org/W1",
        title=TITLE,
        publication_year=2026,
        abstract_inverted_index={word: [place] for place, word in enumerate(dict.fromkeys(ENGLISH.split()))},
        primary_topic={"field": {"display_name": "Medicine"}},
    )
}
# By page the files of its dump; those that end in .gz are to be compressed.
DUMPS: Mapping[str, Mapping[str, str]] = {
    "docs/dumps/arxiv.md": {"arxiv-metadata-oai-snapshot.json": _line(id="2601.00001", categories="cs.CL", **TEXTS)},
    "docs/dumps/crossref.md": {
        "crossref/0.json.gz": json.dumps({"items": [_CROSSREF]}),
        "works/0001.json": json.dumps({"status": "ok", "message": {"items": [_CROSSREF]}}),
    },
    "docs/dumps/index.md": {"baseline/pubmed26n0001.xml.gz": _PUBMED},
    "docs/dumps/openalex.md": OPENALEX,
    "docs/dumps/pubmed.md": {
        "baseline/pubmed26n0001.xml.gz": _PUBMED,
        "baseline/pubmed26n0001.xml.gz.md5": "MD5(pubmed26n0001.xml.gz)= d41d8cd98f00b204e9800998ecf8427e\n",
        "updatefiles/pubmed26n1335.xml.gz": _PUBMED,
    },
    "docs/dumps/s2ag.md": {
        "s2ag/papers/20261117_0.gz": _line(corpusid=1, title=TITLE, year=2026, s2fieldsofstudy=_S2_FIELDS),
        "s2ag/abstracts/20261117_0.gz": _line(corpusid=1, abstract=ENGLISH),
    },
    "docs/dumps/s2orc.md": {
        "metadata/metadata_0.jsonl.gz": _line(paper_id="1", year=2019, mag_field_of_study=["Medicine"], **TEXTS)
    },
    "docs/dumps/scidocs.md": {"data/paper_metadata_mag_mesh.json": _line(a1={"paper_id": "a1", "year": 2010, **TEXTS})},
    "docs/dumps/tables.md": {
        "exports/0.jsonl.gz": _line(id=1, **TEXTS),
        "papers.csv": f'doi,title,summary,when\n10.5555/1,{TITLE},"{ENGLISH}",2026\n',
        "papers.tsv": f"paper_id\ttitle\tabstract\n1\t{TITLE}\t{ENGLISH}\n",
        "spark.csv": f'paper_id,title,abstract\n1,"\\"{TITLE}\\"","{ENGLISH}"\n',
        "excel.csv": f'paper_id;title;abstract\n1;{TITLE};"{ENGLISH}"\n',
    },
}
