"""The figures of all rounds for `bench.json`: medians and ranges, ratios, changed labels and targets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from one_contender import TURN

from contest.contenders import JOB, REFERENCE, STUDY, contenders, model_flops
from contest.rounds import Race, Turn
from contest.targets import judge, ratios, spread
from specter_batch.metrics.f1 import F1Report, Tally
from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.text import paper_texts
from specter_batch.training.run.folder import TrainingRun


class Figures:
    """Computes the figures of a finished race.

    Args:
        run: The Torch checkpoint.
        bundle: The bundle exported from the checkpoint.
        race: The race after its last round.
        peak_tflops: Peak speed of the card; None on a CPU.
    """

    def __init__(self, *, run: TrainingRun, bundle: ModelBundle, race: Race, peak_tflops: float | None) -> None:
        self._run, self._bundle, self._race, self._peak = run, bundle, race, peak_tflops
        papers = race.papers
        self._token_ids = bundle.text_encoder().encode(paper_texts(papers, bundle.text_template))
        self._turns = papers[TURN].to_numpy()
        self._true = [None if label is None else bundle.labels.find(label) for label in papers["label"].to_pylist()]

    def as_json(self) -> dict[str, Any]:
        """Return the fields of `bench.json` that are computed from the rounds."""
        race, record = self._race, self._run.record
        measured = {key: self._contender(key, turns) for key, turns in race.turns.items()}
        for figures in measured.values():
            for name, other in (("times_study", STUDY), ("times_fp32", REFERENCE)):
                one = figures["key"]
                figures[name] = spread(ratios(measured, one, other)) if other in measured else None
        lengths = [len(ids) for ids in self._token_ids]
        return {
            "model": {
                "encoder": record.encoder,
                "trained": self._race.compare,
                "labels": len(record.labels),
                "max_length": record.max_length,
                "deferral_margin": self._margin(),
            },
            "papers": {"read": len(lengths), "timed": race.timed, "mean_tokens": float(np.mean(lengths))},
            "rounds": max(map(len, race.turns.values())),
            "order": race.order,
            "contenders": measured,
            "skipped": race.skipped,
            "targets": judge(measured, trained=self._race.compare) if race.device == "cpu" else [],
        }

    def _contender(self, key: str, turns: list[Turn]) -> dict[str, Any]:
        contender = contenders(self._race.device)[key]
        timed = [self._token_ids[row] for row in np.flatnonzero(self._turns < self._race.timed_papers(contender))]
        rates = [turn.papers / turn.seconds for turn in turns]
        figures = {
            "key": key,
            "title": contender.title,
            "precision": contender.precision,
            "papers": len(timed),
            "mean_tokens": float(np.mean([len(ids) for ids in timed])),
            "rates": rates,
            "papers_per_second": spread(rates),
            "cpu_ms": spread([1000 * turn.cpu_seconds / turn.papers for turn in turns]),
            "peak_mb": spread([turn.peak_mb for turn in turns]),
            "card_mb": None if turns[0].card_mb is None else spread([turn.card_mb or 0.0 for turn in turns]),
            "load_seconds": spread([turn.load_seconds for turn in turns]),
            "labels_changed": None if contender.is_student else self._labels_changed(turns[0].label_id),
            "macro_f1": None if contender.is_student else self._macro_f1(turns[0].label_id),
        }
        if self._peak is not None:
            flops = model_flops(self._run, timed) / len(timed)
            figures["share_of_peak"] = spread([flops * rate / (1e12 * self._peak) for rate in rates])
        if key == JOB:
            figures["with_start_up"] = spread([turn.with_start_up or 0.0 for turn in turns])
        return figures

    def _labels_changed(self, label_id: Mapping[int, int]) -> dict[str, Any] | None:
        """Compare with the reference over the papers that both labelled; None without a reference."""
        if REFERENCE not in self._race.turns:
            return None
        reference = self._race.turns[REFERENCE][0].label_id
        both = [row for row in label_id if row in reference]
        changed = sum(label_id[row] != reference[row] for row in both)
        return {"papers": len(both), "changed": changed, "share": changed / len(both)}

    def _macro_f1(self, label_id: Mapping[int, int]) -> float | None:
        """Return the macro F1 over papers whose true label the model knows; None if not all papers were labelled."""
        rows = [row for row, true in enumerate(self._true) if true is not None]
        if not rows or not self._race.compare or not label_id.keys() >= set(rows):
            return None
        true, found = (np.array([labels[row] for row in rows]) for labels in (self._true, label_id))
        tally = Tally.count(true, found, np.ones(len(rows)), n_labels=len(self._bundle.labels))
        return F1Report.from_tally(tally, self._bundle.labels).macro_f1

    def _margin(self) -> float | None:
        return next(
            (graph.deferral_margin for graph in self._bundle.manifest.graphs if graph.precision == "int8"), None
        )
