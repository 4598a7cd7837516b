import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown import markdown
from tokenizers import Tokenizer

from specter_batch.display import visible_text
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.manifest import CARD_FILE, BundleManifest, read_manifest
from specter_batch.storage.files import file_sha256
from specter_batch.training.run.folder import TrainingRun
from specter_export.card.facts import last_part
from specter_export.card.model_card import model_card

GOLDEN = Path(__file__).parents[2] / "golden/bundle_v1"
SCORES: dict[str, Any] = {
    "macro_f1": 0.75,
    "accuracy": 0.75,
    "expected_calibration_error": 0.0312,
    "scored_papers": 4,
    "seen_in_training": 1,
    "per_label": [
        {"label": "a", "precision": 1.0, "recall": 0.5, "f1": 0.6667, "support": 2, "predicted": 1},
        {"label": "b", "precision": 0.6667, "recall": 1.0, "f1": 0.8, "support": 2, "predicted": 3},
    ],
    "confusion": [[1, 1], [0, 2]],
    "labels": ["a", "b"],
}

HEADINGS = [
    "## Labels",
    "## Scores",
    "### Validation papers",
    "## Calibration",
    "## Agreement with PyTorch",
    "## Data",
    "## Where the model comes from",
    "## Limits",
    "## How to load it",
]


def manifest_with(**training: Any) -> BundleManifest:
    """Return the golden bundle's manifest with two labels and other facts about the training."""
    return read_manifest(GOLDEN).model_copy(
        update={"labels": ("a", "b"), "training": training, "encoder": "/home/me/enc"}
    )


def parts(card: str) -> tuple[dict[str, Any], str]:
    _, metadata, body = card.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_export_writes_a_card_that_the_hub_can_read(tiny_bundle: Path, tiny_run: TrainingRun) -> None:
    card = ModelCard.load(tiny_bundle / CARD_FILE)
    assert card.data.language == "en"
    assert card.data.library_name == "specter-batch"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.license is None  # nobody told us
    assert card.data.base_model is None  # the encoder is a local folder
    results = {result.metric_type: result.metric_value for result in card.data.eval_results or []}
    assert results["f1"] == round(tiny_run.record.training["validation"]["macro_f1"], 4)
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.manifest.files[CARD_FILE] == file_sha256(tiny_bundle / CARD_FILE)
    assert bundle.fingerprint in card.text


def test_the_card_has_the_figures_of_training_and_export(tiny_bundle: Path, tiny_run: TrainingRun) -> None:
    text = (tiny_bundle / CARD_FILE).read_text()
    training = tiny_run.record.training
    assert sum(training["train_labels"].values()) == training["train_papers"]
    for name, count in training["train_labels"].items():
        assert f"| {name} | {count} | {count / training['train_papers']:.1%} |" in text
    interval = training["validation"]["macro_f1_interval"]
    assert f"(95 % bootstrap interval {interval['low']:.4f} to {interval['high']:.4f})" in text
    assert f"| training | train.parquet | {training['train_papers']} | 0 | `{training['train_sha256']}` |" in text
    assert f"temperature {tiny_run.temperature:.4f}" in text
    for graph in ModelBundle.open(tiny_bundle).manifest.graphs:
        assert f"| `{graph.file}` | {graph.precision} |" in text
        if graph.certificate is not None:
            assert graph.certificate.sentence in text


def test_no_folder_of_the_machine_is_in_the_card(tiny_bundle: Path, tiny_run: TrainingRun) -> None:
    text = (tiny_bundle / CARD_FILE).read_text()
    for place in (tiny_bundle.parent, tiny_run.path.parent, Path(tiny_run.record.encoder).parent, Path.home()):
        assert str(place) not in text
    assert os.uname().nodename not in text


