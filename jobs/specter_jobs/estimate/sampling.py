"""A sample of a night's rows that goes through the same steps as the night itself, and the speed of these steps."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from specter_batch.errors import PaperSchemaError, ShardError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.tokens.encoding import TokenIds
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.output.schema import REJECT_SCHEMA
from specter_jobs.plan.sections import LabelRules
from specter_jobs.plan.shard_keys import shard_runs
from specter_jobs.plan.shards import Plan, Shard
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.known_labels import KnownLabels
from specter_jobs.screen.shard_reader import KeyReader

# Number of neighbouring rows in the sample. With more, the sample would come from fewer places.
WINDOW_ROWS = 64
# Number of neighbouring rows that are timed. With fewer, most of the time would go to opening files and skipping rows.
PACE_ROWS = 2000


@dataclass(kw_only=True)
class Sample:
    """The sampled rows after screening and tokenizing.

    Attributes:
        rows: Number of rows that could be read.
        paper_ids: Ids of the usable papers.
        hashes: Text hashes of the usable papers.
        kept: Kept columns of the usable papers; empty if there are none.
        token_ids: Token ids `(seq_len,)` of each usable paper that is not a copy of another one.
        rejects: Table with `REJECT_SCHEMA`.
        held_bytes: Memory that the job needs for these papers while it labels them.
        errors: Errors of places that could not be read.
    """

    rows: int = 0
    paper_ids: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    kept: list[pa.Table] = field(default_factory=list)
    token_ids: list[TokenIds] = field(default_factory=list)
    rejects: list[pa.Table] = field(default_factory=list)
    held_bytes: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def rejects_by_reason(self) -> dict[str, int]:
        """Rejected rows by reason, the most frequent first."""
        return dict(Counter(pa.concat_tables(self.rejects)["reason"].to_pylist()).most_common())


def sample_shards(plan: Plan, *, rows: int, seed: int) -> list[Shard]:
    """Draw short runs of rows, one from each of equally long parts of the night. A short night is read completely.

    Args:
        plan: Plan of the night.
        rows: Approximate number of rows. Files shorter than a run give fewer.
        seed: Random seed. The same seed draws the same rows.
    """
    if rows >= plan.rows:
        return list(plan.shards)
    return list(_windows(plan, rows, np.random.default_rng(seed)))


def _windows(plan: Plan, rows: int, rng: np.random.Generator) -> Iterator[Shard]:
    window = min(WINDOW_ROWS, max(plan.rows // len(plan.files), 1), rows)
    ends = np.cumsum([file.rows for file in plan.files])
    edges = np.linspace(0, plan.rows, -(-rows // window) + 1).astype(np.int64)
    for first, after in pairwise(edges.tolist()):
        start = int(rng.integers(first, max(after - window, first) + 1))
        number = int(np.searchsorted(ends, start, side="right"))
        file = plan.files[number]
        inside = start - int(ends[number]) + file.rows
        yield Shard(file=file, start=inside, rows=min(window, file.rows - inside, after - start))


def read_sample(shards: list[Shard], rules: LabelRules, bundle: ModelBundle, preparer: ShardPreparer) -> Sample:
    """Deduplicate, screen and tokenize rows as the night does."""
    sample = Sample(rejects=[REJECT_SCHEMA.empty_table()])
    with (
        tempfile.TemporaryDirectory() as scratch,
        closing(_deduplication(shards, rules, bundle, Path(scratch))) as deduplication,
    ):
        _prepare(sample, deduplication, preparer)
    return sample


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of the steps without the model. `deduplication_start` is once per night, the others are per row."""

    deduplication_start: float
    deduplication: float
    prepare: float


def read_pace(plan: Plan, rules: LabelRules, bundle: ModelBundle, preparer: ShardPreparer) -> Pace:
    """Time the steps before the model for some neighbouring rows. Call it after `read_sample`, when all is loaded.

    Raises:
        PaperSchemaError: The first rows cannot be read in any file.
    """
    for file in sorted(plan.files, key=lambda file: file.rows, reverse=True):
        stretch = Shard(file=file, start=0, rows=min(PACE_ROWS, file.rows))
        pace = _pace_of(stretch, rules, bundle, preparer)
        if pace is not None:
            return pace
    raise PaperSchemaError("the first rows cannot be read in any file; write the files again")


def _pace_of(stretch: Shard, rules: LabelRules, bundle: ModelBundle, preparer: ShardPreparer) -> Pace | None:
    """Time the steps for these rows; None if they cannot be read."""
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        _deduplication([], rules, bundle, Path(empty)).close()
        opened = time.perf_counter()
        with closing(_deduplication([stretch], rules, bundle, Path(scratch))) as deduplication:
            deduplicated = time.perf_counter()
            sample = Sample(rejects=[REJECT_SCHEMA.empty_table()])
            _prepare(sample, deduplication, preparer)
            prepared = time.perf_counter()
    if not sample.rows:
        return None
    start = opened - began
    return Pace(
        deduplication_start=start,
        deduplication=max(deduplicated - opened - start, 0.0) / stretch.rows,
        prepare=(prepared - deduplicated) / stretch.rows,
    )


def _deduplication(shards: list[Shard], rules: LabelRules, bundle: ModelBundle, scratch: Path) -> Deduplication:
    reader = KeyReader(rules, bundle.text_template)  # keeps no papers, so both reads of a large night are timed
    return Deduplication(
        shards,
        map(reader.read, shard_runs(shards)),
        known_labels=KnownLabels(files=[], n_labels=len(bundle.labels)),
        scratch=scratch,
        advance=lambda _: None,
    )


def _prepare(sample: Sample, deduplication: Deduplication, preparer: ShardPreparer) -> None:
    for deduplicated in deduplication.shards:
        if deduplicated.error is not None:
            sample.errors.append(deduplicated.error)
            continue
        try:
            screened, texts = preparer.screen(deduplicated, deduplication.decisions(deduplicated.number))
        except ShardError as error:
            sample.errors.append(str(error))
            continue
        token_ids = preparer.tokenize(texts).token_ids
        sample.rows += deduplicated.shard.rows
        sample.paper_ids += screened.paper_ids.to_pylist()
        sample.rejects.append(screened.rejects)
        sample.hashes += screened.hashes
        sample.kept += [] if screened.kept is None else [screened.kept]
        sample.token_ids += token_ids
        # The text is in memory twice: in the table that it was read into, and while it is tokenized.
        sample.held_bytes += 2 * sum(len(text.encode()) for text in texts) + sum(ids.nbytes for ids in token_ids)
