"""How many papers of a night the fp32 graph labels too, decided before the night labels any."""

import math
from collections.abc import Mapping

from specter_batch.graph_names import Precision

# What one paper costs with the fp32 graph, compared with the graph that labels. On CPUs fp32 took 2.5 times (6 layers
# of 384) and 2.8 times (BERT-base) as long as int8. On an H200 it took 8.8 times as long as fp16 (docs/benchmarks.md).
COST: Mapping[Precision, float] = {"int8": 3.0, "fp16": 9.0}
SHARE = 0.002
# Fewer papers show next to nothing. With int8 they cost 1 % of a night of 15,000 papers, and seconds in a smaller one.
MIN_PAPERS = 50
MAX_COST = 0.01
# A night that reuses labels has few papers to label, and its reused labels could be audited in the nights that made
# them. So there the audit takes at most this share of the time of the model, even if it has fewer papers then.
MAX_COST_WITH_REUSE = 0.1
# The last digits of the hash of a text, by which papers are chosen. They are random, and no other choice uses them.
AUDIT_DIGITS = 16


def audit_size(share: float | None, *, fresh: int, precision: Precision, reused: int = 0) -> int:
    """Return the number of papers to audit.

    Args:
        share: Share of the papers that the user asked for; None for the default.
        fresh: Number of papers that the model has to label tonight.
        precision: Precision of the graph that labels; fp32 needs no audit.
        reused: Number of papers that have a label of an earlier night.
    """
    if precision == "fp32":
        return 0
    if share is not None:
        return math.ceil(share * fresh)
    least = MIN_PAPERS
    if reused:
        least = min(least, math.ceil(MAX_COST_WITH_REUSE / COST[precision] * fresh))
    return min(fresh, max(least, math.ceil(min(SHARE, MAX_COST / COST[precision]) * fresh)))
