"""The papers behind the figures of an evaluation, for its page."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.metrics.f1 import Ints
from specter_batch.report.paper_choice import GroupLimits, PaperChooser
from specter_batch.report.paper_groups import PaperGroups, chosen_groups, fitting, left_out_sentences
from specter_batch.training.evaluation.evaluate import Evaluation


def papers_behind(evaluation: Evaluation) -> PaperGroups:
    """Choose the papers that the page shows behind each cell of the confusion matrix and behind each bar."""
    report, labels = evaluation.report, evaluation.report.labels
    predictions = evaluation.predictions
    scored = pc.and_(pc.invert(predictions["seen"]), pc.is_valid(predictions["score"]))
    scored = pc.and_(scored, pc.is_in(predictions["label"], pa.array(labels, pa.string())))
    papers = predictions.append_column("title", evaluation.titles).filter(scored)
    true, predicted = _label_ids(papers["label"], labels), _label_ids(papers["predicted"], labels)
    cells = np.array(report.confusion, dtype=np.int64).reshape(len(labels), len(labels))
    chooser = PaperChooser(GroupLimits(cells=cells, labels=np.bincount(predicted, minlength=len(labels))))
    shown = pa.table(
        {
            "paper_id": papers["paper_id"],
            "title": papers["title"],
            "true_label": papers["label"],
            "label": papers["predicted"],
            "runner_up": papers["runner_up"],
            "score": papers["score"],
            "margin": papers["margin"],
        }
    )
    score, margin = papers["score"].to_numpy(), papers["margin"].to_numpy()
    chooser.add(shown, true=true, predicted=predicted, score=score, margin=margin)
    groups = fitting(chosen_groups(chooser, labels, titles=lambda table: table["title"].to_pylist(), bars="f1"))
    notes = left_out_sentences(chooser.limits)
    return PaperGroups(groups=groups, notes=[*notes, "All papers are in predictions.parquet."] if groups else [])


def _label_ids(names: pa.ChunkedArray, labels: tuple[str, ...]) -> Ints:
    return np.asarray(pc.index_in(names, pa.array(labels, pa.string())).to_numpy(), dtype=np.int64)
