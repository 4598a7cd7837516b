import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.embeddings.embedder import BundleEmbedder
from specter_batch.embeddings.file import write_embeddings
from specter_batch.errors import BundleError, ConfigError, PaperSchemaError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.papers.text import paper_texts
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.embeddings.embed import Embedder
from specter_batch.training.run.folder import TrainingRun

GOLDEN_BUNDLE = Path(__file__).parents[1] / "golden" / "bundle_v1"
CPU = Device(kind="cpu")


@pytest.fixture(scope="module")
def embedder(tiny_encoder: Path) -> Embedder:
    return Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=96)


def write_papers(path: Path, **columns: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_every_row_is_there_in_input_order_and_rows_without_text_have_no_embedding(
    embedder: Embedder, tmp_path: Path
) -> None:
    papers = write_papers(
        tmp_path / "papers.parquet",
        paper_id=["a", None, "c", "d", "e"],
        title=["Sepsis in trials", "Title alone", None, "  ", b"\xff\xfe broken".decode("latin-1")],
        abstract=["We studied outcomes.", None, "Abstract alone.", "", "Good."],
    )
    told: list[int] = []
    written = write_embeddings(embedder, papers, tmp_path / "deep" / "out.parquet", advance=told.append)
    table = pq.read_table(tmp_path / "deep" / "out.parquet")
    assert table["paper_id"].to_pylist() == ["a", None, "c", "d", "e"]
    assert table.schema.names == ["paper_id", "embedding"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 32)
    assert table["embedding"].is_null().to_pylist() == [False, False, False, True, False]
    assert (written["rows"], written["embedded"], written["null"], sum(told)) == (5, 4, {"no_text": 1}, 5)
    alone = embedder.embed(["Sepsis in trials[SEP]We studied outcomes.", "Title alone[SEP]", "[SEP]Abstract alone."])
    found = table["embedding"].to_pylist()[:3]
    np.testing.assert_allclose(np.array(found, np.float32), alone, rtol=0, atol=2e-6)


def test_bytes_that_are_not_utf8_cost_their_row_its_embedding(embedder: Embedder, tmp_path: Path) -> None:
    titles = pa.array([b"Good title", b"\xff\xfe"], pa.binary())
    pq.write_table(pa.table({"paper_id": ["a", "b"], "title": titles, "abstract": ["x", "y"]}), tmp_path / "p.parquet")
    written = write_embeddings(embedder, tmp_path / "p.parquet", tmp_path / "out.parquet")
    assert written["null"] == {"invalid_unicode": 1}
    assert pq.read_table(tmp_path / "out.parquet")["embedding"].is_null().to_pylist() == [False, True]


def test_a_label_is_carried_from_the_files_that_have_one(embedder: Embedder, tmp_path: Path) -> None:
    write_papers(tmp_path / "in" / "1.parquet", paper_id=[1], title=["a"], abstract=["b"], label=[7])
    write_papers(tmp_path / "in" / "2.parquet", paper_id=["x"], title=["c"], abstract=["d"])
    write_embeddings(embedder, tmp_path / "in", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.select(["paper_id", "label"]).to_pylist() == [
        {"paper_id": "1", "label": "7"},
        {"paper_id": "x", "label": None},
    ]


def test_batches_do_not_change_what_is_written(embedder: Embedder, sample_paths: SamplePaths, tmp_path: Path) -> None:
    write_embeddings(embedder, sample_paths.val, tmp_path / "whole.parquet")
    write_embeddings(embedder, sample_paths.val, tmp_path / "cut.parquet", batch_rows=7)
    whole, cut = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "cut"))
    assert whole.drop_columns("embedding").equals(cut.drop_columns("embedding"))
    first, second = (np.stack(table["embedding"].to_numpy()) for table in (whole, cut))
    np.testing.assert_allclose(first, second, rtol=0, atol=2e-6)


def test_the_file_says_what_made_it(embedder: Embedder, tiny_encoder: Path, tmp_path: Path) -> None:
    papers = write_papers(tmp_path / "p.parquet", paper_id=["a"], title=["b"], abstract=["c"])
    write_embeddings(embedder, papers, tmp_path / "out.parquet")
    metadata = pq.read_schema(tmp_path / "out.parquet").metadata
    assert metadata[b"encoder"] == str(tiny_encoder).encode()
    assert (metadata[b"pooling"], metadata[b"max_length"], metadata[b"precision"]) == (b"mean", b"96", b"fp32")


