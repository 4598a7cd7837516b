"""Where the papers of a certificate come from: papers that the user gives, validation papers, or training papers."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.display import storable
from specter_batch.errors import ConfigError
from specter_batch.metrics.binomial import papers_needed
from specter_batch.model.certificate import Source
from specter_batch.options.screening import ScreeningRules
from specter_batch.papers.parquet import PaperBatch
from specter_batch.papers.text import text_hash
from specter_batch.training.papers.labelled import READ_ROWS
from specter_batch.training.run.folder import TrainingRun
from specter_export.certificate.papers import SEEN, CalibrationInput, ChosenPapers, PaperChooser
from specter_export.recipe import Recipe

# Of 100 papers 80 are checked on. The best that they can promise is that at most 3.7 % of labels differ.
FEWEST_PAPERS = 100
# From fewer papers no margin can be fitted that is worth starting from.
FEWEST_FITTING = 50

_NO_TEXTS = np.zeros(0, dtype=np.uint64)
# What to do if papers are too few, by the reason for which most papers were left out.
_ADVICE = {
    SEEN: "give papers that the model was not trained on",
    "not_english": "for a model of papers in other languages, add --language any",
    "missing_abstract": "to use papers without an abstract too, add --missing-abstract title_only",
}


@dataclass(frozen=True, kw_only=True)
class CertificatePapers:
    """The papers of a bundle's certificates, in two parts that have no text in common.

    Attributes:
        source: Where the papers come from.
        fitting: Texts with which the margins to test are chosen.
        checking: Texts on which the graphs are checked.
        notes: Sentences about the papers that a user should read.
    """

    source: Source
    fitting: tuple[str, ...]
    checking: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def sha256(self, papers: int) -> str:
        """Return a hash of the texts of the first papers that graphs are checked on."""
        hashes = sorted(text_hash(text) for text in self.checking[:papers])
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """How many papers the recipes of a bundle ask for.

    Attributes:
        fitting: Papers for choosing margins.
        checking: Papers for checking graphs.
        needed: Papers without a disagreement that show the smallest share that a recipe asks for.
    """

    fitting: int
    checking: int
    needed: int

    @classmethod
    def by(cls, recipes: Sequence[Recipe]) -> "_Wanted":
        settings = [recipe.certificate for recipe in recipes]
        shares = [(recipe.tolerances.max_label_flips, recipe.certificate.delta) for recipe in recipes]
        return cls(
            fitting=max(recipe.certificate.fitting_papers for recipe in recipes),
            checking=max(one.papers for one in settings),
            needed=max(papers_needed(share or 0, delta=delta) or 0 for share, delta in shares),
        )

    def divided(self, texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Divide papers into those for choosing margins and those for checking graphs.

        A fifth is for choosing, at most `fitting`. If fewer than `needed` were then left for checking, choosing gets
        less, but not less than `FEWEST_FITTING` papers or a fifth.
        """
        first = min(self.fitting, len(texts) // 5, max(len(texts) - self.needed, FEWEST_FITTING))
        return tuple(texts[:first]), tuple(texts[first : first + self.checking])


def certificate_papers(
    run: TrainingRun,
    recipes: Sequence[Recipe],
    *,
    given: CalibrationInput | None,
    training: tuple[pa.Table, pa.Table],
    advance: Callable[[int], None] = lambda _: None,
) -> CertificatePapers:
    """Choose the papers of the certificates: the given ones, else validation papers, else training papers.

    Args:
        run: The run that is exported.
        recipes: The recipes of the graphs to certify, at least one.
        given: Papers that the user gives; None to use papers of the run.
        training: Training papers that the run keeps, those that the graphs are fitted on and others.
        advance: Function that is called with the number of papers that were just read.

    Raises:
        BundleError: The run's validation papers were changed.
        ConfigError: Too few of the given papers can be used.
        PaperSchemaError: The given papers cannot be read.
    """
    wanted = _Wanted.by(recipes)
    # Recipes that ask for fewer papers than a certificate needs must not make a large dump look too small.
    count = max(wanted.fitting + wanted.checking, FEWEST_PAPERS)
    if given is not None:
        chosen = _choose(given.batches(), run, rules=given.rules, count=count, advance=advance)
        if len(chosen.texts) < FEWEST_PAPERS:
            raise ConfigError(_too_few(given, chosen))
        fitting, checking = wanted.divided(chosen.texts)
        return CertificatePapers(
            source="calibration papers", fitting=fitting, checking=checking, notes=(_used(given, chosen),)
        )
    table = run.validation_papers()
    # A model may have been trained on papers in any language.
    rules = ScreeningRules(language="any")
    held = None if table is None else _choose(_batches(table), run, rules=rules, count=count)
    if held is not None and len(held.texts) >= FEWEST_PAPERS:
        fitting, checking = wanted.divided(held.texts)
        return CertificatePapers(source="validation papers", fitting=fitting, checking=checking)
    why = (
        "the run keeps no validation papers, because an earlier version trained it"
        if held is None
        else f"the run keeps only {len(held.texts):,} validation papers that it was not trained on, and a certificate "
        f"needs at least {FEWEST_PAPERS}"
    )
    parts = [
        _choose(_batches(part), run, rules=rules, count=most, seen_texts=_NO_TEXTS).texts
        for part, most in zip(training, (wanted.fitting, wanted.checking), strict=True)
    ]
    fitting, fitted = parts[0], set(parts[0])
    return CertificatePapers(
        source="training papers",
        fitting=fitting,
        checking=tuple(text for text in parts[1] if text not in fitted),
        notes=(
            f"warning: certificate: {why}. It is made on training papers, on which fewer labels differ than on new "
            "papers; give unseen papers like those to be labelled with --calibration",
        ),
    )


def _used(given: CalibrationInput, chosen: ChosenPapers) -> str:
    """Return the sentence that says which of the given papers are used."""
    left_out = f"; left out: {chosen.left_out_text}" if chosen.left_out else ""
    return (
        f"--calibration {storable(str(given.source))}: {len(chosen.texts):,} of {chosen.papers:,} papers are used"
        f"{left_out}"
    )


def _too_few(given: CalibrationInput, chosen: ChosenPapers) -> str:
    shown = storable(str(given.source))
    if not chosen.papers:
        return f"--calibration {shown}: holds no papers; give papers like those to be labelled"
    most = max(chosen.left_out, key=lambda reason: chosen.left_out[reason], default="")
    left_out = f" (left out: {chosen.left_out_text})" if chosen.left_out else ""
    return (
        f"--calibration {shown}: {len(chosen.texts):,} of {chosen.papers:,} papers can be used{left_out}, and a "
        f"certificate needs at least {FEWEST_PAPERS}; {_ADVICE.get(most, 'give more papers')}, or leave --calibration "
        "out"
    )


def _batches(table: pa.Table) -> Iterator[PaperBatch]:
    for start in range(0, table.num_rows, READ_ROWS):
        part = table.slice(start, READ_ROWS)
        yield PaperBatch(table=part, invalid_unicode=np.zeros(part.num_rows, dtype=np.bool_))


def _choose(
    batches: Iterable[PaperBatch],
    run: TrainingRun,
    *,
    rules: ScreeningRules,
    count: int,
    seen_texts: npt.NDArray[np.uint64] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> ChosenPapers:
    """Choose papers that the run was not trained on, or that are not in `seen_texts` if that is given."""
    seen_texts = run.seen_texts() if seen_texts is None else seen_texts
    chooser = PaperChooser(count=count, rules=rules, template=run.text_template, seen_texts=seen_texts)
    for batch in batches:
        chooser.add(batch)
        advance(len(batch))
    return chooser.chosen()
