import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import BundleError, ConfigError
from specter_batch.model.session import Embeddings
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.embeddings.embed import Embedder
from specter_batch.training.embeddings.projection import project, same_label_neighbours
from specter_batch.training.embeddings.projection_figure import COLOURS, MARKERS, Panel, _legible, _style, draw
from specter_batch.training.run.folder import TrainingRun


@pytest.fixture(scope="module")
def picture(tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("projection") / "deep" / "projection.svg"
    project(tiny_run.path, sample_paths.val, out)
    return out


def test_the_same_input_gives_the_same_bytes(
    picture: Path, tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    project(tiny_run.path, sample_paths.val, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == picture.read_bytes()
    assert "<dc:date>" not in picture.read_text()


def test_every_paper_is_a_point_of_either_panel(picture: Path, sample_paths: SamplePaths) -> None:
    collections = re.findall(r'<g id="PathCollection_\d+">(.*?)</g>\s*</g>', picture.read_text(), flags=re.DOTALL)
    assert sum(group.count("<use ") for group in collections) == 2 * sample_paths.n_val


def test_a_png_is_a_picture_of_two_panels_and_a_legend(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    project(tiny_run.path, sample_paths.val, tmp_path / "p.PNG")
    with Image.open(tmp_path / "p.PNG") as image:
        assert image.format == "PNG"
        assert image.width > 2 * image.height


def test_fine_tuning_brings_papers_of_a_label_together_and_training_papers_are_told(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    unseen = project(tiny_run.path, sample_paths.val, tmp_path / "p.svg")
    assert unseen["after"]["same_label_neighbours"] > unseen["before"]["same_label_neighbours"]
    assert (unseen["papers"], unseen["trained_on"]) == (sample_paths.n_val, 0)
    seen = project(tiny_run.path, sample_paths.train, tmp_path / "p.svg", n_papers=50)
    assert (seen["papers"], seen["trained_on"]) == (50, 50)


def test_the_share_of_neighbours_of_the_same_label_never_counts_the_paper_itself() -> None:
    generator = np.random.default_rng(0)
    embeddings, label_ids = generator.normal(size=(60, 5)).astype(np.float32), generator.integers(0, 3, 60)
    right = []
    for row in range(60):
        others = np.arange(60) != row
        nearest = KNeighborsClassifier(1, metric="cosine").fit(embeddings[others], label_ids[others])
        right.append(nearest.predict(embeddings[row : row + 1])[0] == label_ids[row])
    assert same_label_neighbours(embeddings, label_ids) == pytest.approx(np.mean(right))
    # Equal papers are each other's neighbours.
    assert same_label_neighbours(np.ones((4, 5), np.float32), np.array([0, 0, 0, 0])) == 1


def test_forty_nine_labels_have_a_colour_and_marker_each_and_the_rarest_beyond_share_one() -> None:
    label_ids = np.repeat(np.arange(60), np.arange(60, 0, -1))
    drawn, legend = _legible(label_ids, [f"label {i}" for i in range(60)])
    assert len({_style(label) for label in range(49)}) == 49 == len(COLOURS) * len(MARKERS)
    assert set(drawn.tolist()) == {-1, *range(49)}
    assert label_ids[drawn == -1].min() == 49
    assert legend[0] == "label 0 (60)"
    assert legend[-1] == f"other labels ({(drawn == -1).sum()})"
    assert _style(-1) == _style(len(legend) - 1)


def test_labels_that_do_not_occur_take_no_colour() -> None:
    drawn, legend = _legible(np.array([5, 2, 5]), [f"label {i}" for i in range(60)])
    assert drawn.tolist() == [1, 0, 1]
    assert legend == ["label 2 (1)", "label 5 (2)"]


def test_hostile_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ["_hidden", "$\\frac{", "<b>&amp;", "x" * 300]
    points = np.random.default_rng(0).normal(size=(40, 2))
    panel = Panel(title="$x^2$ <i>", points=points, axes=("a_1", "$"), same_label=0.5)
    draw([panel], np.arange(40) % 4, names, caption="100 % of $p_1$", out=tmp_path / "p.svg", seed=0)
    assert "<b>" not in (tmp_path / "p.svg").read_text().replace("<!-- ", "")
    assert "_hidden (10)" in (tmp_path / "p.svg").read_text()  # matplotlib writes a text's words as a comment
    assert [path.name for path in tmp_path.iterdir()] == ["p.svg"]


def test_another_format_a_folder_that_is_no_run_and_too_few_papers_are_refused(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.svg or \.png"):
        project(tiny_run.path, sample_paths.val, tmp_path / "p.jpeg")
    with pytest.raises(BundleError, match="not a finished training run"):
        project(tmp_path, sample_paths.val, tmp_path / "p.svg")
    pq.write_table(pq.read_table(sample_paths.val).slice(0, 3), tmp_path / "few.parquet")
    with pytest.raises(ConfigError, match="at least 4 labelled papers, got 3"):
        project(tiny_run.path, tmp_path / "few.parquet", tmp_path / "p.svg")


def test_papers_that_are_all_the_same_are_refused(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pq.read_table(sample_paths.val).slice(0, 1)
    pq.write_table(pa.concat_tables([first] * 6), tmp_path / "same.parquet")
    with pytest.raises(ConfigError, match="all 6 papers have one embedding"):
        project(tiny_run.path, tmp_path / "same.parquet", tmp_path / "p.svg")
    exact = Embedder.embed

    def rounded(self: Embedder, texts: Sequence[str]) -> Embeddings:
        noise = np.random.default_rng(0).normal(scale=1e-7, size=(len(texts), 1))
        return (exact(self, texts) * (1 + noise)).astype(np.float32)

    monkeypatch.setattr(Embedder, "embed", rounded)
    with pytest.raises(ConfigError, match="all 6 papers have one embedding"):
        project(tiny_run.path, tmp_path / "same.parquet", tmp_path / "p.svg")


def test_umap_that_is_not_installed_is_told_with_how_to_install_it(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match="pip install umap-learn"):
        project(tiny_run.path, sample_paths.val, tmp_path / "p.svg", method="umap")


def test_another_encoder_may_be_given_for_the_one_that_is_gone(
    tiny_run: TrainingRun, tiny_encoder: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    command = ["project", str(tiny_run.path), str(sample_paths.val), str(tmp_path / "p.svg")]
    with pytest.raises(ConfigError, match="was not found"):
        CliRunner().invoke(build_app(), [*command, "--encoder", str(tmp_path / "gone")], catch_exceptions=False)
    command += ["--encoder", str(tiny_encoder), "--sample", "40"]
    found = json.loads(CliRunner().invoke(build_app(), [*command, "--json"], catch_exceptions=False).stdout)
    assert found["papers"] == 40
    assert "40 papers, 0 of them trained on" in CliRunner().invoke(build_app(), command, catch_exceptions=False).stdout
