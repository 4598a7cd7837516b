"""Show how often the promise of a certificate is broken, on random splits of real papers and in a simulation.

Usage: python benchmarks/certificate.py BUNDLE PAPERS LOGITS.npz [--splits N] [--simulated N]

The int8 and the fp32 graph of the bundle run over all papers once, and LOGITS.npz keeps their logits for another time.
In each split, 500 random papers choose the margins to test, and others certify one of them. The share of labels that
truly differs is that among all papers, from which those of the split are drawn. The simulated population is endless,
and its shares are known.
"""

import argparse
from pathlib import Path

import numpy as np

from specter_batch.cpus import usable_cpus
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.session import Graph, Logits, logits_alone
from specter_batch.options.screening import ScreeningRules
from specter_export.certificate.margins import Agreement, candidate_margins, certified_margin, narrowest_margin
from specter_export.certificate.papers import CalibrationInput, PaperChooser

FITTING, CHECKING = 500, (300, 700, 1000, 2000, 4000)
TARGET, DELTA = 0.005, 0.05
# The simulated margins are exponential, and the probability that a label differs falls exponentially with the margin.
MEAN_MARGIN, REACH, AT_A_TIE = 3.6, 0.12, 0.5
HEAD = "| papers checked | broken | promise | truly differ | run again |\n|---:|---:|---:|---:|---:|"


def read_logits(bundle: ModelBundle, papers: Path, file: Path) -> tuple[Logits, Logits]:
    """Return the int8 and fp32 logits of all usable papers that the model was not trained on."""
    if not file.exists():
        chooser = PaperChooser(
            count=1_000_000, rules=ScreeningRules(), template=bundle.text_template, seen_texts=bundle.seen_texts()
        )
        for batch in CalibrationInput(source=papers).batches():
            chooser.add(batch)
        token_ids = bundle.text_encoder().encode(chooser.chosen().texts)
        found = {}
        for precision in ("int8", "fp32"):
            entry = bundle.graph_for("cpu", precision)
            graph = Graph.of_bundle(bundle, entry, device=Device(kind="cpu"), threads=1)
            found[precision] = logits_alone(graph, token_ids, threads=usable_cpus())
        np.savez(file, **found)
    held = np.load(file)
    return held["int8"], held["fp32"]


def real_split(int8: Logits, fp32: Logits, checking: int, order: np.ndarray) -> tuple[float, float, float]:
    """Certify on some papers; return the promise, and the shares of all that differ and that are run again."""
    fitting, checked, _ = np.split(order, [FITTING, FITTING + checking])
    narrowest = narrowest_margin(int8[fitting], fp32[fitting], papers=checking, target=TARGET, delta=DELTA)
    candidates = candidate_margins(Agreement.of(int8[fitting], fp32[fitting]), narrowest)
    bound = certified_margin(candidates, Agreement.of(int8[checked], fp32[checked]), target=TARGET, delta=DELTA)
    population = Agreement.of(int8, fp32)
    differing = int(population.disagreements(np.array([bound.margin]))[0])
    return bound.epsilon, differing / len(population), population.deferred(bound.margin) / len(population)


def simulated_split(checking: int, generator: np.random.Generator) -> tuple[float, float, float]:
    """Certify on simulated papers. No margin is fitted: the candidates go down to 0, which is the hardest case."""
    fitting, checked = _simulated(FITTING, generator), _simulated(checking, generator)
    bound = certified_margin(candidate_margins(fitting, 0.0), checked, target=TARGET, delta=DELTA)
    rate = 1 / MEAN_MARGIN + 1 / REACH
    differing = AT_A_TIE / MEAN_MARGIN / rate * np.exp(-bound.margin * rate)
    return bound.epsilon, float(differing), float(1 - np.exp(-bound.margin / MEAN_MARGIN))


def _simulated(papers: int, generator: np.random.Generator) -> Agreement:
    margin = generator.exponential(MEAN_MARGIN, papers)
    return Agreement(margin=margin, differs=generator.random(papers) < AT_A_TIE * np.exp(-margin / REACH))


def row(checking: int, results: list[tuple[float, float, float]]) -> str:
    """Return a row of the table."""
    promise, differing, deferred = np.array(results).T
    return (
        f"| {checking:,} | {(differing > promise).mean():.1%} | {promise.mean():.2%} | {differing.mean():.2%} "
        f"| {deferred.mean():.1%} |"
    )


def main() -> None:
    """Print a table of the splits of real papers, and a table of the simulation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("papers", type=Path)
    parser.add_argument("logits", type=Path)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--simulated", type=int, default=10_000)
    given = parser.parse_args()
    int8, fp32 = read_logits(ModelBundle.open(given.bundle), given.papers, given.logits)
    generator = np.random.default_rng(0)
    print(f"{given.splits} splits of {len(int8):,} papers:\n\n{HEAD}")
    for checking in CHECKING:
        if len(int8) > FITTING + checking:
            orders = [generator.permutation(len(int8)) for _ in range(given.splits)]
            print(row(checking, [real_split(int8, fp32, checking, order) for order in orders]))
    print(f"\n{given.simulated:,} simulated certificates:\n\n{HEAD}")
    for checking in CHECKING:
        print(row(checking, [simulated_split(checking, generator) for _ in range(given.simulated)]))


if __name__ == "__main__":
    main()