def test_an_error_on_the_way_leaves_no_file(embedder: Embedder, tmp_path: Path) -> None:
    write_papers(tmp_path / "in" / "1.parquet", paper_id=["a"], title=["b"], abstract=["c"])
    write_papers(tmp_path / "in" / "2.parquet", paper_id=["a"], title=["b"])
    with pytest.raises(PaperSchemaError, match="no column for abstract"):
        write_embeddings(embedder, tmp_path / "in", tmp_path / "out" / "out.parquet")
    rows = 3000
    good = write_papers(tmp_path / "3.parquet", paper_id=["a"] * rows, title=["b"] * rows, abstract=["c"] * rows)
    raw = bytearray(good.read_bytes())
    raw[4:60] = b"\0" * 56
    good.write_bytes(raw)
    with pytest.raises(PaperSchemaError, match="cannot be decoded"):
        write_embeddings(embedder, good, tmp_path / "out" / "out.parquet")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_papers_themselves_are_never_overwritten(embedder: Embedder, tmp_path: Path) -> None:
    papers = write_papers(tmp_path / "p.parquet", paper_id=["a"], title=["b"], abstract=["c"])
    with pytest.raises(ConfigError, match="is one of the papers to read"):
        write_embeddings(embedder, papers, tmp_path / "." / "p.parquet")
    assert pq.read_table(papers).num_rows == 1


def test_a_file_of_something_else_is_never_overwritten(embedder: Embedder, tmp_path: Path) -> None:
    papers = write_papers(tmp_path / "p.parquet", paper_id=["a"], title=["b"], abstract=["c"])
    other = write_papers(tmp_path / "other.parquet", paper_id=["x"], title=["y"], abstract=["z"])
    (tmp_path / "notes.txt").write_text("precious")
    for out in (other, tmp_path / "notes.txt"):
        before = out.read_bytes()
        with pytest.raises(ConfigError, match="holds something else than embeddings"):
            write_embeddings(embedder, papers, out, replace=True)
        assert out.read_bytes() == before
    with pytest.raises(
        ConfigError, match=r"is a folder; give the parquet file to write, for example .*embeddings\.parquet"
    ):
        write_embeddings(embedder, papers, tmp_path)


def test_embeddings_of_another_encoder_are_replaced_only_when_asked_to(
    embedder: Embedder, tiny_encoder: Path, tmp_path: Path
) -> None:
    papers = write_papers(tmp_path / "p.parquet", paper_id=["a"], title=["b"], abstract=["c"])
    out = tmp_path / "out.parquet"
    for _ in range(2):
        write_embeddings(embedder, papers, out)
    before = out.read_bytes()
    other = Embedder.of_encoder(str(tiny_encoder), pooling="cls")
    with pytest.raises(ConfigError, match=r"pooling cls instead of mean.*--replace"):
        write_embeddings(other, papers, out)
    assert out.read_bytes() == before
    write_embeddings(other, papers, out, replace=True)
    assert pq.read_schema(out).metadata[b"pooling"] == b"cls"


