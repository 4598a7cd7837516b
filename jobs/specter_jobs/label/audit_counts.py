"""The result of a shard's audit: how many labels of the job differ from labels of the fp32 graph."""

import numpy as np
import numpy.typing as npt

from specter_jobs.label.screened_shard import AuditAnswers, ScreenedShard
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.report_model.audit import MAX_SHOWN, AuditCounts, AuditedPaper
from specter_jobs.plan.shards import Mask, Shard


def audit_counts(
    audit: AuditAnswers,
    label_id: npt.NDArray[np.int64],
    has_label: Mask,
    screened: ScreenedShard,
    *,
    shard: Shard,
    form: LabelForm,
) -> AuditCounts:
    """Compare the labels of a shard with those of the fp32 graph. Papers that have no label are left out.

    Args:
        audit: The labels of the fp32 graph.
        label_id: Label ids of the usable papers of the shard in the job, `(n_papers,)` int64.
        has_label: False for papers for which the model gave NaN or infinity, `(n_papers,)` bool.
        screened: The shard.
        shard: The place of the shard in the input.
        form: The labels of the model.
    """
    labelled = has_label[audit.positions]
    positions, exact = audit.positions[labelled], audit.label_id[labelled]
    differs, clear = label_id[positions] != exact, audit.clear[labelled]
    names, ids = form.labels.names, screened.paper_ids
    return AuditCounts(
        papers=len(positions),
        deferred=int(audit.deferred[labelled].sum()),
        disagreements=int(differs.sum()),
        clear_papers=int(clear.sum()),
        clear_disagreements=int((differs & clear).sum()),
        shown=tuple(
            AuditedPaper(
                paper_id=ids[int(at)].as_py(),
                file=shard.file.name,
                row=shard.start + int(screened.rows[at]),
                label=names[label_id[at]],
                exact_label=names[exact_id] if exact_id >= 0 else None,
            )
            for at, exact_id in list(zip(positions[differs], exact[differs], strict=True))[:MAX_SHOWN]
        ),
    )
