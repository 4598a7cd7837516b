"""Certifies the graphs of a bundle: runs them and the fp32 graph over unseen papers, as the job would."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from specter_batch.cpus import usable_cpus
from specter_batch.graph_names import DeviceKind
from specter_batch.metrics.binomial import papers_needed
from specter_batch.model.certificate import Certificate, shown_share
from specter_batch.model.device import Device
from specter_batch.model.predictions import CUDA_LENGTH_MULTIPLE, CUDA_MAX_TOKENS
from specter_batch.model.session import Graph, Logits, logits_alone
from specter_batch.model.tokens.encoding import (
    TextEncoder,
    TokenIds,
    longest_first,
    pad_batch,
    plan_batches,
    rounded_up,
)
from specter_batch.terminal import progress_bars
from specter_export.certificate.margins import (
    Agreement,
    candidate_margins,
    certified_margin,
    narrowest_margin,
)
from specter_export.certificate.sources import CertificatePapers
from specter_export.recipe import Recipe

# A wait that is longer than this is announced.
LONG_WAIT_SECONDS = 30.0
# The first papers show how long the others take.
PACE_PAPERS = 32
# With more papers than this share run again, int8 gains little.
MUCH_DEFERRED = 0.25


class CertificateProgress:
    """Shows how far the certification of a bundle is: bars on a terminal, and sentences for every reader.

    Args:
        console: Gets the bars if it is a terminal; nothing is shown when None.
        say: Function that is called with each sentence that a user should read.
    """

    def __init__(self, console: Console | None, say: Callable[[str], None]) -> None:
        self.say = say
        self._bars = progress_bars(
            console, TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )

    @contextmanager
    def stage(self, name: str, *, papers: int | None) -> Iterator[Callable[[int], None]]:
        """Show a bar for a stage that goes through papers once, and yield the function that advances it.

        Args:
            name: What the stage does.
            papers: Number of papers of the stage; None if it is not known.
        """
        with self._bars:
            task = self._bars.add_task(name, total=papers)
            yield lambda done: self._bars.advance(task, done)
            self._bars.remove_task(task)


@dataclass(frozen=True, kw_only=True)
class CheckedPapers:
    """Papers with the exact answers.

    Attributes:
        token_ids: Token ids of the papers.
        exact: Logits of the fp32 graph, `(n, n_labels)`.
    """

    token_ids: Sequence[TokenIds]
    exact: Logits

    def first(self, papers: int) -> "CheckedPapers":
        """Return the first papers."""
        return CheckedPapers(token_ids=self.token_ids[:papers], exact=self.exact[:papers])


@dataclass(frozen=True, kw_only=True)
class Certified:
    """What was found for a graph.

    Attributes:
        margin: The deferral margin of the graph; None if it has none.
        certificate: The certificate; None if there was no paper to check the graph on, or nothing to promise.
    """

    margin: float | None = None
    certificate: Certificate | None = None


@dataclass(frozen=True, kw_only=True)
class Certifier:
    """Certifies the graphs of one bundle on the same papers.

    Attributes:
        papers: The papers.
        fitting: The papers with which the margins to test are chosen.
        checking: The papers on which graphs are checked.
        reference_sha256: Hash of the fp32 graph.
        progress: Shows how far the certification is.
    """

    papers: CertificatePapers
    fitting: CheckedPapers
    checking: CheckedPapers
    reference_sha256: str
    progress: CertificateProgress

    @classmethod
    def open(
        cls,
        papers: CertificatePapers,
        *,
        encoder: TextEncoder,
        reference_file: Path,
        reference_sha256: str,
        progress: CertificateProgress,
    ) -> "Certifier":
        """Run the fp32 graph over all papers, one paper per call as the job runs it."""
        fitting, checking = encoder.encode(papers.fitting), encoder.encode(papers.checking)
        token_ids = [*fitting, *checking]
        graph = Graph(reference_file, device=Device(kind="cpu"), threads=1)
        with progress.stage("exact model", papers=len(token_ids)) as advance:
            began = time.monotonic()
            parts = [_on_cpu(graph, token_ids[:PACE_PAPERS], advance)]
            left = len(token_ids) - PACE_PAPERS
            seconds = (time.monotonic() - began) / PACE_PAPERS * left
            if seconds > LONG_WAIT_SECONDS:
                progress.say(
                    f"certificate: the exact model runs {len(token_ids):,} papers, for about {_duration(seconds)}. "
                    "Fewer papers take less time and show less. To use fewer, set `papers` in the section "
                    "[certificate] of the recipe"
                )
            if left > 0:
                parts.append(_on_cpu(graph, token_ids[PACE_PAPERS:], advance))
        exact = np.concatenate(parts)
        return cls(
            papers=papers,
            fitting=CheckedPapers(token_ids=fitting, exact=exact[: len(fitting)]),
            checking=CheckedPapers(token_ids=checking, exact=exact[len(fitting) :]),
            reference_sha256=reference_sha256,
            progress=progress,
        )

    def certify(self, graph: Graph, recipe: Recipe, *, graph_sha256: str, checked_on: DeviceKind) -> Certified:
        """Choose the deferral margin of a graph, and certify how many labels differ from the fp32 graph with it.

        Only int8 has a deferral margin. A graph of another precision is certified as it is.

        Args:
            graph: The graph.
            recipe: Its recipe. Without `max_label_flips` nothing is promised.
            graph_sha256: Hash of the graph.
            checked_on: The kind of device that the graph is loaded on.
        """
        settings, target = recipe.certificate, recipe.tolerances.max_label_flips
        if target is None:
            return Certified()
        defers = recipe.precision == "int8"
        candidates, checking = np.zeros(1), self.checking.first(settings.papers)
        papers = (len(self.fitting.token_ids) if defers else 0) + len(checking.token_ids)
        with self.progress.stage(recipe.file, papers=papers) as advance:
            if defers:
                fast = _logits(graph, self.fitting.token_ids, checked_on, advance)
                narrowest = narrowest_margin(
                    fast,
                    self.fitting.exact,
                    papers=len(checking.token_ids),
                    target=target,
                    delta=settings.delta,
                )
                candidates = candidate_margins(Agreement.of(fast, self.fitting.exact), narrowest)
            if not checking.token_ids:
                return Certified(margin=float(candidates[-1]) if defers else None)
            agreement = Agreement.of(_logits(graph, checking.token_ids, checked_on, advance), checking.exact)
        bound = certified_margin(candidates, agreement, target=target, delta=settings.delta)
        certificate = Certificate(
            epsilon=bound.epsilon,
            target=target,
            delta=settings.delta,
            papers=len(agreement),
            disagreements=bound.disagreements,
            deferred=agreement.deferred(bound.margin),
            upper_bound=bound.upper_bound,
            margin=bound.margin if defers else None,
            source=self.papers.source,
            papers_sha256=self.papers.sha256(len(agreement)),
            fitting_papers=len(self.fitting.token_ids) if defers else 0,
            device=recipe.device,
            checked_on=checked_on,
            graph_sha256=graph_sha256,
            reference_sha256=self.reference_sha256,
        )
        for sentence in limits_of(certificate):
            self.progress.say(f"warning: {recipe.file}: {sentence}")
        return Certified(margin=certificate.margin, certificate=certificate)


def limits_of(certificate: Certificate) -> Iterator[str]:
    """Yield sentences about what could not be reached: a smaller promise, or many papers that are run again."""
    held = certificate
    if not held.reaches_target:
        promise = f"promises that at most {shown_share(held.epsilon)} of labels differ, not {shown_share(held.target)}"
        needed = papers_needed(held.target, delta=held.delta)
        if needed is None:
            why = "no number of papers can show that"
        elif held.papers < needed:
            why = f"{held.papers:,} papers are too few, {needed:,} are needed even if no label differs"
        else:
            why = f"{held.disagreements:,} of {held.papers:,} labels differ"
        advice = "set a larger max_label_flips" if needed is None else "add --calibration with more unseen papers"
        yield f"the certificate {promise}, because {why}; {advice}"
    if held.deferred > MUCH_DEFERRED * held.papers:
        share = held.deferred / held.papers
        yield (
            f"{share:.0%} of the papers are too close to call and run again with the exact model, which costs most of "
            "the speed of int8; give papers like those to be labelled with --calibration, or more of them"
        )


def _logits(graph: Graph, token_ids: Sequence[TokenIds], device: DeviceKind, advance: Callable[[int], None]) -> Logits:
    """Return the logits `(n, n_labels)` of papers, run as the job runs them on this kind of device."""
    return _on_cpu(graph, token_ids, advance) if device == "cpu" else logits_in_batches(graph, token_ids, advance)


def _on_cpu(graph: Graph, token_ids: Sequence[TokenIds], advance: Callable[[int], None]) -> Logits:
    return logits_alone(graph, token_ids, threads=usable_cpus(), advance=advance)


def logits_in_batches(graph: Graph, token_ids: Sequence[TokenIds], advance: Callable[[int], None]) -> Logits:
    """Return the logits `(n, n_labels)` of papers, run in the padded batches in which the job runs them on CUDA."""
    order = longest_first([len(ids) for ids in token_ids])
    longest = len(token_ids[order[0]])
    lengths = rounded_up([len(token_ids[row]) for row in order], multiple=CUDA_LENGTH_MULTIPLE, most=longest)
    found: list[tuple[TokenIds, Logits]] = []
    for rows in plan_batches(lengths, max_tokens=CUDA_MAX_TOKENS):
        batch = pad_batch(token_ids, order[rows], seq_len=lengths[rows[0]])
        found.append((batch.row, graph.logits(batch)))
        advance(len(rows))
    positions = np.concatenate([rows for rows, _ in found])
    return np.concatenate([logits for _, logits in found])[np.argsort(positions)]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
