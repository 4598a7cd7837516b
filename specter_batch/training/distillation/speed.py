"""Measures the speed of two models in turns, so that other work on the machine slows both alike."""

import time
from collections.abc import Sequence

import numpy as np

from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.training.embeddings.embed import embed
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.model.settings import TORCH_MAX_TOKENS

# Number of papers of a turn, and of turns. 256 papers take some seconds on a CPU.
PAPERS, TURNS = 64, 4


def papers_per_second(
    teacher: SpecterForSequenceClassification, student: SpecterForSequenceClassification, token_ids: Sequence[TokenIds]
) -> tuple[float, float]:
    """Return the speed of both models in full precision, from the median over the turns.

    Args:
        teacher: A model, on its device.
        student: The other model.
        token_ids: Token ids of papers, at least one, `(seq_len,)` each. The first papers are used.
    """
    papers = token_ids[:PAPERS]
    seconds = np.zeros((TURNS, 2))
    for turn in range(-1, TURNS):  # the first turn only warms up
        for number, model in enumerate((teacher, student)):
            began = time.perf_counter()
            embed(model, papers, max_tokens=TORCH_MAX_TOKENS)
            if turn >= 0:
                seconds[turn, number] = time.perf_counter() - began
    of_teacher, of_student = len(papers) / np.median(seconds, axis=0)
    return float(of_teacher), float(of_student)
