"""Write the label files of finished shards again with other columns, without the model."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from specter_batch.errors import ShardError
from specter_batch.model.bundle import ModelBundle
from specter_jobs.label.answers import Answers, expected_sums
from specter_jobs.label.assemble import label_table
from specter_jobs.label.prepare import true_labels
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.ledger import Ledger
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import LABELS, parquet_name
from specter_jobs.output.schema import EMBEDDING, LABEL_SCHEMA, LOGITS, PROBABILITIES, missing_columns
from specter_jobs.output.writer import write_output
from specter_jobs.plan.decisions import DeduplicatedShard
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.shard_reader import ShardReader

# The name of a shard's label file alternates between having this suffix and not having it. A new file therefore never
# replaces the file that the ledger describes.
OTHER_NAME = "-rewritten"


class LabelRewriter:
    """Gives the label files of finished shards the columns of this night.

    The new file is made from the former file and the input. Labels and scores are computed from the logits, or are
    copied if it has none. Kept columns come from the input, and so do the true labels of files of older versions.
    Duplicates, rejects and copies stay.

    Args:
        out: The output folder.
        ledger: Ledger with the finished shards.
        form: Columns of the label files.
        bundle: The model.
        deduplication: Deduplication, which may have the papers of a shard in memory.

    Attributes:
        papers: Number of labels that were written again.
        files: Number of files that were written again.
        lost: Number of papers that the model has to label again, because their logits or vectors were not stored.
    """

    def __init__(
        self, out: OutputFolder, ledger: Ledger, form: LabelForm, bundle: ModelBundle, deduplication: Deduplication
    ) -> None:
        self._out, self._ledger, self._form, self._bundle = out, ledger, form, bundle
        self._deduplication = deduplication
        self._reader = ShardReader()
        self._seen_texts = bundle.seen_texts()
        self.papers, self.files, self.lost = 0, 0, 0

    def finished(self, deduplicated: DeduplicatedShard) -> LedgerEntry | None:
        """Return the entry of a finished shard. If its label file has other columns, the file is written again first.

        Returns:
            The entry; None if the shard is not done, or if the columns need logits, probabilities or vectors that its
            file does not have.

        Raises:
            ShardError: The input cannot be read, or the new file cannot be written. The former file stays.
        """
        former = self._ledger.outdated(deduplicated)
        if former is None:
            return self._ledger.finished(deduplicated)
        try:
            content = (self._out / former.labels.name).read_bytes()
            held = pq.read_table(pa.BufferReader(content))
            if not self._has_all_that_is_needed(held):
                self.lost += held.num_rows
                return None
            table, answers = self._table(deduplicated, held, self._rows(former, held))
            file = write_output(self._out.place, LABELS, _other_stem(deduplicated.shard.name, former), table)
            entry = self._ledger.commit_rewritten(
                former,
                deduplicated,
                labels=file,
                expected=expected_sums(answers),
                gaps=answers.gaps(answers.is_finite, logits=self._form.columns.logits),
            )
        except (OSError, pa.ArrowException) as error:
            raise ShardError(f"{former.labels.name}: cannot be written with other columns: {error}; rerun") from error
        self.papers += table.num_rows
        self.files += 1
        return entry

    def _has_all_that_is_needed(self, held: pa.Table) -> bool:
        """Return whether this night's columns follow from those of a label file."""
        if self._form.embedding_size is not None and EMBEDDING not in held.column_names:
            return False
        return not self._form.columns.needs_probabilities or _has_probabilities(held)

    def _rows(self, former: LedgerEntry, held: pa.Table) -> npt.NDArray[np.int64]:
        """Return the rows of the labelled papers within the shard. In older files these are all rows without reject."""
        if "row" in held.column_names:
            return np.asarray(held["row"].to_numpy() - former.start, dtype=np.int64)
        labelled = np.ones(former.rows, np.bool_)
        if former.rejects is not None:
            rejects = pq.read_table(pa.BufferReader((self._out / former.rejects.name).read_bytes()))
            labelled[rejects["row"].to_numpy() - former.start] = False
        return np.flatnonzero(labelled)

    def _table(
        self, deduplicated: DeduplicatedShard, held: pa.Table, rows: npt.NDArray[np.int64]
    ) -> tuple[pa.Table, Answers]:
        """Return the label file with the columns of this night, and the answers in it.

        Args:
            deduplicated: The shard.
            held: The former label file.
            rows: Rows of its papers within the shard.
        """
        shard = deduplicated.shard
        papers = self._deduplication.take_papers(deduplicated.number) or self._reader.read(shard)
        answers = Answers.empty(held.num_rows, len(self._form.labels), embedding_size=self._form.embedding_size)
        answers.fill_known(np.arange(held.num_rows), held, self._form)
        if missing_columns(held.schema, LABEL_SCHEMA):
            values = papers.table["label"].take(pa.array(rows)).to_pylist()
            truth = true_labels(values, papers.table, rows, bundle=self._bundle, seen_texts=self._seen_texts)
            true_label, seen = truth.names, truth.seen_in_training
        else:
            true_label, seen = held["true_label"], held["seen_in_training"]
        chosen = np.zeros(len(papers), np.bool_)
        chosen[rows] = True
        columns = {"true_label": true_label, "seen_in_training": seen}
        columns |= {name: held[name] for name in ("paper_id", "text_hash", "reused")}
        kept = None if papers.kept is None else papers.kept.filter(pa.array(chosen))
        return label_table(self._form, shard, rows, answers, columns, kept), answers


def _has_probabilities(held: pa.Table) -> bool:
    """Return whether the probabilities of all papers of a label file are stored, or can be computed from logits."""
    known = np.zeros(held.num_rows, np.bool_)
    for name in {LOGITS, PROBABILITIES}.intersection(held.column_names):
        known |= held[name].is_valid().to_numpy()
    return bool(known.all())


def _other_stem(shard: str, former: LedgerEntry) -> str:
    """Return a stem for the new label file that the former file does not have."""
    return shard if former.labels.name != f"{LABELS}/{parquet_name(shard)}" else f"{shard}{OTHER_NAME}"
