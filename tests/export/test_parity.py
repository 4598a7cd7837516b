from collections.abc import Callable

import numpy as np
import pytest

from specter_batch.model.session import Embeddings, Logits, logits_alone
from specter_batch.model.tokens.encoding import EncodedBatch, TokenIds, pad_batch
from specter_batch.papers.text import TEXT_TEMPLATE
from specter_batch.training.run.folder import TrainingRun
from specter_export.parity import NO_LABEL, Answers, GatePapers, ParityReport, check_graph, compare, trap_texts
from specter_export.recipe import Tolerances

N_LABELS = 3
TIGHT = Tolerances(max_logit_difference=1e-4)
FLIPS = Tolerances(max_label_flips=0.05)


class FakeGraph:
    """A graph whose logits, and embeddings if it has any, are functions of the batch."""

    def __init__(
        self,
        of_batch: Callable[[EncodedBatch], Logits],
        embeddings: Callable[[EncodedBatch], Embeddings] | None = None,
    ) -> None:
        self.logits = of_batch
        self.gives_embeddings = embeddings is not None
        self.logits_and_embeddings = lambda batch: (of_batch(batch), embeddings(batch))


def honest(batch: EncodedBatch) -> Logits:
    """Return logits that depend on each paper's own tokens alone."""
    counted = np.stack([((batch.input_ids % N_LABELS) == i) & (batch.attention_mask == 1) for i in range(N_LABELS)])
    return counted.sum(axis=2).T.astype(np.float32) + np.array([0.0, 0.25, 0.5], dtype=np.float32)


def vectors(batch: EncodedBatch) -> Embeddings:
    """Return vectors that depend on each paper's own tokens alone."""
    return np.concatenate([honest(batch), batch.attention_mask.sum(axis=1, keepdims=True)], axis=1).astype(np.float32)


def turned(batch: EncodedBatch) -> Embeddings:
    return vectors(batch)[:, ::-1]


def reads_padding(batch: EncodedBatch) -> Logits:
    return honest(batch) + 0.01 * (batch.attention_mask == 0).sum(axis=1, keepdims=True).astype(np.float32)


def gives_nan(batch: EncodedBatch) -> Logits:
    return np.full((len(batch.input_ids), N_LABELS), np.nan, dtype=np.float32)


def prefers_the_first(batch: EncodedBatch) -> Logits:
    """Return logits under which the first label wins by a little, whatever the paper."""
    return np.tile(np.array([0.1, 0.0, 0.0], dtype=np.float32), (len(batch.input_ids), 1))


@pytest.fixture(scope="module")
def token_ids() -> list[TokenIds]:
    generator = np.random.default_rng(0)
    return [generator.integers(1, 100, size=length) for length in generator.integers(2, 40, size=50)]


@pytest.fixture(scope="module")
def expected(token_ids: list[TokenIds]) -> Logits:
    return logits_alone(FakeGraph(honest), token_ids)


def check(
    of_batch: Callable[[EncodedBatch], Logits],
    token_ids: list[TokenIds],
    expected: Logits,
    tolerances: Tolerances = TIGHT,
    *,
    margin: float | None = None,
    true: np.ndarray | None = None,
    logit_divisor: float = 1.0,
    embeddings: Callable[[EncodedBatch], Embeddings] | None = None,
) -> ParityReport:
    row = np.zeros(1, dtype=np.int64)
    return check_graph(
        FakeGraph(of_batch, embeddings),
        file="model.onnx",
        papers=GatePapers(
            token_ids=token_ids,
            expected=expected,
            embeddings=np.concatenate([vectors(pad_batch([ids], row)) for ids in token_ids]),
            true=np.full(len(token_ids), NO_LABEL) if true is None else true,
            logit_divisor=logit_divisor,
        ),
        tolerances=tolerances,
        reference=FakeGraph(honest, vectors),
        deferral_margin=margin,
    )


@pytest.mark.parametrize(("logit_divisor", "passed"), [(0.05, True), (0.5, False), (1.0, False), (3.0, False)])
def test_a_temperature_below_1_enlarges_the_allowed_difference_as_it_does_the_logits(
    token_ids: list[TokenIds], expected: Logits, logit_divisor: float, passed: bool
) -> None:
    def rounded(batch: EncodedBatch) -> Logits:
        return honest(batch) + 10 * np.float32(TIGHT.max_logit_difference or 0)

    assert check(rounded, token_ids, expected, logit_divisor=logit_divisor).passed is passed


def test_the_same_model_passes_alone_and_in_batches(token_ids: list[TokenIds], expected: Logits) -> None:
    report = check(honest, token_ids, expected)
    assert report.passed
    assert set(report.modes) == {"alone", "sorted batches", "random batches"}
    assert all(mode.max_logit_difference == 0 for mode in report.modes.values())


def test_a_graph_that_reads_padding_fails_in_batches_and_not_alone(token_ids: list[TokenIds], expected: Logits) -> None:
    report = check(reads_padding, token_ids, expected)
    assert report.modes["alone"].max_logit_difference == 0
    assert any(failure.startswith("random batches") for failure in report.failures)
    assert not any(failure.startswith("alone") for failure in report.failures)


