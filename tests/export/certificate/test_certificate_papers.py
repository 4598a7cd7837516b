from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.options.screening import ScreeningRules
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.text import TEXT_TEMPLATE, normalised_text_hash, paper_text, text_hash
from specter_batch.training.demo.sample import make_papers
from specter_export.certificate.papers import COPY, SEEN, ChosenPapers, PaperChooser

JOB = ScreeningRules()
FRENCH = "Nous avons étudié les effets de ce traitement chez des patients dans une étude qui dure depuis un mois. " * 3


def batch(papers: pa.Table) -> PaperBatch:
    table = pa.table({name: papers[name] for name in PAPER_SCHEMA.names}, schema=PAPER_SCHEMA)
    return PaperBatch(table=table, invalid_unicode=np.zeros(papers.num_rows, dtype=np.bool_))


def chosen(
    batches: Sequence[PaperBatch],
    *,
    count: int = 1000,
    seen: Sequence[str] = (),
    rules: ScreeningRules = JOB,
) -> ChosenPapers:
    hashes = np.unique(np.array([normalised_text_hash(text) for text in seen], dtype=np.uint64))
    chooser = PaperChooser(count=count, rules=rules, template=TEXT_TEMPLATE, seen_texts=hashes)
    for one in batches:
        chooser.add(one)
    return chooser.chosen()


def texts_of(papers: pa.Table) -> list[str]:
    return [paper_text(row["title"], row["abstract"]) for row in papers.to_pylist()]


@given(count=st.integers(1, 80), size=st.integers(10, 60), seed=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_the_choice_is_that_of_the_smallest_hashes_whatever_the_order(count: int, size: int, seed: int) -> None:
    papers = make_papers(n_papers=60, seed=5)
    order = np.random.default_rng(seed).permutation(60)
    batches = [batch(papers.take(order[start : start + size])) for start in range(0, 60, size)]
    expected = sorted(set(texts_of(papers)), key=text_hash)[:count]
    assert list(chosen(batches, count=count).texts) == expected


def test_papers_of_the_training_data_copies_and_other_languages_are_left_out_and_counted() -> None:
    papers = make_papers(n_papers=40, seed=5).to_pylist()
    texts = [paper_text(row["title"], row["abstract"]) for row in papers]
    rows = [
        *papers,
        papers[7],
        {**papers[8], "title": None},
        {**papers[9], "abstract": "  "},
        {**papers[10], "title": "Une étude", "abstract": FRENCH},
    ]
    found = chosen([batch(pa.Table.from_pylist(rows, schema=PAPER_SCHEMA))], seen=[text.upper() for text in texts[:5]])
    assert set(found.texts) == set(texts[5:])
    assert found.papers == 44
    assert found.left_out == {COPY: 1, SEEN: 5, "missing_abstract": 1, "missing_title": 1, "not_english": 1}
    assert (
        found.left_out_text
        == "1 copy_of_another, 1 missing_abstract, 1 missing_title, 1 not_english, 5 seen_in_training"
    )


def test_the_rules_decide_which_papers_can_be_labelled() -> None:
    rows = make_papers(n_papers=3, seed=5).to_pylist()
    rows[0] |= {"abstract": None}
    rows[1] |= {"abstract": FRENCH}
    papers = [batch(pa.Table.from_pylist(rows, schema=PAPER_SCHEMA))]
    assert len(chosen(papers).texts) == 1
    assert len(chosen(papers, rules=ScreeningRules(language="any", missing_abstract="title_only")).texts) == 3
