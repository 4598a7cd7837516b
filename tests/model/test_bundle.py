import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from specter_batch.errors import BundleError, FingerprintError
from specter_batch.model.bundle import ModelBundle, load_seen_texts
from specter_batch.model.device import Device
from specter_batch.model.manifest import MANIFEST_FILE, BundleManifest
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.storage.files import file_sha256
from specter_batch.storage.folder_swap import set_aside
from specter_batch.training.run.folder import TrainingRun


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
    edit(copied, lambda manifest: manifest.update(format_version=3, something_new=True))
    with pytest.raises(
        BundleError, match="bundle format 3 is newer than the 2 this version reads; upgrade: pip install --upgrade"
    ):
        ModelBundle.open(copied)


def test_a_text_template_that_is_none_is_an_error_of_the_bundle(copied: Path) -> None:
    edit(copied, lambda manifest: manifest.update(text_template="{title.__class__}{abstract}"), sealed=True)
    with pytest.raises(BundleError, match=r"bundle\.json: a text template holds \{title\} and \{abstract\} once each"):
        ModelBundle.open(copied)


@pytest.mark.parametrize("content", [None, b"other weights"])
def test_weights_under_the_name_of_the_model_card_are_checked_like_others(copied: Path, content: bytes | None) -> None:
    """Everybody may edit the card, so it must never decide over labels."""
    edit(copied, lambda manifest: manifest["graphs"][0].update(external_data={"README.md": "0" * 64}), sealed=True)
    (copied / "README.md").unlink(missing_ok=True)
    if content is not None:
        (copied / "README.md").write_bytes(content)
    with pytest.raises(BundleError, match=r"README\.md"):
        ModelBundle.open(copied)


@pytest.mark.parametrize("version", [3.0, "3", 0, True, -1])
def test_a_format_that_is_no_whole_number_is_refused(copied: Path, version: object) -> None:
    edit(copied, lambda manifest: manifest.update(format_version=version))
    with pytest.raises(BundleError, match="format_version"):
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
    with pytest.raises(
        BundleError, match=r"not a model bundle, bundle\.json is missing; make one with `specter-batch export"
    ):
        ModelBundle.open(tmp_path)


def test_a_cpu_gets_the_int8_graph_unless_another_is_asked_for(tiny_bundle: Path) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.graph_for("cpu").precision == "int8"
    assert bundle.graph_for("cpu", "fp32").precision == "fp32"


def test_cuda_never_gets_the_int8_graph(tiny_bundle: Path) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert bundle.graph_for("cuda").precision == "fp16"
    assert bundle.graph_for("cuda", "fp32").precision == "fp32"
    with pytest.raises(
        BundleError, match="--graph int8: cuda cannot run all of this graph; give --graph fp16 or --graph fp32"
    ):
        bundle.graph_for("cuda", "int8")


def test_a_graph_that_the_bundle_lacks_is_said_to_be_missing(tiny_bundle: Path) -> None:
    whole = ModelBundle.open(tiny_bundle)
    graphs = tuple(graph for graph in whole.manifest.graphs if graph.precision != "fp16")
    bundle = ModelBundle(
        path=whole.path, place=whole.path, manifest=whole.manifest.model_copy(update={"graphs": graphs})
    )
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
    assert bundle.reference().label_shares.keys() == set(tiny_run.labels)
    text = "Renal outcomes[SEP]After treatment."
    ours, theirs = (model.text_encoder().encode([text])[0].tolist() for model in (bundle, tiny_run))
    assert ours == theirs


# Files that hold something else than they should, sealed as their author could seal them


def put(bundle: Path, name: str, content: bytes) -> None:
    (bundle / name).write_bytes(content)
    edit(bundle, lambda manifest: manifest["files"].update({name: file_sha256(bundle / name)}), sealed=True)


def saved(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, hashes=np.zeros(3, np.uint64))
    return stream.getvalue()


