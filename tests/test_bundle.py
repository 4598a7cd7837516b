import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specter_batch.bundle import MANIFEST_FILE, BundleManifest, ModelBundle, file_sha256
from specter_batch.errors import BundleError, FingerprintError
from specter_batch.training.run import TrainingRun


@pytest.fixture
def copied(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def edit(bundle: Path, change: Callable[[dict[str, Any]], object], *, sealed: bool = False) -> None:
    """Change the manifest; sealed, its fingerprint is computed anew, as its author could."""
    manifest = json.loads((bundle / MANIFEST_FILE).read_text())
    change(manifest)
    if sealed:
        manifest["fingerprint"] = BundleManifest.model_validate(manifest).expected_fingerprint()
    (bundle / MANIFEST_FILE).write_text(json.dumps(manifest))


def flip_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_copied_bundle_opens_as_the_same_bundle(copied: Path, tiny_bundle: Path) -> None:
    assert ModelBundle.open(str(copied)).manifest == ModelBundle.open(tiny_bundle).manifest


@pytest.mark.parametrize(
    "name", ["model.onnx", "model_int8.onnx", "tokenizer.json", "config.json", "parity.json", "seen_texts.npy"]
)
def test_one_flipped_bit_in_a_file_is_noticed(copied: Path, name: str) -> None:
    flip_byte(copied / name)
    with pytest.raises(FingerprintError, match=f"{name}: differs from the file the bundle was built with"):
        ModelBundle.open(copied)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "reference.json", "seen_texts.npy", "parity.json"])
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: a file of the bundle is missing"):
        ModelBundle.open(copied)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(temperature=manifest["temperature"] * 2),
        lambda manifest: manifest.update(text_template="{abstract}[SEP]{title}"),
        lambda manifest: manifest.update(max_length=64),
        lambda manifest: manifest["labels"].reverse(),
        lambda manifest: manifest["graphs"][1].update(deferral_margin=99.0),
        lambda manifest: manifest["graphs"].pop(),
    ],
    ids=["temperature", "template", "length", "labels", "margin", "graphs"],
)
def test_an_edit_that_changes_an_output_is_noticed(copied: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(copied, change)
    with pytest.raises(FingerprintError, match=r"bundle\.json: was edited"):
        ModelBundle.open(copied)


@pytest.mark.parametrize("name", ["../outside.json", "deeper/file.json", "/etc/hostname"])
def test_a_file_outside_the_bundle_is_not_read(copied: Path, name: str) -> None:
    (copied.parent / "outside.json").write_text("{}")
    (copied / "deeper").mkdir()
    (copied / "deeper" / "file.json").write_text("{}")
    sha256 = file_sha256(copied.parent / "outside.json")
    edit(copied, lambda manifest: manifest["files"].update({name: sha256}), sealed=True)
    with pytest.raises(BundleError, match="a file of the bundle is missing"):
        ModelBundle.open(copied)


@pytest.mark.parametrize("name", ["../model.onnx", "/model.onnx", "model.onnx\n", "model.bin", "model.onnx/../x.onnx"])
def test_a_graph_outside_the_bundle_is_refused(copied: Path, name: str) -> None:
    edit(copied, lambda manifest: manifest["graphs"][0].update(file=name))
    with pytest.raises(BundleError, match=r"graphs\.0\.file"):
        ModelBundle.open(copied)


def test_a_newer_format_asks_for_an_upgrade(copied: Path) -> None:
    edit(copied, lambda manifest: manifest.update(format_version=2, something_new=True))
    with pytest.raises(BundleError, match="bundle format 2 is newer than the 1 this version reads; upgrade"):
        ModelBundle.open(copied)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"bundle"', "{}", b"\xff\xfe\x00"])
def test_a_manifest_that_is_none_is_a_bundle_error(copied: Path, content: str | bytes) -> None:
    (copied / MANIFEST_FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BundleError, match=r"bundle\.json.*export the bundle again"):
        ModelBundle.open(copied)


def test_a_truncated_manifest_is_a_bundle_error(copied: Path) -> None:
    content = (copied / MANIFEST_FILE).read_bytes()
    (copied / MANIFEST_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="not valid JSON"):
        ModelBundle.open(copied)


@pytest.mark.parametrize(
    "change", [lambda m: m.pop("temperature"), lambda m: m.update(temperature=0), lambda m: m.update(tempreature=1)]
)
def test_a_field_missing_wrong_or_unknown_is_named(copied: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(copied, change)
    with pytest.raises(BundleError, match="temp"):
        ModelBundle.open(copied)


@pytest.mark.parametrize("name", ["tokenizer.json", "parity.json", "reference.json", "seen_texts.npy"])
def test_a_manifest_must_list_what_every_bundle_has(copied: Path, name: str) -> None:
    edit(copied, lambda manifest: manifest["files"].pop(name), sealed=True)
    with pytest.raises(BundleError, match=f"does not list {name}"):
        ModelBundle.open(copied)


def test_a_graph_that_failed_its_gate_is_refused(copied: Path) -> None:
    edit(copied, lambda manifest: manifest["graphs"][1]["parity"].update(passed=False))
    with pytest.raises(BundleError, match=r"model_int8\.onnx: failed its parity gate"):
        ModelBundle.open(copied)


def test_a_bundle_without_its_reference_graph_is_refused(copied: Path) -> None:
    edit(copied, lambda manifest: manifest["graphs"].pop(0), sealed=True)
    with pytest.raises(BundleError, match="no fp32 reference graph"):
        ModelBundle.open(copied)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"not a model bundle, bundle\.json is missing; make one with export"):
        ModelBundle.open(tmp_path)


def test_a_cpu_gets_the_int8_graph_unless_another_is_asked_for(tiny_bundle: Path) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.graph_for("cpu").precision == "int8"
    assert bundle.graph_for("cpu", "fp32").precision == "fp32"


def test_cuda_never_gets_the_int8_graph(tiny_bundle: Path) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.graph_for("cuda").precision == "fp16"
    assert bundle.graph_for("cuda", "fp32").precision == "fp32"
    with pytest.raises(BundleError, match="int8 does not run on cuda without falling back; use fp16 or fp32"):
        bundle.graph_for("cuda", "int8")


def test_a_graph_that_the_bundle_lacks_is_said_to_be_missing(tiny_bundle: Path) -> None:
    whole = ModelBundle.open(tiny_bundle)
    graphs = tuple(graph for graph in whole.manifest.graphs if graph.precision != "fp16")
    bundle = ModelBundle(path=whole.path, manifest=whole.manifest.model_copy(update={"graphs": graphs}))
    assert bundle.graph_for("cuda").precision == "fp32"
    with pytest.raises(BundleError, match="no fp16 graph for cuda; it holds fp32, int8"):
        bundle.graph_for("cuda", "fp16")


def test_only_an_int8_graph_has_a_deferral_margin(tiny_bundle: Path) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.graph_for("cpu", "fp32").deferral_margin is None
    margin = bundle.graph_for("cpu", "int8").deferral_margin
    assert margin is not None
    assert margin >= 0


def test_the_bundle_carries_what_the_run_kept(tiny_bundle: Path, tiny_run: TrainingRun) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert np.array_equal(bundle.seen_texts(), tiny_run.seen_texts())
    assert bundle.reference()["label_shares"].keys() == set(tiny_run.labels)
    text = "Renal outcomes[SEP]After treatment."
    ours, theirs = (model.text_encoder().encode([text])[0].tolist() for model in (bundle, tiny_run))
    assert ours == theirs
