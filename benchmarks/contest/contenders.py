"""The methods that `side_by_side.py` compares: how each is made, and on how many papers it is timed.

Heavy packages are imported when a method is made, so a process that only reads this list needs little memory.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from contest import peers
from specter_batch.graph_names import DeviceKind, Precision
from specter_batch.metrics.f1 import Ints
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.papers.text import paper_texts
from specter_batch.training.run.folder import TrainingRun

if TYPE_CHECKING:
    from specter_batch.training.evaluation.answers import Classifier

# Keys that the targets and the table use.
STUDY, REFERENCE, SESSION, JOB = "study_loop", "onnx_fp32", "session", "job"
STUDENT_HALF, STUDENT_THIRD = "student_half", "student_third"

# Shares of the papers that slow methods are timed on, so that no method takes most of a round's time. The study's loop
# needs the fewest papers: it pads them, so all of them take the same time.
A_TWELFTH, A_SIXTH, A_THIRD, TWO_THIRDS = 1 / 12, 1 / 6, 1 / 3, 2 / 3


@dataclass(frozen=True, kw_only=True)
class Papers:
    """Papers to label, as texts and as token ids."""

    texts: Sequence[str]
    token_ids: Sequence[TokenIds]


Ask = Callable[[Papers], Ints]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The files that all methods are made from.

    Attributes:
        run: The Torch checkpoint.
        bundle: The bundle exported from the checkpoint.
        work: A folder for the models that other methods make from the bundle's fp32 graph.
    """

    run: TrainingRun
    bundle: ModelBundle
    work: Path

    def graph(self, precision: Precision) -> Path:
        """Return a CPU graph of the bundle."""
        return self.bundle.path / self.bundle.graph_for("cpu", precision).file

    def papers(self, table: pa.Table) -> Papers:
        """Return papers of the canonical schema as texts and token ids."""
        texts = list(paper_texts(table, self.bundle.text_template))
        return Papers(texts=texts, token_ids=self.bundle.text_encoder().encode(texts))


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method to run the model.

    Attributes:
        title: Name in the table.
        precision: Number format of the weights. Formats other than fp32 may change labels.
        make: Function that loads the method; None for the job, which is run as a command.
        prepare: Function that makes the files that `make` loads.
        share: Share of the papers that the method is timed on.
        is_student: True for a model with fewer layers, which gives other labels.
    """

    title: str
    precision: str
    make: Callable[[Setting], Ask] | None
    prepare: Callable[[Setting], object] | None = None
    share: float = 1.0
    is_student: bool = False


def contenders(device: DeviceKind) -> Mapping[str, Contender]:
    """Return the methods for a device by key, in the order of a round."""
    return CUDA if device == "cuda" else CPU


def _study_loop(device: str) -> Callable[[Setting], Ask]:
    def make(setting: Setting) -> Ask:
        from contest.text_peers import study_loop

        label_ids = study_loop(setting.run, device=device)
        return lambda papers: label_ids(papers.texts)

    return make


def _pipeline_torch(device: str) -> Callable[[Setting], Ask]:
    def make(setting: Setting) -> Ask:
        from contest.text_peers import pipeline_torch

        label_ids = pipeline_torch(setting.run, device=device)
        return lambda papers: label_ids(papers.texts)

    return make


def _pipeline_onnx(file_of: Callable[[Setting], Path]) -> Callable[[Setting], Ask]:
    def make(setting: Setting) -> Ask:
        from contest.text_peers import pipeline_onnx

        file, bundle = file_of(setting), setting.bundle
        label_ids = pipeline_onnx(file.parent, file.name, bundle.labels, max_length=bundle.manifest.max_length)
        return lambda papers: label_ids(papers.texts)

    return make


def _classifier(make_classifier: Callable[[Setting], "Classifier"]) -> Callable[[Setting], Ask]:
    """Make a method from a classifier of token ids. Tokenizing is part of the measured time."""

    def make(setting: Setting) -> Ask:
        classifier, encoder = make_classifier(setting), setting.bundle.text_encoder()
        return lambda papers: classifier.logits(encoder.encode(papers.texts)).argmax(axis=1)

    return make


def _session(device: DeviceKind, precision: Precision | None = None) -> Callable[[Setting], Ask]:
    """Make the job's own session on token ids. The whole job is compared with it."""

    def make(setting: Setting) -> Ask:
        classifier = OnnxClassifier(setting.bundle, device=Device.parse(device), precision=precision)
        return lambda papers: classifier.predict(papers.token_ids).label_id

    return make


def _stock(setting: Setting) -> Path:
    return peers.stock_int8(setting.graph("fp32"), setting.work)


def _static(setting: Setting) -> Path:
    texts = paper_texts(setting.run.calibration_papers(), setting.run.text_template)
    return peers.openvino_int8(setting.graph("fp32"), setting.work, setting.run.text_encoder().encode(texts))


def _student(title: str, *, divisor: int) -> Contender:
    def file_of(setting: Setting) -> Path:
        from contest.students import student_int8

        return student_int8(setting.run, setting.work, divisor=divisor)

    return Contender(
        title=f"{title}: our int8 without deferral, one paper per core",
        precision="int8",
        make=_classifier(lambda setting: peers.onnx_runtime(file_of(setting), alone=True)),
        prepare=file_of,
        is_student=True,
    )