@pytest.mark.parametrize("tolerances", [TIGHT, Tolerances(max_label_flips=1.0), Tolerances()])
def test_logits_that_are_no_numbers_never_pass(
    token_ids: list[TokenIds], expected: Logits, tolerances: Tolerances
) -> None:
    assert not check(gives_nan, token_ids, expected, tolerances).passed


def test_too_many_flipped_labels_fail(token_ids: list[TokenIds], expected: Logits) -> None:
    flips = int((expected.argmax(axis=1) != 0).sum())
    report = check(prefers_the_first, token_ids, expected, FLIPS)
    assert report.modes["alone"].label_flips == flips
    assert report.failures == (f"alone: {flips} of 50 labels flip ({flips / 50:.2%}), allowed 5.00%",)


def test_as_many_flips_as_are_allowed_pass(token_ids: list[TokenIds], expected: Logits) -> None:
    flips = int((expected.argmax(axis=1) != 0).sum())
    assert check(prefers_the_first, token_ids, expected, Tolerances(max_label_flips=flips / 50)).passed
    assert not check(prefers_the_first, token_ids, expected, Tolerances(max_label_flips=(flips - 1) / 50)).passed


def test_deferred_papers_are_asked_of_the_reference(token_ids: list[TokenIds], expected: Logits) -> None:
    report = check(prefers_the_first, token_ids, expected, FLIPS, margin=0.2)
    assert report.passed
    assert report.deferred_papers == 50
    assert report.modes["alone"].label_flips == 0


def test_papers_above_the_margin_are_not_deferred(token_ids: list[TokenIds], expected: Logits) -> None:
    report = check(prefers_the_first, token_ids, expected, FLIPS, margin=0.05)
    assert report.deferred_papers == 0
    assert not report.passed


def test_f1_counts_only_papers_with_a_label(token_ids: list[TokenIds], expected: Logits) -> None:
    true = np.where(np.arange(50) < 20, expected.argmax(axis=1), NO_LABEL)
    assert check(honest, token_ids, expected, true=true).macro_f1 == {"torch": 1.0, "graph": 1.0}
    assert check(honest, token_ids, expected).macro_f1 is None


def test_a_comparison_tells_by_how_much_a_flipped_label_was_preferred() -> None:
    found = compare(
        Answers(logits=np.array([[2.0, 1.5], [3.0, 0.0]], np.float32)),
        Answers(logits=np.array([[1.5, 2.0], [3.0, 0.25]], np.float32)),
    )
    assert (found.papers, found.label_flips, found.flip_margins) == (2, 1, (0.5,))
    assert found.max_logit_difference == 0.5
    assert 0 < found.max_probability_difference < 1
    assert (found.max_embedding_difference, found.min_embedding_cosine) == (None, None)


def test_a_comparison_has_the_worst_embedding() -> None:
    logits = np.zeros((2, 2), np.float32)
    found = compare(
        Answers(logits=logits, embeddings=np.array([[3.0, 4.0], [1.0, 0.0]], np.float32)),
        Answers(logits=logits, embeddings=np.array([[4.0, 3.0], [1.0, 0.0]], np.float32)),
    )
    assert found.max_embedding_difference == 1.0
    assert found.min_embedding_cosine == pytest.approx(24 / 25)


def test_embeddings_are_compared_alone_and_in_batches(token_ids: list[TokenIds], expected: Logits) -> None:
    modes = check(honest, token_ids, expected, embeddings=vectors).modes
    assert {(mode.max_embedding_difference, round(mode.min_embedding_cosine or 0, 9)) for mode in modes.values()} == {
        (0.0, 1.0)
    }


def test_embeddings_of_another_direction_fail_although_the_labels_are_right(
    token_ids: list[TokenIds], expected: Logits
) -> None:
    limited = Tolerances(min_embedding_cosine=0.99)
    report = check(honest, token_ids, expected, limited, embeddings=turned)
    assert len(report.failures) == 3
    assert report.failures[0].startswith("alone: the cosine of an embedding and Torch's is 0.")
    assert check(honest, token_ids, expected, Tolerances(), embeddings=turned).passed


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_never_passes(token_ids: list[TokenIds], expected: Logits, odd: float) -> None:
    report = check(
        honest, token_ids, expected, Tolerances(), embeddings=lambda batch: np.full_like(vectors(batch), odd)
    )
    assert report.failures == ("alone: a number of an embedding is not finite",)


def test_a_deferred_paper_has_the_embedding_of_the_reference(token_ids: list[TokenIds], expected: Logits) -> None:
    report = check(prefers_the_first, token_ids, expected, FLIPS, margin=0.2, embeddings=turned)
    assert report.modes["alone"].max_embedding_difference == 0
    assert report.modes["random batches"].max_embedding_difference != 0


def test_the_trap_texts_reach_the_shortest_and_the_longest_input(tiny_run: TrainingRun) -> None:
    lengths = [len(ids) for ids in tiny_run.text_encoder().encode(trap_texts(TEXT_TEMPLATE))]
    assert min(lengths) < 12
    assert max(lengths) == tiny_run.record.max_length