def test_the_command_says_in_json_what_it_wrote(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    command = ["embed", str(sample_paths.val), str(tmp_path / "o.parquet"), "--model", str(tiny_run.path)]
    result = CliRunner().invoke(build_app(), [*command, "--json"], catch_exceptions=False)
    written = json.loads(result.stdout)
    assert (written["rows"], written["embedded"]) == (sample_paths.n_val, sample_paths.n_val)
    assert f"{sample_paths.n_val} rows" in CliRunner().invoke(build_app(), command, catch_exceptions=False).stdout
    with pytest.raises(ConfigError, match="leave --encoder and --pooling out"):
        CliRunner().invoke(build_app(), [*command, "--pooling", "mean"], catch_exceptions=False)


def test_embeddings_beside_the_papers_are_no_papers_of_the_next_run(embedder: Embedder, tmp_path: Path) -> None:
    papers = {"paper_id": ["p1"], "title": ["Gout"], "abstract": ["On joints."]}
    pq.write_table(pa.table(papers), tmp_path / "p.parquet")
    for _ in range(2):
        assert write_embeddings(embedder, tmp_path, tmp_path / "embeddings.parquet")["rows"] == 1


def test_partitions_are_columns_of_embeddings_too(embedder: Embedder, tmp_path: Path) -> None:
    (tmp_path / "in/label=x").mkdir(parents=True)
    papers = {"paper_id": ["p1"], "title": ["Gout"], "abstract": ["On joints."]}
    pq.write_table(pa.table(papers), tmp_path / "in/label=x/p.parquet")
    write_embeddings(embedder, tmp_path / "in", tmp_path / "out.parquet")
    assert pq.ParquetFile(tmp_path / "out.parquet").read()["label"].to_pylist() == ["x"]


def test_a_paper_whose_embedding_is_not_finite_has_none(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Embedder.embed_tokens

    def broken(self: Embedder, token_ids: list[np.ndarray]) -> np.ndarray:
        vectors = ask(self, token_ids)
        vectors[1, 3] = np.inf
        return vectors

    monkeypatch.setattr(Embedder, "embed_tokens", broken)
    papers = write_papers(tmp_path / "p.parquet", paper_id=["a", "b"], title=["c", "d"], abstract=["e", "f"])
    assert write_embeddings(embedder, papers, tmp_path / "out.parquet")["null"] == {"not_finite": 1}
    assert pq.read_table(tmp_path / "out.parquet")["embedding"].is_null().to_pylist() == [False, True]


# Embeddings of a bundle

CODE = """
import sys
from specter_batch.cli import main
sys.argv = ["specter-batch", "embed", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"torch", "transformers", "optimum", "datasets", "accelerate", "sklearn", "onnx"}
    print("HEAVY", sorted(heavy & set(sys.modules)))
"""


def embed(*words: object) -> str:
    return CliRunner().invoke(build_app(), ["embed", *map(str, words)], catch_exceptions=False).stdout


def vectors_of(file: Path) -> np.ndarray:
    return np.stack(pq.read_table(file)["embedding"].to_numpy())


@pytest.mark.parametrize(("graph", "tolerance"), [("fp32", 2e-5), ("int8", 0.5)])
def test_a_bundle_gives_the_embeddings_of_its_run(
    tiny_bundle: Path, tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path, graph: str, tolerance: float
) -> None:
    embed(sample_paths.val, tmp_path / "run.parquet", "--model", tiny_run.path)
    embed(sample_paths.val, tmp_path / "bundle.parquet", "--model", tiny_bundle, "--graph", graph, "--device", "cpu")
    ours, theirs = pq.read_table(tmp_path / "bundle.parquet"), pq.read_table(tmp_path / "run.parquet")
    assert ours.schema.equals(theirs.schema)
    assert ours.drop_columns("embedding").equals(theirs.drop_columns("embedding"))
    found, expected = vectors_of(tmp_path / "bundle.parquet"), vectors_of(tmp_path / "run.parquet")
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    assert expected.std(axis=0).min() > 10 * 2e-5


def test_a_bundles_embeddings_are_those_of_the_job_bit_by_bit(
    tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    embed(sample_paths.val, tmp_path / "out.parquet", "--model", tiny_bundle, "--device", "cpu")
    bundle = ModelBundle.open(tiny_bundle)
    classifier = OnnxClassifier(bundle, device=CPU)
    texts = paper_texts(pq.read_table(sample_paths.val, columns=["title", "abstract"]), bundle.text_template)
    found = classifier.predict(bundle.text_encoder().encode(texts), embeddings=True)
    classifier.close()
    assert found.embeddings is not None
    np.testing.assert_array_equal(vectors_of(tmp_path / "out.parquet"), found.embeddings)


def test_a_bundle_is_embedded_without_torch(tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    arguments = [str(sample_paths.val), str(out), "--model", str(tiny_bundle), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    metadata = pq.read_schema(out).metadata
    assert (metadata[b"encoder"], metadata[b"precision"]) == (str(tiny_bundle).encode(), b"int8")
    assert metadata[b"fingerprint"] == ModelBundle.open(tiny_bundle).fingerprint.encode()


def test_a_folder_that_is_no_model_says_so_without_torch(sample_paths: SamplePaths, tmp_path: Path) -> None:
    arguments = [str(sample_paths.val), str(tmp_path / "out.parquet"), "--model", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: {tmp_path}: not a finished training run" in done.stderr
    assert "HEAVY []" in done.stdout


def test_a_bundle_of_an_earlier_version_says_what_to_do(sample_paths: SamplePaths, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"give labels and no embeddings.*specter-batch export RUN BUNDLE"):
        BundleEmbedder(GOLDEN_BUNDLE, device=CPU)
    with pytest.raises(BundleError, match="give labels and no embeddings"):
        embed(sample_paths.val, tmp_path / "out.parquet", "--model", GOLDEN_BUNDLE)
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_go_with_the_model_are_refused(
    tiny_bundle: Path, tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    papers = (sample_paths.val, tmp_path / "out.parquet")
    for option, value in (("--max-length", 64), ("--compute", "bf16")):
        with pytest.raises(ConfigError, match=f"{option} cannot be used here: .* is a bundle, which has its own"):
            embed(*papers, "--model", tiny_bundle, option, value)
    for model in (("--model", tiny_run.path), ("--encoder", tiny_run.path)):
        for option, value in (("--graph", "fp32"), ("--device", "cpu")):
            with pytest.raises(ConfigError, match=f"{option} cannot be used here: .* give a bundle as --model"):
                embed(*papers, *model, option, value)


def test_the_former_name_of_the_number_format_still_works(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    for name in ("--compute", "--precision"):
        embed(sample_paths.val, tmp_path / f"{name}.parquet", "--model", tiny_run.path, name, "bf16")
    found = [vectors_of(tmp_path / f"{name}.parquet") for name in ("--compute", "--precision")]
    np.testing.assert_array_equal(*found)
    assert pq.read_schema(tmp_path / "--compute.parquet").metadata[b"precision"] == b"bf16"
