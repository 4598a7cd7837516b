"""The rows of a label file."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_jobs.label.answers import Answers
from specter_jobs.label.screened_shard import ScreenedShard
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.schema import LOGITS, PROBABILITIES
from specter_jobs.plan.shards import Mask, Shard


def label_table(form: LabelForm, shard: Shard, screened: ScreenedShard, answers: Answers, reused: Mask) -> pa.Table:
    """Return the label file of a shard as a table: the papers that have a label, in the order of the input.

    Args:
        form: Which columns the files of the night have.
        shard: The shard.
        screened: Its usable papers.
        answers: The labels of these papers.
        reused: Papers whose label was copied, `(n_papers,)` bool.
    """
    names = pa.array(form.labels.names, pa.string())
    known = answers.has_probabilities
    ranking = answers.ranking()
    truth = screened.truth
    seen = np.zeros(len(known), np.bool_)
    seen[truth.scored] = truth.seen
    columns = {
        "paper_id": screened.paper_ids,
        "label": names.take(pa.array(answers.label_id)),
        "label_id": pa.array(answers.label_id, pa.int32()),
        "score": pa.array(answers.score, pa.float64()),
        "text_hash": pa.array(screened.hashes, pa.string()),
        "reused": pa.array(reused),
        "file": pa.DictionaryArray.from_arrays(np.zeros(len(known), np.int32), [shard.file.name]).cast(pa.string()),
        "row": pa.array(shard.start + screened.rows, pa.int64()),
        "runner_up": names.take(pa.array(ranking.runner_up, mask=~known)),
        "margin": pa.array(ranking.margin, pa.float64(), mask=~known),
        "true_label": truth.names,
        "seen_in_training": pa.array(seen, mask=~truth.scored),
        PROBABILITIES: _lists(answers.probabilities, known),
        LOGITS: _lists(answers.logits, answers.has_logits),
    }
    schema = form.schema()
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    return table if answers.is_finite.all() else table.filter(pa.array(answers.is_finite))


def _lists(values: npt.NDArray[np.floating], known: Mask) -> pa.FixedSizeListArray:
    """Return values `(n, size)` as a column of lists, null where they are not known."""
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=None if known.all() else pa.array(~known))
