import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer, BertModel
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import BundleError, ConfigError, PaperSchemaError
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.embeddings.cache import EmbeddingCache, default_cache
from specter_batch.training.embeddings.embed import Embedder, embed
from specter_batch.training.embeddings.file import write_embeddings
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun


@pytest.fixture(scope="module")
def embedder(tiny_encoder: Path) -> Embedder:
    return Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=96)


@pytest.fixture(scope="module")
def texts(sample_paths: SamplePaths) -> list[str]:
    return [*read_labelled(sample_paths.val).texts()[:24], "Sepsis[SEP]"]


def transformers_own(folder: Path, text: str, *, pooling: str, max_length: int = 96) -> np.ndarray:
    """Return one text's vector as transformers' plain `BertModel` gives it."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        output = model(**tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt"))
    vectors = {
        "cls": output.last_hidden_state[0, 0],
        "mean": output.last_hidden_state[0].mean(dim=0),
        "pooler": output.pooler_output[0],
    }
    return vectors[pooling].numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_an_embedding_is_what_transformers_own_model_gives_for_the_text_alone(
    tiny_encoder: Path, texts: list[str], pooling: str
) -> None:
    found = Embedder.of_encoder(str(tiny_encoder), pooling=pooling, max_length=96).embed(texts)
    assert (found.dtype, found.shape) == (np.dtype(np.float32), (len(texts), 32))
    alone = np.stack([transformers_own(tiny_encoder, text, pooling=pooling) for text in texts])
    np.testing.assert_allclose(found, alone, rtol=0, atol=2e-6)


def test_batches_of_any_size_give_the_same_embeddings_in_input_order(embedder: Embedder, texts: list[str]) -> None:
    token_ids = embedder.text_encoder.encode(texts)
    assert len({len(ids) for ids in token_ids}) > 3
    alone = embed(embedder.model, token_ids, max_tokens=1)
    for max_tokens in (200, 100_000):
        np.testing.assert_allclose(embed(embedder.model, token_ids, max_tokens=max_tokens), alone, rtol=0, atol=2e-6)


def test_no_papers_have_no_embeddings(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 32)


def test_a_model_in_training_is_asked_without_dropout_and_stays_in_training(
    tiny_encoder: Path, texts: list[str]
) -> None:
    model = Embedder.of_encoder(str(tiny_encoder), max_length=96)
    token_ids = model.text_encoder.encode(texts)
    model.model.train()
    first, second = (embed(model.model, token_ids, max_tokens=4096) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert model.model.training


def test_bf16_is_close_to_fp32_and_not_it(tiny_encoder: Path, texts: list[str], embedder: Embedder) -> None:
    rough = Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=96, precision="bf16").embed(texts)
    exact = embedder.embed(texts)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.05


def test_a_runs_embeddings_are_what_its_head_reads(tiny_run: TrainingRun, texts: list[str]) -> None:
    from specter_batch.training.evaluation.evaluate import TorchClassifier

    classifier = TorchClassifier(tiny_run)
    with torch.inference_mode():
        logits = classifier.model.head(torch.from_numpy(Embedder.of_run(tiny_run.path).embed(texts))).numpy()
    np.testing.assert_allclose(logits, classifier.logits(tiny_run.text_encoder().encode(texts)), rtol=0, atol=1e-4)


def test_a_bundle_has_no_embeddings(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(BundleError, match="give the run it was exported from"):
        Embedder.of_run(tmp_path)


def test_a_length_beyond_the_encoders_positions_is_cut_to_them(tiny_encoder: Path, tiny_run: TrainingRun) -> None:
    assert Embedder.of_encoder(str(tiny_encoder), max_length=400).text_encoder.max_length == 128
    assert Embedder.of_run(tiny_run.path, max_length=400).text_encoder.max_length == 128
    assert Embedder.of_run(tiny_run.path, max_length=50).text_encoder.max_length == 50


def test_an_encoder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was not found"):
        Embedder.of_encoder(str(tmp_path / "none"))


def test_the_fingerprint_knows_weights_and_pooling_and_nothing_of_the_head(
    tiny_encoder: Path, tiny_run: TrainingRun, embedder: Embedder
) -> None:
    again = Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=50)
    assert again.fingerprint() == embedder.fingerprint()
    others = [
        Embedder.of_encoder(str(tiny_encoder), pooling="cls"),
        Embedder.of_encoder(str(tiny_encoder), pooling="mean", precision="bf16"),
        Embedder.of_run(tiny_run.path),
        # The encoder of the run, under another head.
        Embedder.of_encoder(str(tiny_run.path), pooling="cls"),
    ]
    fingerprints = [other.fingerprint() for other in others]
    assert len({embedder.fingerprint(), *fingerprints}) == 4
    assert fingerprints[2] == fingerprints[3]


# The cache.


def test_the_second_call_embeds_nothing(
    embedder: Embedder, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EmbeddingCache(tmp_path / "deep" / "cache").embed(embedder, texts)
    monkeypatch.setattr(Embedder, "embed_tokens", lambda *_: pytest.fail("embedded again"))
    cache = EmbeddingCache(tmp_path / "deep" / "cache")
    np.testing.assert_array_equal(cache.embed(embedder, texts), first)
    assert cache.hits == 1


def test_other_texts_another_length_and_another_encoder_are_not_taken_from_the_cache(
    embedder: Embedder, tiny_encoder: Path, texts: list[str], tmp_path: Path
) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.embed(embedder, texts)
    cache.embed(embedder, texts[::-1])
    cache.embed(embedder, texts[:5])
    cache.embed(Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=20), texts)
    cache.embed(Embedder.of_encoder(str(tiny_encoder), pooling="cls", max_length=96), texts)
    assert cache.hits == 0
    assert len(list(tmp_path.glob("*.npy"))) == 5


@pytest.mark.parametrize("damage", [b"", b"no embeddings", None])
def test_a_damaged_file_of_the_cache_is_made_anew(
    embedder: Embedder, texts: list[str], tmp_path: Path, damage: bytes | None
) -> None:
    first = EmbeddingCache(tmp_path).embed(embedder, texts)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    cache = EmbeddingCache(tmp_path)
    np.testing.assert_array_equal(cache.embed(embedder, texts), first)
    assert cache.hits == 0
    np.testing.assert_array_equal(np.load(file), first)


def test_a_cache_that_cannot_be_written_costs_a_note_and_not_the_embeddings(
    embedder: Embedder, texts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    assert cache.embed(embedder, texts).shape == (len(texts), 32)
    assert "could not be kept" in cache.problems[0]


def test_the_cache_lies_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "specter-batch" / "embeddings"
    for not_absolute in ("", "here"):
        monkeypatch.setenv("XDG_CACHE_HOME", not_absolute)
        assert default_cache() == Path.home() / ".cache" / "specter-batch" / "embeddings"


# The file.


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
