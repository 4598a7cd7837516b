"""Generate a bundle and papers: the graphs of `measure.py`, and invented words of one token each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa
import pyarrow.parquet as pq

from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.model.manifest import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    PARITY_FILE,
    REFERENCE_FILE,
    SEEN_TEXTS_FILE,
    TOKENIZER_FILE,
    BundleManifest,
    GraphEntry,
    GraphParity,
)
from specter_batch.papers.text import TEXT_TEMPLATE
from specter_batch.storage.files import file_sha256, write_json

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MAX_LENGTH = 512
TITLE_WORDS = 10


def word(number: int) -> str:
    """Return the invented word with a number. It has four letters."""
    return "".join(LETTERS[number // 26**place % 26] for place in range(4))


def tokenizer(n_words: int) -> dict[str, Any]:
    """Return a WordPiece `tokenizer.json` in which every invented word is one token."""
    vocabulary = {name: number for number, name in enumerate(SPECIAL)}
    vocabulary |= {word(number): number for number in range(len(SPECIAL), n_words)}
    ends = {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    single = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": name, **flags} for number, name in enumerate(SPECIAL)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": ends},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }


def write_papers(folder: Path, lengths: npt.NDArray[np.uint16], *, n_papers: int, n_words: int, files: int = 4) -> None:
    """Write parquet files of papers whose token counts are drawn from `lengths`."""
    drawn = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for file in range(files):
        rows = []
        for length in drawn.choice(lengths, size=n_papers // files):
            ids = drawn.integers(len(SPECIAL), n_words, size=max(int(length) - 3, TITLE_WORDS + 5))
            words = [word(int(value)) for value in ids]
            rows.append(
                {
                    "paper_id": f"paper-{number}",
                    "title": " ".join(words[:TITLE_WORDS]),
                    "abstract": " ".join(words[TITLE_WORDS:]),
                }
            )
            number += 1
        pq.write_table(pa.Table.from_pylist(rows), folder / f"papers-{file}.parquet")


def write_bundle(folder: Path, work: Path, logits: dict[str, Any]) -> None:
    """Write a bundle with the fp32 graph and the fused fp16 graph.

    Args:
        folder: Folder of the bundle.
        work: Folder with the graphs of `measure.py`.
        logits: Differences of logits from the fp32 graph on the CPU, as `measure.py` found them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in (("fp32", "model.onnx"), ("fused", "model_fp16.onnx")):
        (folder / name).write_bytes((work / f"{source}.onnx").read_bytes())
    graph = onnx.load(work / "fp32.onnx").graph
    shapes = {tensor.name: tensor.dims for tensor in graph.initializer}
    head = next(node for node in graph.node if node.op_type == "Gemm").input[1]
    labels = [f"class {number:02}" for number in range(shapes[head][0])]
    write_json(folder / TOKENIZER_FILE, tokenizer(shapes["bert.embeddings.word_embeddings.weight"][0]))
    write_json(folder / PARITY_FILE, logits)
    even = {
        "label_shares": dict.fromkeys(labels, 1 / len(labels)),
        "score_histogram": [1 / N_SCORE_BINS] * N_SCORE_BINS,
    }
    write_json(folder / REFERENCE_FILE, {"papers": 1, "mean_score": 0.5, **even})
    np.save(folder / SEEN_TEXTS_FILE, np.zeros(0, dtype=np.uint64))
    names = (TOKENIZER_FILE, PARITY_FILE, REFERENCE_FILE, SEEN_TEXTS_FILE)
    manifest = BundleManifest(
        format_version=FORMAT_VERSION,
        fingerprint="",
        created_by="benchmarks/cuda",
        encoder="random weights",
        labels=tuple(labels),
        text_template=TEXT_TEMPLATE,
        max_length=MAX_LENGTH,
        pooling="cls",
        head={},
        temperature=1.0,
        graphs=(
            _entry(folder / "model.onnx", "fp32", logits, "fp32"),
            _entry(folder / "model_fp16.onnx", "fp16", logits, "ours"),
        ),
        files={name: file_sha256(folder / name) for name in names},
        training={},
    )
    sealed = manifest.model_copy(update={"fingerprint": manifest.expected_fingerprint()})
    (folder / MANIFEST_FILE).write_text(json.dumps(sealed.model_dump(mode="json")))


def _entry(file: Path, precision: Any, logits: dict[str, Any], key: str) -> GraphEntry:
    found = logits["against_fp32_on_cpu"][key]
    outputs = {output.name: output.type.tensor_type.shape.dim for output in onnx.load(file).graph.output}
    return GraphEntry(
        file=file.name,
        precision=precision,
        device="cpu" if precision == "fp32" else "cuda",
        sha256=file_sha256(file),
        opset=18,
        embedding_size=outputs["embedding"][1].dim_value if "embedding" in outputs else None,
        parity=GraphParity(
            passed=found["largest_difference"] < 0.05,
            papers=logits["papers"],
            max_logit_difference=found["largest_difference"],
            label_flips=found["labels_changed"],
            tolerances={"max_logit_difference": 0.05},
        ),
    )
