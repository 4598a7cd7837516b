"""Measure how many papers per second the model labels on this device, with a part of the sample."""

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.tokens.encoding import TokenIds
from specter_jobs.estimate.ranges import Range
from specter_jobs.estimate.result import GivenRate, MeasuredRate
from specter_jobs.estimate.sampling import Sample
from specter_jobs.plan.config import NightConfig

# Number of timed parts. Their tenth and ninetieth percentiles give the range. On CUDA each part is at least a batch.
SLICE_PAPERS_A_THREAD, SLICE_PAPERS_CUDA = 4, 512
MIN_SLICES = 5


def rate_of(
    bundle: ModelBundle,
    device: Device,
    config: NightConfig,
    sample: Sample,
    *,
    papers_per_second: float | None,
    seconds: float,
) -> tuple[GivenRate | MeasuredRate, npt.NDArray[np.float64] | None]:
    """Return the speed of one device, and the scores of the timed papers.

    Args:
        bundle: Bundle with the model.
        device: Device that the model runs on.
        config: Settings of the night, with graph and threads.
        sample: Sample whose papers are labelled.
        papers_per_second: Known speed, or None to measure it.
        seconds: Approximate time of the measurement.

    Returns:
        The speed of the device, and scores `(timed,)`, or None if nothing was measured.
    """
    if papers_per_second is not None:
        return GivenRate(device=str(device), papers_per_second=Range.exactly(papers_per_second)), None
    classifier = OnnxClassifier(bundle, device=device, precision=config.graph, threads=config.threads)
    try:
        scores, timed = _timed_slices(classifier, sample.token_ids, seconds=seconds)
    finally:
        classifier.close()
    papers, tokens, spent = (np.array(column) for column in zip(*timed, strict=True))
    low, high = np.percentile(tokens / spent, [10, 90])
    mean_rate = float(tokens.sum() / spent.sum())
    rate = Range(estimate=mean_rate, low=min(float(low), mean_rate), high=max(float(high), mean_rate))
    mean = float(np.mean([len(ids) for ids in sample.token_ids]))
    used = classifier.describe()
    model = MeasuredRate(
        device=used["device"],
        provider=used["provider"],
        graph=used["graph"],
        threads=classifier.threads,
        papers=int(papers.sum()),
        seconds=float(spent.sum()),
        slices=len(timed),
        tokens_per_second=rate,
        papers_per_second=rate.times(1 / mean),
    )
    return model, scores


def _timed_slices(
    classifier: OnnxClassifier, token_ids: Sequence[TokenIds], *, seconds: float
) -> tuple[npt.NDArray[np.float64], list[tuple[int, int, float]]]:
    """Time parts of mixed lengths until the time is over or the sample is used up. The first part warms up the model.

    Returns:
        Scores of the timed papers, and papers, tokens and seconds of each part.
    """
    size = SLICE_PAPERS_CUDA if classifier.device.kind == "cuda" else SLICE_PAPERS_A_THREAD * classifier.threads
    order = np.random.default_rng(0).permutation(len(token_ids))
    slices = [[token_ids[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
    classifier.predict(slices[0])
    timed: list[tuple[int, int, float]] = []
    scores: list[npt.NDArray[np.float64]] = []
    for papers in slices:
        began = time.perf_counter()
        scores.append(classifier.predict(papers).score)
        timed.append((len(papers), sum(map(len, papers)), time.perf_counter() - began))
        if len(timed) >= MIN_SLICES and sum(spent for _, _, spent in timed) >= seconds:
            break
    return np.concatenate(scores), timed
