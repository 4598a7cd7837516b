from pathlib import Path

import numpy as np
import pytest
from measuring.bench_papers import edited, read_usable, token_counts, with_turns

from specter_batch.errors import PaperSchemaError
from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.papers.language import EnglishFilter
from specter_batch.training.demo.sample import SamplePaths
from support.papers_on_disk import GERMAN, paper, write_dump

TEMPLATE = "{title}[SEP]{abstract}"


def test_only_papers_that_the_job_labels_are_read(tmp_path: Path) -> None:
    good = [paper(number) for number in range(5)]
    bad = [
        paper(5, paper_id=None),
        paper(6, title=" "),
        paper(7, abstract=None),
        paper(8, abstract=GERMAN, title="Ergebnisse einer großen Studie"),
        paper(9, paper_id="p1"),
        paper(10, title=good[0]["title"], abstract=good[0]["abstract"]),
    ]
    dump = write_dump(tmp_path / "papers.parquet", [*bad[:4], *good, *bad[4:]])
    assert read_usable(dump, most=5)["paper_id"].to_pylist() == [row["paper_id"] for row in good]
    with pytest.raises(PaperSchemaError, match=r"expected 6 papers in English .* got 5"):
        read_usable(dump, most=6)


def test_the_first_turns_have_the_lengths_of_all(tiny_encoder: Path, sample_paths: SamplePaths) -> None:
    encoder = TextEncoder(tiny_encoder / "tokenizer.json", max_length=512)
    papers = with_turns(read_usable(sample_paths.train, most=200), encoder, template=TEMPLATE)
    turns, lengths = papers["turn"].to_numpy(), token_counts(papers, encoder, template=TEMPLATE)
    assert sorted(turns) == list(range(200))
    spread = lengths.max() - lengths.min()
    for few in (8, 16, 33, 66):
        chosen = lengths[turns < few]
        assert abs(chosen.mean() - lengths.mean()) < 0.1 * spread
        assert abs(np.median(chosen) - np.median(lengths)) < 0.15 * spread


def test_an_edit_gives_every_paper_a_new_text_of_its_length(sample_paths: SamplePaths) -> None:
    papers = read_usable(sample_paths.train, most=60)
    once, again, other = edited(papers, seed=1), edited(papers, seed=1), edited(papers, seed=2)
    assert once.equals(again)
    assert once["paper_id"].equals(papers["paper_id"])
    texts = [text for table in (papers, once, other) for text in table["abstract"].to_pylist()]
    assert len(set(texts)) == 180
    for before, after in zip(papers["abstract"].to_pylist(), once["abstract"].to_pylist(), strict=True):
        assert sorted(after.split()[:-1]) == sorted(before.split())
        assert EnglishFilter().is_english(after)
