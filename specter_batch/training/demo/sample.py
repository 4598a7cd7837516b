"""Synthetic papers for the demo: a small task to learn, and a night of parquet with the dirt of real dumps.

No sentence is from a real paper. The same seed gives the same bytes.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from specter_batch.errors import ConfigError
from specter_batch.papers.columns import PAPER_SCHEMA
from specter_batch.training.demo.sentences import (
    BACKGROUND,
    COMORBIDITY,
    CONCLUSION,
    FOREIGN_ABSTRACTS,
    METHODS,
    RESULTS,
    TITLES,
    UNICODE_TITLES,
)
from specter_batch.training.demo.topics import TOPICS, Topic

Row = dict[str, str | None]

# The rest, about a quarter, is the night.
TRAIN_SHARE = 0.6
VAL_SHARE = 0.15
# Shares of papers and of sentences that speak of another class, so that one word alone does not tell the class.
COMORBIDITY_SHARE = 0.2
RELATED_SHARE = 0.2
N_NIGHT_FILES = 4
# The night duplicates ten of its clean papers, which are a quarter of all; a smaller one would be mostly dirt.
MIN_PAPERS = 100
# Of about 14 words each: far beyond the 512 tokens that SPECTER reads.
OVER_LONG_SENTENCES = 400


@dataclass(frozen=True, kw_only=True)
class SampleDirt:
    """Rows that the night holds on top of its clean papers; each has one fault at most.

    Attributes:
        null_id: Papers without an id.
        null_title: Papers without a title.
        null_abstract: Papers without an abstract.
        blank_abstract: Papers with an abstract of white space.
        not_english: Papers in other languages, as many of each.
        same_text_twice: Second copies of a clean paper.
        other_text_twice: Papers that have the id of a clean paper.
        over_long: Papers of several thousand words; they are labelled.
        unicode_title: Papers whose title has characters outside ASCII; they are labelled.
        seen_in_training: Papers of the training file; they are labelled and reported as a leak.
    """

    null_id: int = 4
    null_title: int = 5
    null_abstract: int = 9
    blank_abstract: int = 4
    not_english: int = 2 * len(FOREIGN_ABSTRACTS)
    same_text_twice: int = 6
    other_text_twice: int = 4
    over_long: int = 1
    unicode_title: int = len(UNICODE_TITLES)
    seen_in_training: int = 10

    @property
    def rejects(self) -> Mapping[str, int]:
        """Number of rows to be rejected, by reason."""
        return {
            "null_id": self.null_id,
            "missing_title": self.null_title,
            "missing_abstract": self.null_abstract + self.blank_abstract,
            "not_english": self.not_english,
            "duplicate_id": self.same_text_twice + self.other_text_twice,
        }

    @property
    def n_labelled(self) -> int:
        """Number of unusual rows that are labelled nevertheless."""
        return self.over_long + self.unicode_title + self.seen_in_training

    @property
    def n_rows(self) -> int:
        """Number of all rows in addition to the clean ones."""
        return self.n_labelled + sum(self.rejects.values())


NIGHT_DIRT = SampleDirt()


@dataclass(frozen=True, kw_only=True)
class SamplePaths:
    """The written files, and how many clean papers each part holds."""

    train: Path
    val: Path
    night: Path
    n_train: int
    n_val: int
    n_night_clean: int


def make_papers(*, n_papers: int = 1500, seed: int = 321) -> pa.Table:
    """Write clean papers over the classes of `MESH`.

    The classes alternate, so that any stretch of the table holds them in the same, slightly uneven shares. A longer
    table of the same seed begins with the shorter one. No text stands twice.

    Returns:
        `n_papers` rows of `PAPER_SCHEMA`, labels by name.
    """
    return _table(list(islice(_papers(_seeded(seed)), n_papers)))


def write_sample(folder: Path, *, n_papers: int = 1500, seed: int = 321) -> SamplePaths:
    """Write `train.parquet`, `val.parquet` and the folder `night`, whose files hold `NIGHT_DIRT` besides clean papers.

    `dump.jsonl` holds the validation papers once more, as a dump that `ingest` reads.

    Args:
        folder: Made when missing; files of an earlier sample are overwritten.
        n_papers: Clean papers: 60 % to train, 15 % to val, the rest to the night.
        seed: Decides every byte.

    Raises:
        ConfigError: `n_papers` is under `MIN_PAPERS`.
    """
    if n_papers < MIN_PAPERS:
        raise ConfigError(f"a sample needs at least {MIN_PAPERS} papers, got {n_papers}; ask for more with n_papers")
    rng = _seeded(seed)
    papers = _papers(rng)
    train = list(islice(papers, round(n_papers * TRAIN_SHARE)))
    val = list(islice(papers, round(n_papers * VAL_SHARE)))
    clean = list(islice(papers, n_papers - len(train) - len(val)))

    paths = SamplePaths(
        train=folder / "train.parquet",
        val=folder / "val.parquet",
        night=folder / "night",
        n_train=len(train),
        n_val=len(val),
        n_night_clean=len(clean),
    )
    paths.night.mkdir(parents=True, exist_ok=True)
    pq.write_table(_table(train), paths.train)
    pq.write_table(_table(val), paths.val)
    (folder / "dump.jsonl").write_text("".join(f"{json.dumps(paper)}\n" for paper in val), encoding="utf-8")
    _write_night(paths.night, _night_files(clean, train, papers, rng))
    return paths


def _seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - made-up papers are no secret


def _table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=PAPER_SCHEMA)


def _papers(rng: random.Random) -> Iterator[Row]:
    """Write papers without end; ids count up."""
    # A class of weight w stands at the (k + 1/2) / w of each round: evenly spread.
    turns = sorted(((k + 0.5) / topic.weight, label) for label, topic in TOPICS.items() for k in range(topic.weight))
    written: set[str] = set()
    for _, label in cycle(turns):
        paper = _paper(label, rng)
        while paper["abstract"] in written:
            paper = _paper(label, rng)
        written.add(paper["abstract"])
        yield {"paper_id": f"sample-{len(written):06d}", "label": label, **paper}


def _paper(label: str, rng: random.Random) -> dict[str, str]:
    topic = TOPICS[label]
    disease = rng.choice(topic.disease)
    templates = [
        rng.choice(BACKGROUND),
        *rng.sample(METHODS, k=rng.randint(1, 2)),
        *rng.sample(RESULTS, k=rng.randint(1, 3)),
        *rng.sample(CONCLUSION, k=rng.randint(0, 1)),
    ]
    sentences = []
    for template in templates:
        elsewhere = rng.random() < RELATED_SHARE
        about = TOPICS[rng.choice(topic.related)] if elsewhere else topic
        sentences.append(_fill(template, about, rng, disease=disease))
    if rng.random() < COMORBIDITY_SHARE:
        other = TOPICS[rng.choice([name for name in TOPICS if name != label])]
        sentences.insert(-1, _fill(rng.choice(COMORBIDITY), other, rng))
    return {"title": _fill(rng.choice(TITLES), topic, rng, disease=disease), "abstract": " ".join(sentences)}


def _fill(template: str, topic: Topic, rng: random.Random, *, disease: str | None = None) -> str:
    text = template.format(
        disease=disease or rng.choice(topic.disease),
        site=rng.choice(topic.site),
        drug=rng.choice(topic.drug),
        outcome=rng.choice(topic.outcome),
        measure=rng.choice(topic.measure),
        **_numbers(rng),
    )
    return text[0].upper() + text[1:]


def _numbers(rng: random.Random) -> dict[str, Any]:
    ratio = rng.uniform(1.1, 3.2)
    return {
        "n": rng.randint(48, 4800),
        "months": rng.choice((3, 6, 12, 18, 24, 36, 60)),
        "centres": rng.randint(3, 40),
        "age": rng.randint(24, 78),
        "percent": rng.randint(21, 60),
        "share": rng.randint(4, 20),
        "p": rng.choice(("< 0.001", "= 0.002", "= 0.01", "= 0.03", "= 0.04")),
        "p_large": rng.choice(("= 0.12", "= 0.27", "= 0.41", "= 0.63", "= 0.88")),
        "ratio": f"{ratio:.2f}",
        "low": f"{ratio * 0.85:.2f}",
        "high": f"{ratio * 1.18:.2f}",
    }


def _night_files(
    clean: Sequence[Row], train: Sequence[Row], papers: Iterator[Row], rng: random.Random
) -> list[list[Row]]:
    """Deal the clean papers and the dirt to the files, in an order without meaning."""
    odd = [*_odd_papers(papers, rng), *rng.sample(train, k=NIGHT_DIRT.seen_in_training)]
    duplicates = _duplicates(clean, papers)
    files = []
    for i in range(N_NIGHT_FILES):
        rows = [*clean[i::N_NIGHT_FILES], *odd[i::N_NIGHT_FILES], *duplicates[i]]
        rng.shuffle(rows)
        files.append(rows)
    return files


def _odd_papers(papers: Iterator[Row], rng: random.Random) -> Iterator[Row]:
    """Write the papers that are unusual in themselves."""
    dirt = NIGHT_DIRT
    emptied: Mapping[tuple[str, str | None], int] = {
        ("paper_id", None): dirt.null_id,
        ("title", None): dirt.null_title,
        ("abstract", None): dirt.null_abstract,
        ("abstract", " \n\t"): dirt.blank_abstract,
    }
    for (column, value), count in emptied.items():
        yield from ({**paper, column: value} for paper in islice(papers, count))
    for i, paper in enumerate(islice(papers, dirt.not_english)):
        turn, which = divmod(i, len(FOREIGN_ABSTRACTS))
        foreign = FOREIGN_ABSTRACTS[which]
        abstract = foreign.abstract.format(**_numbers(rng))
        yield {**paper, "title": foreign.titles[turn % 2], "abstract": abstract, "label": foreign.label}
    for paper, template in zip(islice(papers, dirt.unicode_title), cycle(UNICODE_TITLES), strict=False):
        yield {**paper, "title": template.format(title=paper["title"])}
    for paper in islice(papers, dirt.over_long):
        topic = TOPICS[str(paper["label"])]
        endless = (_fill(rng.choice(RESULTS), topic, rng) for _ in range(OVER_LONG_SENTENCES))
        yield {**paper, "abstract": " ".join(chain([str(paper["abstract"])], endless))}


def _duplicates(clean: Sequence[Row], papers: Iterator[Row]) -> list[list[Row]]:
    """Write rows that bear a clean paper's id; every other one lies in that paper's file, the rest in the next file."""
    files: list[list[Row]] = [[] for _ in range(N_NIGHT_FILES)]
    for i in range(NIGHT_DIRT.same_text_twice + NIGHT_DIRT.other_text_twice):
        text = clean[i] if i < NIGHT_DIRT.same_text_twice else next(papers)
        # Clean paper i is dealt to file i modulo the number of files.
        files[(i + i % 2) % N_NIGHT_FILES].append({**text, "paper_id": clean[i]["paper_id"]})
    return files


def _write_night(folder: Path, files: Sequence[Sequence[Row]]) -> None:
    """Write each file as another tool would: types, compression, row groups and column order differ."""
    plain, large, encoded, turned = (_table(rows) for rows in files)
    large = large.cast(pa.schema([(name, pa.large_string()) for name in PAPER_SCHEMA.names]))
    encoded = encoded.cast(pa.schema([(name, pa.dictionary(pa.int32(), pa.string())) for name in PAPER_SCHEMA.names]))
    turned = turned.select(PAPER_SCHEMA.names[::-1])
    pq.write_table(plain, folder / "part-0.parquet", row_group_size=25, compression="snappy")
    pq.write_table(large, folder / "part-1.parquet", compression="zstd")
    pq.write_table(encoded, folder / "part-2.parquet", compression="snappy")
    pq.write_table(turned, folder / "part-3.parquet", compression="none")