def test_a_card_may_be_edited_or_removed(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (bundle / CARD_FILE).write_text("# My own words\n")
    assert ModelBundle.open(bundle).fingerprint == ModelBundle.open(tiny_bundle).fingerprint
    (bundle / CARD_FILE).unlink()
    assert ModelBundle.open(bundle).is_same_as(ModelBundle.open(tiny_bundle))


def test_the_examples_in_the_card_run_and_agree(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle").symlink_to(tiny_bundle)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (tiny_bundle / CARD_FILE).read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    printed = []
    for block in blocks:
        exec(compile(block, "card", "exec"), {})  # noqa: S102 - our own examples
        printed.append(capsys.readouterr().out)
    by_pipeline = re.search(r"'label': '([^']+)', 'score': ([0-9.]+)", printed[1])
    assert by_pipeline is not None
    by_runtime = printed[2].strip().rpartition(" ")
    assert by_pipeline[1] == by_runtime[0]
    assert float(by_pipeline[2]) == pytest.approx(float(by_runtime[2]), abs=1e-4)
    assert by_runtime[0] in printed[0]


def test_the_example_for_onnx_runtime_does_not_pad_although_the_tokenizer_does(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    monkeypatch.chdir(tmp_path)
    block = re.findall(r"```python\n(.*?)```", (bundle / CARD_FILE).read_text(), flags=re.DOTALL)[2]
    printed = []
    for length in (None, 64):
        tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        if length is not None:
            tokenizer.enable_padding(length=length)
        tokenizer.save(str(bundle / "tokenizer.json"))
        exec(compile(block, "card", "exec"), {})  # noqa: S102 - our own example
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_test_papers_come_before_validation_papers() -> None:
    manifest = manifest_with(
        validation=SCORES, test={**SCORES, "seen_in_training": 0}, test_papers=4, test_sha256="ab" * 32, train_papers=9
    )
    metadata, body = parts(model_card(manifest))
    assert body.index("### Test papers") < body.index("### Validation papers")
    assert "No decision of the training was made on these papers." in body
    assert "1 more papers were also training papers and are left out." in body
    assert "The best epoch and the temperature were chosen on these papers" in body
    assert [result["dataset"]["split"] for result in metadata["model-index"][0]["results"]] == ["test", "validation"]
    assert f"| test | not recorded | 4 | 0 | `{'ab' * 32}` |" in body


def test_a_run_of_an_earlier_version_gets_a_card_that_says_what_is_missing() -> None:
    metadata, body = parts(model_card(manifest_with()))
    assert "The shares of the labels in the training papers were not recorded." in body
    assert "No score was recorded." in body
    assert "model-index" not in metadata
    assert "metrics" not in metadata
    assert "Divide the logits of the graphs by it before the softmax." in body  # format 1
    assert f" / {read_manifest(GOLDEN).temperature}\n" in body


def test_the_encoder_is_a_base_model_only_if_it_came_from_the_hub() -> None:
    manifest = manifest_with(encoder_is_folder=False).model_copy(update={"encoder": "allenai/specter"})
    metadata, body = parts(model_card(manifest))
    assert metadata["base_model"] == "allenai/specter"
    assert "- Encoder: allenai/specter\n" in body
    metadata, body = parts(model_card(manifest_with(encoder_is_folder=True)))
    assert "base_model" not in metadata
    assert "- Encoder: enc (a folder on the machine that trained the model)" in body


@pytest.mark.parametrize("run", [1, 2, 5])
def test_backticks_in_the_text_template_do_not_end_the_code(run: int) -> None:
    template = "{title}" + "`" * run + "<img src=x onerror=alert(1)>{abstract}"
    _, body = parts(model_card(manifest_with().model_copy(update={"text_template": template})))
    fence = "`" * (run + 1)
    assert f"joined as {fence} {template} {fence} |\n" in body
    assert "<img" not in markdown(body, extensions=["tables", "fenced_code"])


def test_the_runs_before_it_are_named_without_their_folders() -> None:
    older = {"run": "/home/me/runs/first", "train_sha256": "cd" * 32, "train_papers": 1234, "started_from": None}
    text = model_card(
        manifest_with(
            started_from={"run": "C:\\me\\second", "train_sha256": None, "started_from": older},
            distilled_from={"run": "/runs/teacher", "train_sha256": "ef" * 32, "layers": [1, 4, 6], "of_layers": 6},
        )
    )
    assert "- Trained from the run second\n" in text
    assert f"- Trained from the run first, trained on 1,234 papers (SHA-256 `{'cd' * 32}`)" in text
    assert f"- Distilled from the run teacher, with its layers 1, 4, 6 of 6 (SHA-256 `{'ef' * 32}`)" in text
    assert "/home/me" not in text


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("a/b/train.parquet", "train.parquet"),
        ("s3://b/k/x*.parquet?sig=1", "x*.parquet"),
        ("C:\\a\\b", "b"),
        ("/", "–"),
    ],
)
def test_the_last_part_of_a_place(place: str, name: str) -> None:
    assert last_part(place) == name


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)


@settings(deadline=None, max_examples=25)
@given(names=st.lists(texts, min_size=2, max_size=3, unique=True), file=texts, encoder=texts)
def test_names_from_outside_break_neither_the_metadata_nor_the_tables(
    names: list[str], file: str, encoder: str
) -> None:
    scores = {
        **SCORES,
        "labels": names,
        "per_label": [{**SCORES["per_label"][0], "label": name} for name in names],
        "confusion": np.eye(len(names), dtype=int).tolist(),
    }
    manifest = manifest_with(
        validation=scores,
        validation_papers=4,
        validation_file=file,
        train_labels=dict.fromkeys(names, 1),
        train_papers=len(names),
        encoder_is_folder=False,
        started_from={"run": file},
    ).model_copy(update={"labels": tuple(names), "encoder": encoder})
    card = model_card(manifest)
    metadata, body = parts(card)
    assert metadata["base_model"] == visible_text(encoder)
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert headings[1:] == HEADINGS
    html = markdown(body, extensions=["tables", "fenced_code"])
    assert html.count("<table>") == 5
    assert not re.search(r"<(?:script|img|a)\b", html)
