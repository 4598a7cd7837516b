"""The mistakes that a newcomer makes first are answered with what happened, where, and what to do."""
# ruff: noqa: E501 - a message is one line

import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from specter_batch.cli import main
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.run.folder import TrainingRun

TRAIN = "train train.parquet --val val.parquet --encoder encoder --out run-2"
CLASSIFY = "classify papers night --bundle bundle"
# The command line, its exit code, and the end of the message.
MISTAKES = (
    ("classify paper night --bundle bundle", 1, "paper: no such file or folder; did you mean papers?"),
    ("classify nothing/at/all night --bundle bundle", 1, "nothing/at/all: no such file or folder; check the path"),
    ("classify papers night --bundle bundel", 1, "there is no such folder; did you mean bundle?"),
    ("evaluate no-run val.parquet --out scores", 1, "--val VAL --out no-run`"),
    ("status nigth", 1, "nigth: no night has started here, there is no progress.json; did you mean night?; give the OUT folder of `specter-batch classify`"),
    ("verify nigth", 1, "did you mean night?; give the OUT folder of `specter-batch classify`"),
    ("classify papers night --bundle bundle --title-column Titel", 1, "got paper_id, title, abstract, label; name it with --title-column; did you mean --title-column title?"),
    (f"{TRAIN} --label-column lable", 1, "name it with --label-column; did you mean --label-column label?"),
    ("classify papers night", 2, "bundle is missing; give --bundle, or bundle in a --config"),
    (TRAIN.replace("val.", "typo."), 1, "1 label is not among the model's: 'Neurologcal disorders' (did you mean 'Neurological disorders'?) in 1 paper; correct or remove these papers; the model's labels are "),
    ("classify floats.parquet night --bundle bundle", 1, "column paper_id should hold text or whole numbers, got double; write it as text or, from pandas, as Int64"),
    (f"{CLASSIFY} --device gpu", 2, "unknown device 'gpu'; expected auto, cpu, cuda or cuda:N; did you mean cuda?"),
    (TRAIN.replace("encoder --out", "encodr --out"), 1, "give --encoder encoder; did you mean encoder?"),
    (f"{CLASSIFY} --date 26-11-2026", 2, "--date: expected a date as YYYY-MM-DD, got '26-11-2026'; did you mean 2026-11-26?"),
    ("export bundle bundle-2", 1, "bundle: is a bundle, not a training run; give the run that it was exported from"),
    ("export run bundle-2 --calibration paper", 1, "paper: no such file or folder; did you mean papers?"),
    ("export run bundle-2 --calibration train.parquet", 1, "seen_in_training), and a certificate needs at least 100; give papers that the model was not trained on, or leave --calibration out"),
    ("export run bundle-2 --calibration papers --title-column Titel", 1, "name it with --title-column; did you mean --title-column title?"),
    ("export run bundle-2 --title-column title", 1, "--title-column says how to read the papers of --calibration, which is not given; add --calibration DUMP, or leave --title-column out"),
    ("classify papers night --bundle run", 1, "run: is a training run, not a bundle; run `specter-batch export run BUNDLE`, and give BUNDLE"),
    (f"{CLASSIFY} --config typo.toml", 1, "typo.toml: shard_row: no such setting; did you mean shard_rows?; known settings: "),
    (f"{CLASSIFY} --shard-rows many", 2, "--shard-rows: expected a whole number, got 'many'"),
    (f"{TRAIN} --learning-rate fast", 2, "--learning-rate: expected a number, got 'fast'"),
    (f"{TRAIN} --head liner", 2, "--head: expected one of linear, mlp, ch1, ch2, ch2.2, ch3, narrow, got 'liner'; did you mean linear? See specter-batch train --help"),
    ("classify papers run --bundle bundle", 1, "run: holds the output of `specter-batch train`; give classify another folder, nothing was changed"),
    ("classify papers.csv night --bundle bundle", 1, "convert it with `specter-batch ingest csv INPUT OUT`, or add --format csv to classify"),
    ("classify tables night --bundle bundle", 1, "convert it with `specter-batch ingest csv INPUT OUT`, or add --format csv to classify"),
    ("classify named.parquet night --bundle bundle", 1, "it looks like CSV; convert it with `specter-batch ingest csv INPUT OUT`, or add --format csv to classify"),
    (TRAIN.replace("train.parquet", "papers.jsonl"), 1, "convert it with `specter-batch ingest jsonl INPUT OUT`, or add --format jsonl to classify"),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(
    tiny_encoder: Path, tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """Return a folder with the things that a newcomer has, and some that went wrong."""
    made = tmp_path_factory.mktemp("newcomer")
    links = {
        "papers": sample_paths.night, "train.parquet": sample_paths.train, "val.parquet": sample_paths.val,
        "encoder": tiny_encoder, "run": tiny_run.path, "bundle": tiny_bundle,
    }  # fmt: skip
    for name, place in links.items():
        (made / name).symlink_to(place)
    papers = pq.read_table(sample_paths.val)
    pa.csv.write_csv(papers, made / "papers.csv")
    (made / "tables").mkdir()
    for copy in ("named.parquet", "tables/papers.csv"):
        (made / copy).write_bytes((made / "papers.csv").read_bytes())
    (made / "papers.jsonl").write_text('{"paper_id": "p1", "title": "A title", "abstract": "Words"}\n')
    labels = ["Neurologcal disorders", *papers["label"].to_pylist()[1:]]
    pq.write_table(papers.set_column(3, "label", pa.array(labels)), made / "typo.parquet")
    numbers = pa.array(map(float, range(papers.num_rows)), pa.float64())
    pq.write_table(papers.set_column(0, "paper_id", numbers), made / "floats.parquet")
    (made / "typo.toml").write_text("shard_row = 100\n")
    (made / "night").mkdir()
    return made


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_first_mistake_is_answered_with_what_to_do(
    line: str,
    code: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(line))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert stopped.value.code == code
    assert "Input should" not in last
    assert "Value error" not in last
