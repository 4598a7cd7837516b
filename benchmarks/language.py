"""Compare the English filter with seeded langdetect alone, side by side on the papers of parquet files.

Usage: python benchmarks/language.py PARQUET...
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence

import langdetect

from specter_batch.inputs import parquet_inventory
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.language import MAX_CHARACTERS, EnglishFilter
from specter_batch.papers.parquet import open_parquet, read_papers
from specter_batch.papers.text import paper_texts


def read_texts(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the ids of all papers and their texts, title and abstract joined by a space."""
    paper_ids, texts = [], []
    for source in sources:
        for path in (file.path for file in parquet_inventory(source).files):
            file = open_parquet(path)
            columns = PaperColumns().resolve(file.schema_arrow, where=str(path))
            for batch in read_papers(file, columns, where=str(path), batch_rows=1024):
                paper_ids += batch.table["paper_id"].to_pylist()
                texts += paper_texts(batch.table, "{title} {abstract}")
    return paper_ids, texts


def langdetect_alone(text: str) -> str:
    """Return the answer of langdetect as its README uses it, on the whole text."""
    try:
        return str(langdetect.detect(text))
    except langdetect.LangDetectException:
        return "unknown"


def timed(decide: Callable[[str], str | None], texts: Sequence[str]) -> tuple[list[str | None], float]:
    """Return each text's answer and the texts per second."""
    start = time.perf_counter()
    answers = [decide(text) for text in texts]
    return answers, len(texts) / (time.perf_counter() - start)


def main() -> None:
    """Print agreement, disagreements, speeds and the share of texts that the screen leaves to langdetect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parquet", nargs="+", help="files, folders or globs of papers")
    paper_ids, texts = read_texts(parser.parse_args().parquet)
    if not texts:
        parser.error("no papers in these files")

    english_filter = EnglishFilter()
    langdetect.DetectorFactory.seed = english_filter.seed
    # Both load their profiles before the clock starts.
    langdetect_alone("warm up")
    english_filter.language("warm up")

    screened, screen_speed = timed(lambda text: english_filter.screen(text[:MAX_CHARACTERS]), texts)
    ours, our_speed = timed(english_filter.language, texts)
    alone, alone_speed = timed(langdetect_alone, texts)

    rows = list(zip(paper_ids, texts, screened, ours, alone, strict=True))
    disagreements = [row for row in rows if (row[3] == "en") != (row[4] == "en")]
    asked = Counter(language for *_, screen, _, language in rows if screen is None)
    totals = Counter(alone)
    print(f"papers          {len(rows):,}")
    print(f"agreement       {len(rows) - len(disagreements):,} of {len(rows):,} on English or not")
    print(
        f"to langdetect   {asked.total():,} ({asked.total() / len(rows):.2%}); of its English {asked['en']:,}", end=" "
    )
    print(f"of {totals['en']:,} ({asked['en'] / max(totals['en'], 1):.2%})")
    print(f"texts/s         screen {screen_speed:,.0f}, filter {our_speed:,.0f}, langdetect alone {alone_speed:,.0f}")
    print("langdetect says " + ", ".join(f"{language} {count:,}" for language, count in totals.most_common()))
    for paper_id, text, screen, our, language in disagreements:
        decider = "langdetect" if screen is None else "screen"
        print(f"disagreement    {paper_id}: filter {our} ({decider}, {MAX_CHARACTERS:,} characters at most), ", end="")
        print(f"langdetect alone {language} ({len(text):,} characters)")


if __name__ == "__main__":
    main()