SEEN = saved(np.arange(5, dtype=np.uint64))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        SEEN[:40],
        SEEN[:-3],
        SEEN + b"1",
        SEEN.replace(b"(5,)", b"(9,)"),
        SEEN.replace(b"(5,)", b"(5000000000000,)").replace(b"                ", b"   ", 1),
        SEEN.replace(b"'descr'", b"'descx'"),
        SEEN.replace(b"(5,)", b"(5,("),
        saved(np.arange(5)),
        saved(np.arange(5, dtype=np.uint32)),
        saved(np.arange(5.0)),
        saved(np.zeros((2, 3), np.uint64)),
        saved(np.uint64(3)),
        saved([{"a": 1}]),
        saved(["a", "b"]),
        saved(np.array([3, 2, 1], np.uint64)),
        zipped(),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    ],
    ids=range(19),
)
def test_training_hashes_that_are_none_are_refused_when_the_bundle_is_opened(copied: Path, content: bytes) -> None:
    put(copied, "seen_texts.npy", content)
    with pytest.raises(BundleError, match=r"seen_texts\.npy: .*export") as caught:
        ModelBundle.open(copied)
    assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match=r"seen_texts\.npy: "):
        load_seen_texts(copied)


@pytest.mark.parametrize("hashes", [[], [7], [1, 1, 2**64 - 1]])
def test_training_hashes_of_either_byte_order_are_read(copied: Path, hashes: list[int]) -> None:
    for kind in ("<u8", ">u8"):
        put(copied, "seen_texts.npy", saved(np.array(hashes, kind)))
        found = ModelBundle.open(copied).seen_texts()
        assert (found.tolist(), found.dtype) == (hashes, np.uint64)


