"""How many papers of a night the fp32 graph labels too, and which, decided before the night labels any."""

import datetime
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class AuditChoice:
    """A rule that chooses papers by their text alone, so that shards, workers and restarts choose the same ones.

    The end of the text hash times the key of the night, modulo 2**64, is a random number that differs from night to
    night (multiply-shift hashing, Dietzfelbinger et al. 1997). The bounds of the audit need new random papers in every
    night, even if the dump stays the same.

    Attributes:
        key: Key of the night, from `night_key`.
        threshold: Papers with at most this number are chosen.
    """

    key: int
    threshold: int

    def includes(self, text_hash: str) -> bool:
        """Return whether the paper with this text hash is chosen."""
        return int(text_hash[-AUDIT_DIGITS:], 16) * self.key % 2**64 <= self.threshold


def night_key(date: datetime.date) -> int:
    """Return a random odd number of 64 bits for the night of a date."""
    return int.from_bytes(hashlib.blake2b(date.isoformat().encode(), digest_size=8).digest(), "big") | 1


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
