import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from specter_batch.errors import BundleError
from specter_batch.metrics.binomial import upper_bound
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.certificate import Certificate, shown_share
from specter_batch.model.manifest import MANIFEST_FILE, BundleManifest

HELD = (
    "With 95 % confidence at most 0.5 % of labels differ from the exact model, on papers like the 4,000 it was checked "
)
HELD += "on."


def certificate(**changes: Any) -> Certificate:
    values: dict[str, Any] = {
        "epsilon": 0.005,
        "target": 0.005,
        "delta": 0.05,
        "papers": 4000,
        "disagreements": 12,
        "deferred": 120,
        "margin": 0.4,
        "source": "calibration papers",
        "papers_sha256": "00",
        "fitting_papers": 500,
        "device": "cpu",
        "checked_on": "cpu",
        "graph_sha256": "11",
        "reference_sha256": "22",
    } | changes
    bound = upper_bound(min(values["disagreements"], values["papers"]), values["papers"], delta=values["delta"])
    return Certificate.model_validate({"upper_bound": bound} | values)


def certified(bundle: Path, target: Path, **changes: Any) -> Path:
    """Copy a bundle and give its second graph a certificate, with some values changed."""
    copied = Path(shutil.copytree(bundle, target))
    manifest = BundleManifest.model_validate_json((copied / MANIFEST_FILE).read_bytes())
    reference, graph, *others = manifest.graphs
    fitting = {
        "graph_sha256": graph.content_sha256,
        "reference_sha256": reference.content_sha256,
        "margin": graph.deferral_margin,
    }
    entry = graph.model_copy(update={"certificate": certificate(**fitting | changes)})
    sealed = manifest.model_copy(update={"graphs": (reference, entry, *others)})
    (copied / MANIFEST_FILE).write_text(json.dumps(sealed.model_dump(mode="json")))
    return copied


def test_the_sentence_says_what_is_promised_and_for_which_papers() -> None:
    assert certificate().sentence == HELD


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"source": "training papers"}, "These are training papers, which the model knows by heart: new papers may"),
        ({"device": "cuda", "margin": None}, "It was checked on CPU, and is made for CUDA."),
        ({"epsilon": 0.01}, "0.5 % was asked for, and these papers cannot show it."),
        ({"target": 0.0}, "0 % was asked for, and these papers cannot show it."),
        ({"target": 5e-324}, "0 % was asked for, and these papers cannot show it."),
    ],
)
def test_the_sentence_says_what_limits_the_promise(changes: dict[str, Any], more: str) -> None:
    assert more in certificate(**changes).sentence


def test_a_promise_is_rounded_up() -> None:
    shares = (0.005, 0.00501, 0.00993, 0.0123, 0.1, 0.123, 1.0)
    assert [shown_share(share) for share in shares] == ["0.5 %", "0.51 %", "1 %", "1.3 %", "10 %", "13 %", "100 %"]


@pytest.mark.parametrize(
    "changes", [{"disagreements": 13}, {"epsilon": 0.004}, {"upper_bound": 0.001}, {"deferred": 4001}, {"extra": 1}]
)
def test_figures_that_do_not_agree_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        certificate(**changes)


def test_a_number_of_papers_whose_bound_would_take_hours_is_refused() -> None:
    held = certificate().model_dump()
    with pytest.raises(ValidationError, match="less than or equal to 1000000"):
        Certificate.model_validate(held | {"papers": 10**400, "disagreements": 10**300})


def test_a_certificate_changes_no_output(tiny_bundle: Path, tmp_path: Path) -> None:
    opened = ModelBundle.open(certified(tiny_bundle, tmp_path / "bundle"))
    assert opened.manifest.graphs[1].certificate is not None
    assert opened.fingerprint == ModelBundle.open(tiny_bundle).fingerprint


@pytest.mark.parametrize(
    "changes", [{"graph_sha256": "33"}, {"reference_sha256": "33"}, {"margin": 99.0}, {"device": "cuda"}]
)
def test_a_certificate_for_another_graph_is_refused(tiny_bundle: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"the certificate of model_int8\.onnx was made for another graph or"):
        ModelBundle.open(certified(tiny_bundle, tmp_path / "bundle", **changes))


def test_a_certificate_that_was_edited_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    copied = certified(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((copied / MANIFEST_FILE).read_text())
    manifest["graphs"][1]["certificate"]["epsilon"] = 0.001
    (copied / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="12 disagreements in 4,000 papers have an upper bound"):
        ModelBundle.open(copied)
