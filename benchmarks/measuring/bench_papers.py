"""The real papers that a benchmark labels, ordered so that any first few have the lengths of all."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from one_contender import TURN

from specter_batch.errors import PaperSchemaError
from specter_batch.inputs import parquet_inventory
from specter_batch.metrics.f1 import Ints
from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.language import EnglishFilter
from specter_batch.papers.parquet import open_parquet, read_papers
from specter_batch.papers.text import missing_values, paper_texts

READ_ROWS = 4096
GOLDEN_RATIO = (5**0.5 - 1) / 2
# The job detects the language with these columns.
LANGUAGE_TEMPLATE = "{title} {abstract}"
# An edit moves one word out of this number.
MOVED = 20


def read_usable(source: str | Path, *, most: int) -> pa.Table:
    """Return the first papers of a file, folder or glob that the job labels, in the canonical schema.

    They have an id, a title and an abstract, and are in English. No id and no text occurs twice.

    Raises:
        PaperSchemaError: There are fewer than `most`.
    """
    english, ids, texts = EnglishFilter(), set[str](), set[str]()
    tables: list[pa.Table] = []
    for path in (file.path for file in parquet_inventory(source).files):
        file = open_parquet(path)
        columns = PaperColumns().resolve(file.schema_arrow, where=str(path))
        for batch in read_papers(file, columns, where=str(path), batch_rows=READ_ROWS):
            blank = (
                missing_values(batch.table["paper_id"])
                | missing_values(batch.table["title"])
                | missing_values(batch.table["abstract"])
            )
            table = batch.table.filter(pa.array(~(blank | batch.invalid_unicode)))
            keep = []
            for paper_id, text in zip(
                table["paper_id"].to_pylist(), paper_texts(table, LANGUAGE_TEMPLATE), strict=True
            ):
                good = paper_id not in ids and text not in texts and english.is_english(text)
                keep.append(good and len(ids) < most)
                if keep[-1]:
                    ids.add(paper_id)
                    texts.add(text)
            tables.append(table.filter(pa.array(keep, pa.bool_())))
            if len(ids) == most:
                return pa.concat_tables(tables)
    raise PaperSchemaError(
        f"{source}: expected {most} papers in English with id, title and abstract, got {len(ids)}; "
        "give more papers, or ask for fewer with --papers and --compare"
    )


def with_turns(papers: pa.Table, encoder: TextEncoder, *, template: str) -> pa.Table:
    """Append the column `turn`. Any first papers by turn have nearly the same distribution of lengths as all papers.

    Papers are sorted by length. Turns jump along this order by the golden ratio, which leaves no gaps.
    """
    lengths = token_counts(papers, encoder, template=template)
    points = (0.5 + GOLDEN_RATIO * np.arange(len(papers))) % 1
    turns = np.empty(len(papers), dtype=np.int32)
    turns[np.argsort(lengths, kind="stable")[points.argsort().argsort()]] = np.arange(len(papers))
    return papers.append_column(TURN, pa.array(turns))


def token_counts(papers: pa.Table, encoder: TextEncoder, *, template: str) -> Ints:
    """Return the lengths of the papers `(n,)` in tokens, limited to the model's maximum."""
    token_ids = encoder.encode(paper_texts(papers, template))
    return np.array([len(ids) for ids in token_ids], dtype=np.int64)


def hardest_to_start_with(papers: pa.Table) -> int:
    """Return the row of a paper whose language needs langdetect, or 0 if there is no such paper.

    The first such paper makes the job load langdetect's profiles. This is part of a night's start-up.
    """
    english = EnglishFilter()
    texts = paper_texts(papers, LANGUAGE_TEMPLATE)
    return next((row for row, text in enumerate(texts) if english.screen(text) is None), 0)


def edited(papers: pa.Table, *, seed: int) -> pa.Table:
    """Return papers with new texts: some words of each abstract are moved, and a new word is added at its end.

    Lengths and language do not change. The same seed gives the same texts.
    """
    rng = np.random.default_rng(seed)
    changed = []
    for i, abstract in enumerate(papers["abstract"].to_pylist()):
        words = abstract.split()
        places = rng.choice(len(words), size=-(-len(words) // MOVED), replace=False)
        for place, word in zip(places, [words[place] for place in np.roll(places, 1)], strict=True):
            words[place] = word
        changed.append(" ".join([*words, f"{seed}.{i}"]))
    return papers.set_column(papers.schema.get_field_index("abstract"), "abstract", pa.array(changed, pa.string()))