@pytest.mark.parametrize(
    "change",
    [
        lambda reference: reference.pop("papers"),
        lambda reference: reference.update(papers=0),
        lambda reference: reference.update(mean_score="high"),
        lambda reference: reference.update(mean_score=float("nan")),
        lambda reference: reference["score_histogram"].pop(),
        lambda reference: reference.update(score_histogram={"0": 1}),
        lambda reference: reference.update(label_shares=[0.5, 0.5]),
    ],
    ids=range(7),
)
def test_a_drift_reference_of_another_shape_is_refused_when_the_bundle_is_opened(
    copied: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    reference = json.loads((copied / "reference.json").read_text())
    change(reference)
    put(copied, "reference.json", json.dumps(reference).encode())
    with pytest.raises(BundleError, match=r"reference\.json: .*; export the bundle again") as caught:
        ModelBundle.open(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("name", ["reference.json", "tokenizer.json"])
def test_a_file_that_is_no_json_of_its_kind_is_refused_when_the_bundle_is_opened(
    copied: Path, name: str, content: bytes
) -> None:
    put(copied, name, content)
    with pytest.raises(BundleError, match=name):
        ModelBundle.open(copied)


@pytest.mark.parametrize("labels", [["a", "a"], [], [""]])
def test_labels_that_are_none_are_refused_when_the_bundle_is_opened(copied: Path, labels: list[str]) -> None:
    edit(copied, lambda manifest: manifest.update(labels=labels), sealed=True)
    with pytest.raises(BundleError, match="export the bundle again"):
        ModelBundle.open(copied)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(temperature=float("inf")),
        lambda manifest: manifest["graphs"][1].update(deferral_margin=float("nan")),
        lambda manifest: manifest["graphs"][1].update(deferral_margin=-1),
    ],
    ids=["temperature", "margin", "negative margin"],
)
def test_a_number_that_no_export_writes_is_refused(copied: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(copied, change)
    with pytest.raises(BundleError, match=r"bundle\.json: (temperature|graphs\.1\.deferral_margin)"):
        ModelBundle.open(copied)


def test_a_manifest_nested_too_deep_is_a_bundle_error(copied: Path) -> None:
    (copied / MANIFEST_FILE).write_text("[" * 200_000)
    with pytest.raises(BundleError, match="not valid JSON"):
        ModelBundle.open(copied)


def test_what_a_report_needs_is_kept_from_the_moment_the_bundle_was_opened(copied: Path) -> None:
    bundle = ModelBundle.open(copied)
    reference, seen = bundle.reference(), bundle.seen_texts()
    for file in copied.iterdir():
        file.unlink()
    assert bundle.reference() == reference
    assert np.array_equal(bundle.seen_texts(), seen)


def test_a_tokenizer_that_was_replaced_after_the_bundle_was_opened_is_noticed(copied: Path) -> None:
    bundle = ModelBundle.open(copied)
    (copied / "tokenizer.json").write_bytes((copied / "tokenizer.json").read_bytes() + b" ")
    with pytest.raises(FingerprintError, match=r"tokenizer\.json: differs"):
        bundle.text_encoder()


def test_an_older_bundle_that_a_killed_export_moved_aside_is_named(copied: Path) -> None:
    copied.rename(set_aside(copied))
    with pytest.raises(BundleError, match=r"an export was killed .* is .*\.bundle\.replaced: export again"):
        ModelBundle.open(copied)


# Weights in other files


@pytest.fixture
def apart(copied: Path) -> Path:
    """Return a bundle whose fp32 graph keeps its weights in a file, as export lists them."""
    model = onnx.load(copied / "model.onnx")
    onnx.save(model, copied / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    edit(copied, lambda manifest: list_external(copied, manifest["graphs"][0]), sealed=True)
    edit(copied, without_certificates)  # they are made for the graph as it was
    return copied


def without_certificates(manifest: dict[str, Any]) -> None:
    for graph in manifest["graphs"]:
        graph.pop("certificate", None)


def list_external(bundle: Path, entry: dict[str, Any]) -> None:
    entry["sha256"] = file_sha256(bundle / "model.onnx")
    entry["external_data"] = {"model.onnx_data": file_sha256(bundle / "model.onnx_data")}


def test_weights_in_another_file_are_part_of_the_bundle(apart: Path, tiny_bundle: Path) -> None:
    bundle, whole = ModelBundle.open(apart), ModelBundle.open(tiny_bundle)
    papers = bundle.text_encoder().encode(["Renal outcomes[SEP]After treatment.", "Sepsis[SEP]"])
    logits = []
    for opened in (bundle, whole):
        classifier = OnnxClassifier(opened, device=Device(kind="cpu"), precision="fp32", threads=1)
        logits.append(classifier.logits(papers))
        classifier.close()
    assert np.array_equal(*logits)
    assert bundle.fingerprint != whole.fingerprint


def test_other_weights_in_another_file_are_another_model(apart: Path) -> None:
    first = ModelBundle.open(apart)
    flip_byte(apart / "model.onnx_data")
    with pytest.raises(FingerprintError, match=r"model\.onnx_data: differs"):
        ModelBundle.open(apart)
    edit(apart, lambda manifest: list_external(apart, manifest["graphs"][0]))
    with pytest.raises(FingerprintError, match="was edited"):
        ModelBundle.open(apart)
    edit(apart, lambda _: None, sealed=True)
    assert ModelBundle.open(apart).fingerprint != first.fingerprint


def test_weights_that_the_manifest_lists_for_no_graph_are_refused(apart: Path) -> None:
    def move(manifest: dict[str, Any]) -> None:
        manifest["files"].update(manifest["graphs"][0].pop("external_data"))

    edit(apart, move, sealed=True)
    with pytest.raises(BundleError, match=r"model\.onnx: takes weights from model\.onnx_data, which the manifest"):
        ModelBundle.open(apart)


def test_weights_behind_a_link_are_refused(apart: Path) -> None:
    (apart / "model.onnx_data").rename(apart.parent / "weights")
    (apart / "model.onnx_data").symlink_to("../weights")
    with pytest.raises(BundleError, match="expected a plain file in the bundle's own folder"):
        ModelBundle.open(apart)


def test_the_manifest_of_an_ordinary_graph_does_not_name_other_files(tiny_bundle: Path) -> None:
    written = (tiny_bundle / MANIFEST_FILE).read_text()
    assert "external_data" not in written
    assert json.loads(written) == ModelBundle.open(tiny_bundle).manifest.model_dump(mode="json")
