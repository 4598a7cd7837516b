"""Papers on a plane: a sample's embeddings before and after fine-tuning, side by side, coloured by label."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from specter_batch.errors import ConfigError
from specter_batch.metrics.f1 import Ints
from specter_batch.model.session import Embeddings
from specter_batch.papers.columns import PaperColumns
from specter_batch.training.embeddings.embed import Embedder
from specter_batch.training.embeddings.projection_figure import FORMATS, Panel, Points, draw, last_of
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.run.folder import TrainingRun

Method = Literal["pca", "umap"]
# Two axes, and a neighbour for each paper.
MIN_PAPERS = 4
# Embeddings closer than this, relative to the largest component, differ by rounding alone.
ROUNDING = 1e-5

# Gives `(n, hidden_size)` embeddings their `(n, 2)` points and the names of the two axes.
Reduce = Callable[[Embeddings], tuple[Points, tuple[str, str]]]


def project(
    run_folder: Path,
    papers: Path,
    out: Path,
    *,
    method: Method = "pca",
    encoder: str | None = None,
    n_papers: int = 2000,
    columns: PaperColumns | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Draw the embeddings of labelled papers before and after fine-tuning.

    Args:
        run_folder: Folder of the run.
        papers: Labelled papers, preferably papers that the run was not trained on.
        out: The picture, `.svg` or `.png`; the same input gives the same bytes.
        method: `pca`, or `umap`, which needs the package umap-learn.
        encoder: The encoder before fine-tuning; the one that the run's record names when None.
        n_papers: Largest number of papers to draw, chosen at random.
        columns: Column names of the papers; detected when None.
        seed: Random seed of the choice of papers and of UMAP.

    Returns:
        What was drawn, and for each panel the share of papers whose nearest neighbour, by the cosine of the
        embeddings themselves, has the same label.

    Raises:
        ConfigError: The picture's format is not known, UMAP is not installed, the encoder cannot be loaded, or the
            papers are too few or all the same.
        BundleError: `run_folder` is not a run.
        LabelError: The run does not know the label of a paper.
    """
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(f"{out}: expected a picture whose name ends in {' or '.join(FORMATS)}")
    reduce = _umap(seed) if method == "umap" else _pca
    after = Embedder.of_run(run_folder)
    run = TrainingRun.open(run_folder)
    before = Embedder.of_encoder(
        encoder or run.record.encoder, pooling=after.pooling, max_length=after.text_encoder.max_length
    )
    sample = _sample(read_labelled(papers, columns), n_papers, seed=seed)
    label_ids, texts = sample.label_ids(run.labels), sample.texts(run.text_template)
    trained_on = int(sample.seen_by(run.seen_texts(), template=run.text_template).sum())
    panels: list[Panel] = []
    for when, embedder in (("before", before), ("after", after)):
        embeddings = embedder.embed(texts)
        if _all_one(embeddings):
            raise ConfigError(f"{papers}: all {len(sample):,} papers have one embedding, so nothing can be projected")
        points, axes = reduce(embeddings)
        panels.append(
            Panel(
                title=f"{when}: {last_of(embedder.name)}",
                points=points,
                axes=axes,
                same_label=same_label_neighbours(embeddings, label_ids),
            )
        )
    settings = f"{after.pooling} pooling, at most {after.text_encoder.max_length} tokens"
    caption = (
        f"{len(sample):,} papers of {last_of(str(papers))}, {trained_on:,} of them trained on\n"
        f"{settings}, {method.upper()} of each panel by itself"
    )
    draw(panels, label_ids, run.labels.names, caption=caption, out=out, seed=seed)
    return {
        "picture": str(out),
        "method": method,
        "papers": len(sample),
        "trained_on": trained_on,
        "before": {"encoder": before.name, "same_label_neighbours": panels[0].same_label},
        "after": {"encoder": after.name, "same_label_neighbours": panels[1].same_label},
        "dropped": dict(sample.dropped),
    }


def same_label_neighbours(embeddings: Embeddings, label_ids: Ints) -> float:
    """Return the share of papers whose nearest other paper, by cosine, has their label.

    Args:
        embeddings: `(n, hidden_size)`.
        label_ids: `(n,)`.
    """
    neighbours = NearestNeighbors(n_neighbors=1, metric="cosine").fit(embeddings)
    nearest = neighbours.kneighbors(return_distance=False)[:, 0]  # of the papers themselves: never the paper itself
    return float((label_ids[nearest] == label_ids).mean())


def _sample(labelled: LabelledPapers, n_papers: int, *, seed: int) -> LabelledPapers:
    if len(labelled) < MIN_PAPERS:
        raise ConfigError(f"{labelled.source}: expected at least {MIN_PAPERS} labelled papers, got {len(labelled)}")
    rows = np.sort(np.random.default_rng(seed).permutation(len(labelled))[:n_papers])
    return LabelledPapers(papers=labelled.papers.take(pa.array(rows)), dropped=labelled.dropped, source=labelled.source)


def _all_one(embeddings: Embeddings) -> bool:
    # One text's embedding differs in its last bits with its place in a batch, on some processors.
    return bool(np.ptp(embeddings, axis=0).max() <= ROUNDING * np.abs(embeddings).max())


def _pca(embeddings: Embeddings) -> tuple[Points, tuple[str, str]]:
    pca = PCA(n_components=2, svd_solver="full")  # exact, so no seed
    points = pca.fit_transform(embeddings.astype(np.float64))
    first, second = pca.explained_variance_ratio_
    return points, (f"component 1 ({first:.0%} of the variance)", f"component 2 ({second:.0%})")


def _umap(seed: int) -> Reduce:
    try:
        from umap import UMAP
    except ModuleNotFoundError as error:
        raise ConfigError(
            "--method umap needs umap-learn, which is not installed: pip install umap-learn, or take --method pca"
        ) from error

    def reduce(embeddings: Embeddings) -> tuple[Points, tuple[str, str]]:
        # One job: with a seed UMAP takes no more, and would warn that it does not.
        umap = UMAP(n_components=2, metric="cosine", random_state=seed, n_jobs=1)
        return np.asarray(umap.fit_transform(embeddings), dtype=np.float64), ("UMAP 1", "UMAP 2")

    return reduce
