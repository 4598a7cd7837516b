"""Prepare a shard for the model: read, screen and tokenize it, and look up known labels."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.errors import ShardError
from specter_batch.graph_names import TokenizerChoice
from specter_batch.metrics.scores import papers_seen
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.tokens.encoding import Tokenized
from specter_batch.papers.columns import normalise_label
from specter_batch.papers.language import EnglishFilter
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.screening import reject_foreign_languages, screen_columns
from specter_batch.papers.text import missing_values, paper_texts, text_hash
from specter_jobs.label.screened_shard import ScreenedShard, Truth
from specter_jobs.plan.decisions import Decisions, DeduplicatedShard
from specter_jobs.plan.sections import LabelRules
from specter_jobs.screen.rejects import rejected_rows
from specter_jobs.screen.shard_reader import ShardReader, content_hash, kept_hash

# A shard of 5,000 ordinary papers has 7 MB of text. Returning the memory of a larger one is worth the time.
LARGE_BYTES = 16 << 20


class ShardPreparer:
    """Prepares shards for one bundle. It is fastest if shards come in order.

    Args:
        bundle: The opened bundle.
        rules: Settings that decide which papers are labelled.
        tokenizer: Package that makes token ids.
    """

    def __init__(self, bundle: ModelBundle, rules: LabelRules, *, tokenizer: TokenizerChoice = "auto") -> None:
        self._rules = rules
        self._bundle = bundle
        self._template = bundle.text_template
        self._seen_texts = bundle.seen_texts()
        self._encoder = bundle.text_encoder(tokenizer)
        self._english = EnglishFilter() if rules.language == "en" else None
        self._reader = ShardReader()

    def screen(
        self,
        deduplicated: DeduplicatedShard,
        decisions: Decisions,
        *,
        papers: PaperBatch | None = None,
        unanswered: Collection[str] = (),
    ) -> tuple[ScreenedShard, list[str]]:
        """Reject the papers of a shard that cannot be labelled, and find those that the model has to label.

        Args:
            deduplicated: The shard.
            decisions: Decisions of the deduplication about the shard.
            papers: The papers of the shard; None to read them from the input.
            unanswered: Hashes of copied texts that the model labels here, because the first copy has no label.

        Returns:
            The screened shard, and the texts of its `fresh` papers, or shorter texts with the same token ids.

        Raises:
            ShardError: The shard cannot be read, or has changed since the deduplication.
        """
        shard = deduplicated.shard
        papers = self._read(deduplicated) if papers is None else papers
        screening = screen_columns(papers, self._rules)
        screening.reject_rows(decisions.duplicates, "duplicate_id")
        undecided = 0
        if self._english is not None:
            undecided = reject_foreign_languages(screening, papers, self._english)
        rows = np.flatnonzero(screening.usable)
        usable = papers.table.select(["paper_id", "label"]).filter(pa.array(screening.usable))
        texts: list[str] = []
        hashes: list[str] = []
        for text in paper_texts(papers.table, self._template, rows=rows):
            hashes.append(text_hash(text))
            texts.append(self._encoder.shortened(text))  # keep only the part of a long text that the model reads

        # Convert rows of the shard to positions among the usable papers. Papers that are not English are not copied.
        position = np.cumsum(screening.usable) - 1
        known = decisions.known.filter(pa.array(screening.usable[decisions.known["row"].to_numpy()]))
        known_at = position[known["row"].to_numpy()]
        copies = {int(position[row]): name for row, name in decisions.copies.items() if screening.usable[row]}
        spared = {at for at in copies if hashes[at] not in unanswered}.union(known_at.tolist())
        fresh = [at for at in range(len(texts)) if at not in spared]
        screened = ScreenedShard(
            rejects=rejected_rows(screening, shard, papers.table["paper_id"]),
            rows=rows,
            paper_ids=usable["paper_id"],
            kept=None if papers.kept is None else papers.kept.filter(pa.array(screening.usable)),
            title_only=missing_values(papers.table["abstract"])[screening.usable],
            hashes=hashes,
            truth=true_labels(
                usable["label"].to_pylist(), papers.table, rows, bundle=self._bundle, seen_texts=self._seen_texts
            ),
            known=known.set_column(known.column_names.index("row"), "row", pa.array(known_at, pa.int64())),
            undecided=undecided,
            copies=copies,
            fresh=fresh,
        )
        if papers.nbytes > LARGE_BYTES:
            del papers
            pa.default_memory_pool().release_unused()  # before the tokenizer needs memory
        return screened, [texts[at] for at in fresh]

    def _read(self, deduplicated: DeduplicatedShard) -> PaperBatch:
        papers = self._reader.read(deduplicated.shard)
        if (content_hash(papers), kept_hash(papers)) != (deduplicated.rows_hash, deduplicated.kept_hash):
            raise ShardError(
                f"{deduplicated.shard.file.path}: changed while the job ran; run the same command again when nothing "
                "writes to this file"
            )
        return papers

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts' token ids."""
        return self._encoder.tokenize(texts)


def true_labels(
    values: Sequence[str | None],
    papers: pa.Table,
    rows: npt.NDArray[np.int64],
    *,
    bundle: ModelBundle,
    seen_texts: npt.NDArray[np.uint64],
) -> Truth:
    """Look up the papers' true labels.

    Args:
        values: The true label of each paper, None or blank if it has none.
        papers: The shard in the canonical schema.
        rows: The row of each paper in `papers`.
        bundle: The model.
        seen_texts: Hashes of the training texts, as in the bundle.
    """
    labels = bundle.labels
    names = [normalise_label(value) for value in values]
    label_ids = [labels.find(name) if name is not None else None for name in names]
    scored = np.array([label_id is not None for label_id in label_ids], dtype=np.bool_)
    seen = np.zeros(0, np.bool_)
    if scored.any():
        seen = papers_seen(papers, seen_texts, template=bundle.text_template, rows=rows[scored])
    shown = [labels.names[at] if at is not None else name for at, name in zip(label_ids, names, strict=True)]
    return Truth(
        names=pa.array(shown, pa.string()),
        scored=scored,
        label_id=np.array([label_id for label_id in label_ids if label_id is not None], dtype=np.int64),
        seen=seen,
        unknown=np.array([name is not None for name in names], dtype=np.bool_) & ~scored,
    )