CPU: Mapping[str, Contender] = {
    STUDY: Contender(
        title="the study's loop: Torch fp32, batches of 8, all padded, file order",
        precision="fp32",
        make=_study_loop("cpu"),
        share=A_TWELFTH,
    ),
    "torch_bf16": Contender(
        title="Torch bf16, sorted batches",
        precision="bf16",
        make=_classifier(lambda setting: peers.torch_bf16(setting.run)),
        share=A_THIRD,
    ),
    "pipeline_torch": Contender(
        title="`pipeline`, Torch fp32", precision="fp32", make=_pipeline_torch("cpu"), share=A_SIXTH
    ),
    "pipeline_onnx": Contender(
        title="`pipeline`, ORTModelForSequenceClassification fp32",
        precision="fp32",
        make=_pipeline_onnx(lambda setting: setting.graph("fp32")),
        share=A_THIRD,
    ),
    "pipeline_int8": Contender(
        title="`pipeline`, Optimum's stock int8",
        precision="int8",
        make=_pipeline_onnx(_stock),
        prepare=_stock,
        share=TWO_THIRDS,
    ),
    "onnx_fp32_batched": Contender(
        title="ONNX Runtime fp32, sorted batches",
        precision="fp32",
        make=_classifier(lambda setting: peers.onnx_runtime(setting.graph("fp32"), alone=False)),
        share=A_THIRD,
    ),
    REFERENCE: Contender(
        title="ONNX Runtime fp32, one paper per core",
        precision="fp32",
        make=_classifier(lambda setting: peers.onnx_runtime(setting.graph("fp32"), alone=True)),
        share=A_THIRD,
    ),
    "optimum_int8_batched": Contender(
        title="Optimum's stock int8, sorted batches",
        precision="int8",
        make=_classifier(lambda setting: peers.onnx_runtime(_stock(setting), alone=False)),
        prepare=_stock,
        share=TWO_THIRDS,
    ),
    "optimum_int8": Contender(
        title="Optimum's stock int8, one paper per core",
        precision="int8",
        make=_classifier(lambda setting: peers.onnx_runtime(_stock(setting), alone=True)),
        prepare=_stock,
        share=TWO_THIRDS,
    ),
    "openvino_bf16": Contender(
        title="OpenVINO bf16, one paper per core",
        precision="bf16",
        make=_classifier(lambda setting: peers.OpenVino(setting.graph("fp32"), precision="bf16", alone=True)),
        share=TWO_THIRDS,
    ),
    "openvino_int8": Contender(
        title="OpenVINO int8 (NNCF), one paper per core",
        precision="int8",
        make=_classifier(lambda setting: peers.OpenVino(_static(setting), precision="f32", alone=True)),
        prepare=_static,
    ),
    "int8": Contender(
        title="our int8 without deferral, one paper per core",
        precision="int8",
        make=_classifier(lambda setting: peers.onnx_runtime(setting.graph("int8"), alone=True)),
    ),
    STUDENT_HALF: _student("a student with half of the layers", divisor=2),
    STUDENT_THIRD: _student("a student with a third of the layers", divisor=3),
    SESSION: Contender(
        title="our int8 with deferral: the job's bare session", precision="int8", make=_session("cpu", "int8")
    ),
    JOB: Contender(title="`specter-batch classify`, from parquet to parquet", precision="int8", make=None),
}

CUDA: Mapping[str, Contender] = {
    STUDY: Contender(
        title="the study's loop: Torch fp32, batches of 8, all padded, file order",
        precision="fp32",
        make=_study_loop("cuda"),
        share=A_TWELFTH,
    ),
    "pipeline_torch": Contender(
        title="`pipeline`, Torch fp32", precision="fp32", make=_pipeline_torch("cuda"), share=A_SIXTH
    ),
    "torch_fp16": Contender(
        title="Torch fp16 SDPA, sorted batches",
        precision="fp16",
        make=_classifier(lambda setting: peers.torch_fp16(setting.run)),
    ),
    REFERENCE: Contender(
        title="ONNX Runtime fp32, sorted batches", precision="fp32", make=_session("cuda", "fp32"), share=A_THIRD
    ),
    SESSION: Contender(title="our fp16: the job's bare session", precision="fp16", make=_session("cuda", "fp16")),
    JOB: Contender(title="`specter-batch classify`, from parquet to parquet", precision="fp16", make=None),
}


def model_flops(run: TrainingRun, token_ids: Sequence[TokenIds]) -> float:
    """Return the floating-point operations that the encoder needs for papers, without padding.

    There are two operations for each weight and token. The two products of attention need 4 · hidden · length² per
    layer. This is appendix B of Narayanan et al. 2021 (https://arxiv.org/abs/2104.04473), forward only.
    """
    shape = json.loads((run.path / "config.json").read_text())
    hidden, inner, layers = (shape[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    weights = 4 * hidden * hidden + 2 * hidden * inner
    lengths = [len(ids) for ids in token_ids]
    return float(layers * (2 * weights * sum(lengths) + 4 * hidden * sum(length * length for length in lengths)))
