"""The rounds of `side_by_side.py`: each round runs every method once, in its own process."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from measuring.bench_papers import hardest_to_start_with
from measuring.nights import run_night
from measuring.processes import Finished, run_measured
from one_contender import EXIT_MISSING_PACKAGE, TURN

from contest.contenders import JOB, REFERENCE, Contender, contenders
from specter_batch.errors import ShardError
from specter_batch.graph_names import DeviceKind

ONE_CONTENDER = Path(__file__).parents[1] / "one_contender.py"
# The number of papers that a slow method is timed on is a multiple of the study's batch size.
BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The result of running one method once.

    Attributes:
        papers: Number of timed papers.
        seconds: Time from texts to labels; for the job from parquet to labels.
        cpu_seconds: CPU time of all cores.
        load_seconds: Time until the method could begin.
        peak_mb: Peak memory of its process.
        card_mb: Peak memory on the card; None on a CPU.
        label_id: Predicted label ids by row of the papers.
        with_start_up: Papers per second including the start-up; only for the job.
    """

    papers: int
    seconds: float
    cpu_seconds: float
    load_seconds: float
    peak_mb: float
    card_mb: float | None
    label_id: dict[int, int]
    with_start_up: float | None = None


@dataclass(kw_only=True)
class Race:
    """Runs the rounds and keeps their results.

    Attributes:
        run: Folder of the Torch checkpoint.
        bundle: Folder of the bundle.
        work: Folder with `papers.parquet`. Models of other methods and nights are written there.
        device: Device that all methods run on.
        papers: Canonical papers with the column `turn`.
        timed: Number of papers that are timed.
        compare: True if the model is trained. Methods that may change labels then label all papers once.
        turns: Results by key, one for each round.
        order: Keys in the order in which they ran.
        skipped: Reasons why methods have no result, by key.
    """

    run: Path
    bundle: Path
    work: Path
    device: DeviceKind
    papers: pa.Table
    timed: int
    compare: bool
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def start(self, keys: Sequence[str], *, rounds: int) -> None:
        """Prepare the methods and run the rounds. A method that fails is left out, and its reason is printed.

        Raises:
            ShardError: The reference failed. Labels cannot be compared without it.
        """
        for key in keys:
            self._try(key, self._prepare)
        for number in range(rounds):
            for key in keys:
                if key not in self.skipped:
                    print(f"round {number + 1} of {rounds}: {key}", file=sys.stderr, flush=True)
                    self._try(key, self._job if key == JOB else self._turn)
        if REFERENCE in self.skipped:
            raise ShardError(f"the reference {REFERENCE} failed: {self.skipped[REFERENCE]}")

    def timed_papers(self, contender: Contender) -> int:
        """Return the number of papers that a method is timed on."""
        return min(self.timed, max(BATCH, BATCH * round(self.timed * contender.share / BATCH)))

    def rows_timed(self, contender: Contender) -> pa.Table:
        """Return the papers that a method is timed on, in file order."""
        return self.papers.filter(pc.less(self.papers[TURN], self.timed_papers(contender)))

    def _try(self, key: str, measure: Callable[[str], None]) -> None:
        try:
            measure(key)
        except ShardError as error:
            self.skipped[key] = str(error)
            self.turns.pop(key, None)
            print(f"skipped: {key}: {error}", file=sys.stderr, flush=True)

    def _prepare(self, key: str) -> None:
        if self._contender(key).prepare is not None:
            self._child(key, "--prepare")

    def _turn(self, key: str) -> None:
        contender = self._contender(key)
        timed, out = self.timed_papers(contender), self.work / "turn.json"
        may_differ = key == REFERENCE or (contender.precision != "fp32" and not contender.is_student)
        # Only in the first round, because the labels are the same in every round.
        rest = ["--rest"] if self.compare and may_differ and key not in self.turns else []
        words = ["--papers", str(self.work / "papers.parquet"), "--timed", str(timed), "--out", str(out), *rest]
        process = self._child(key, *words)
        told = json.loads(out.read_text())
        label_id = {int(row): label for row, label in told.pop("label_id").items()}
        self._keep(key, Turn(papers=timed, **told, label_id=label_id, peak_mb=process.peak_mb, card_mb=process.card_mb))

    def _job(self, key: str) -> None:
        """Run the command on one paper, then on all. The difference is the time of the other papers."""
        papers = self.rows_timed(self._contender(key))
        first = papers.slice(hardest_to_start_with(papers), 1)
        nights = self.work / "nights"
        one = run_night(first, nights / "one", bundle=self.bundle, device=self.device)
        whole = run_night(papers, nights / "all", bundle=self.bundle, device=self.device)
        rows = {paper_id: row for row, paper_id in enumerate(self.papers["paper_id"].to_pylist())}
        turn = Turn(
            papers=len(papers) - 1,
            # A small model takes so little time that the difference is noise. Then the labelling time is used.
            seconds=max(whole.process.seconds - one.process.seconds, whole.labelling_seconds),
            cpu_seconds=max(whole.process.cpu_seconds - one.process.cpu_seconds, 0.0),
            load_seconds=one.process.seconds,
            peak_mb=whole.process.peak_mb,
            card_mb=whole.process.card_mb,
            label_id={rows[paper_id]: label for paper_id, label in whole.label_ids().items()},
            with_start_up=len(papers) / whole.process.seconds,
        )
        self._keep(key, turn)

    def _keep(self, key: str, turn: Turn) -> None:
        self.turns.setdefault(key, []).append(turn)
        self.order.append(key)

    def _contender(self, key: str) -> Contender:
        return contenders(self.device)[key]

    def _child(self, key: str, *words: str) -> Finished:
        folders = ["--run", str(self.run), "--bundle", str(self.bundle), "--work", str(self.work)]
        command = [sys.executable, str(ONE_CONTENDER), key, "--device", self.device, *folders, *words]
        process = run_measured(command, device=self.device)
        if process.exit_code == EXIT_MISSING_PACKAGE:
            raise ShardError(f"{process.last_line}; see benchmarks/contest/peers.py")
        if process.exit_code:
            raise ShardError(f"ended with {process.exit_code}: {process.last_line}")
        return process
