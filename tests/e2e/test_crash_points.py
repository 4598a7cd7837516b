"""Killed before any change of the disk and run again, each command ends as if it had never been disturbed."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from specter_batch.model.bundle import ModelBundle
from specter_batch.training.run.folder import TrainingRun
from support.crash.points import CrashServer, chosen_points, crash_server, tree
from support.papers_on_disk import GERMAN, paper, write_dump

KILLED = -9
Outcome = dict[str, object]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashServer]:
    with crash_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def write_night(folder: Path, *, first: int = 0) -> Path:
    for file in range(2):
        papers = [paper(first + 20 * file + number) for number in range(18)]
        papers += [paper(first + 20 * file + 18, abstract=None), paper(first + 20 * file + 19, abstract=GERMAN)]
        write_dump(folder / f"{file}.parquet", papers)
    return folder


def write_jsonl(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for file in range(2):
        lines = [json.dumps(paper(20 * file + number)) for number in range(8)] + ["not json"]
        (folder / f"{file}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


class Trials:
    """Kills a command at its points, each time in a fresh copy of a folder, and runs it again.

    Args:
        server: Runs the command.
        start: What the folder holds before the command; copied for each trial.
        argv: Makes the command for a folder.
        outcome: What must be the same as after an undisturbed run.
        finished: What the command says, at the end, when it finds that it was killed after its work was done.
    """

    def __init__(
        self,
        server: CrashServer,
        start: Path,
        argv: Callable[[Path], list[str | Path]],
        outcome: Callable[[Path], Outcome],
        finished: str = "\n",
    ) -> None:
        self._server, self._start, self._argv, self._outcome = server, start, argv, outcome
        self._finished = finished

    def run(self, scratch: Path, *, between: Callable[[Path, str], None] | None = None) -> None:
        """Try the points; `between` looks at what a kill has left, before the command is run again."""
        root = scratch / "root"
        shutil.copytree(self._start, root)
        whole = self._server.run(self._argv(root), root=root)
        assert whole.status == 0, whole.output
        expected = self._outcome(root)
        points = chosen_points(whole.points)
        assert whole.points > 5
        failures: list[str] = []
        for number in points:
            shutil.rmtree(root)
            shutil.copytree(self._start, root)
            killed = self._server.run(self._argv(root), root=root, crash_at=number)
            point = f"{number} of {whole.points}, before {killed.last}"
            if killed.status == 0:
                continue  # clocks decide how often progress is written: this run had fewer points
            assert killed.status == KILLED, f"{point}: {killed.output}"
            if between is not None:
                between(root, point)
            again = self._server.run(self._argv(root), root=root)
            if again.status != 0 and not again.output.rstrip().endswith(self._finished):
                failures.append(f"{point}: run again, it ended with {again.status}: {again.output[-500:]}")
            else:
                found = self._outcome(root)
                different = sorted(
                    name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
                )
                failures += [f"{point}: run again, it left other {', '.join(different)}"] if different else []
        assert not failures, f"{len(failures)} of {len(points)} points:\n" + "\n".join(failures[:20])


def names_in(folder: Path) -> Outcome:
    return {path.name: path.is_dir() for path in folder.iterdir() if path.name != "_lock"}


def night_outcome(out: Path) -> Outcome:
    assert (out / "_SUCCESS").exists()
    return names_in(out) | tree(out, "labels", "rejects", "report.json")


def test_classify(server: CrashServer, tiny_bundle: Path, tmp_path: Path) -> None:
    write_night(tmp_path / "start" / "papers")

    def argv(root: Path) -> list[str | Path]:
        options = ["--bundle", tiny_bundle, "--device", "cpu", "--shard-rows", "11"]
        return ["classify", root / "papers", root / "out", *options]

    def verified(root: Path) -> Outcome:
        checked = server.run(["verify", root / "out"], root=root)
        assert checked.status == 0, checked.output
        return night_outcome(root / "out")

    Trials(server, tmp_path / "start", argv, verified).run(tmp_path)


def test_classify_with_other_columns(server: CrashServer, tiny_bundle: Path, tmp_path: Path) -> None:
    start, papers = tmp_path / "start", write_night(tmp_path / "papers")
    start.mkdir()
    options = ["--bundle", tiny_bundle, "--device", "cpu", "--shard-rows", "11"]
    assert server.run(["classify", papers, start / "out", *options], root=start).status == 0

    def argv(root: Path) -> list[str | Path]:
        return ["classify", papers, root / "out", *options, "--probabilities", "--top-k", "3"]

    def without_the_model(root: Path) -> Outcome:
        this_run = json.loads((root / "out/manifest.json").read_text())["this_run"]
        return night_outcome(root / "out") | {"papers labelled": this_run["papers"]}

    Trials(server, start, argv, without_the_model).run(tmp_path)


def test_classify_of_a_dump_in_another_format(server: CrashServer, tiny_bundle: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "start" / "dump")

    def argv(root: Path) -> list[str | Path]:
        options = ["--format", "jsonl", "--bundle", tiny_bundle, "--device", "cpu", "--shard-rows", "7"]
        return ["classify", root / "dump", root / "out", *options]

    Trials(server, tmp_path / "start", argv, lambda root: night_outcome(root / "out")).run(tmp_path)


def test_classify_that_replaces_another_night(server: CrashServer, tiny_bundle: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    write_night(start / "old")
    write_night(start / "new", first=1_000)
    options = ["--bundle", tiny_bundle, "--device", "cpu", "--shard-rows", "11"]
    assert server.run(["classify", start / "old", start / "out", *options], root=start).status == 0
    finished = tree(start / "out", "labels")

    def argv(root: Path) -> list[str | Path]:
        return ["classify", root / "new", root / "out", *options, "--replace"]

    def one_night_is_there(root: Path, point: str) -> None:
        """Every label of the old night is still somewhere, or the new night has succeeded."""
        old_is_whole = set(finished.values()) <= set(tree(root / "out").values())
        assert old_is_whole or list((root / "out").rglob("_SUCCESS")), f"{point}: neither night is whole"

    Trials(server, start, argv, lambda root: night_outcome(root / "out")).run(tmp_path, between=one_night_is_there)


def test_ingest(server: CrashServer, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "start" / "dump")

    def argv(root: Path) -> list[str | Path]:
        return ["ingest", "jsonl", root / "dump", root / "out", "--workers", "1"]

    def outcome(root: Path) -> Outcome:
        account = json.loads((root / "out" / "ingest.json").read_text())
        return names_in(root / "out") | {"records": account["records"]} | tree(root / "out", "papers", "rejects")

    Trials(server, tmp_path / "start", argv, outcome).run(tmp_path)


def test_export_over_an_earlier_bundle(
    server: CrashServer,
    tiny_run: TrainingRun,
    tmp_path: Path,
) -> None:
    start = tmp_path / "start"
    for name in ("run", "other"):
        shutil.copytree(tiny_run.path, start / name)
    record = json.loads((start / "other" / "run.json").read_text())
    (start / "other" / "run.json").write_text(json.dumps(record | {"temperature": 7.0}))
    assert server.run(["export", start / "other", start / "bundle"], root=start).status == 0
    old = ModelBundle.open(start / "bundle").fingerprint
    assert server.run(["export", start / "run", tmp_path / "new"], root=start).status == 0
    new = ModelBundle.open(tmp_path / "new").fingerprint

    def argv(root: Path) -> list[str | Path]:
        return ["export", root / "run", root / "bundle"]

    def outcome(root: Path) -> Outcome:
        for scratch in root.glob(".bundle.export-*"):
            assert not list(scratch.iterdir())  # a later export removes it, when it is sure that it is nobody's
            scratch.rmdir()
        return names_in(root) | {"fingerprint": ModelBundle.open(root / "bundle").fingerprint}

    def one_bundle_is_there(root: Path, point: str) -> None:
        assert (root / "bundle" / "bundle.json").exists(), point
        assert ModelBundle.open(root / "bundle").fingerprint in (old, new), point

    Trials(server, start, argv, outcome).run(tmp_path, between=one_bundle_is_there)


def test_train(server: CrashServer, tiny_encoder: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    labels = ("a", "b", "c")
    write_dump(start / "train.parquet", [paper(number, label=labels[number % 3]) for number in range(48)])
    write_dump(start / "val.parquet", [paper(100 + number, label=labels[number % 3]) for number in range(12)])

    def argv(root: Path) -> list[str | Path]:
        options = ["--encoder", tiny_encoder, "--out", root / "run", "--epochs", "2", "--compute", "fp32"]
        return ["train", root / "train.parquet", "--val", root / "val.parquet", *options]

    def outcome(root: Path) -> Outcome:
        files = tree(root / "run", "model.safetensors", "seen_texts.npy", "reference.json")
        return {name: kind for name, kind in names_in(root / "run").items() if name != "checkpoints"} | files

    finished = "holds a finished run; give another --out, or remove the folder"
    Trials(server, start, argv, outcome, finished).run(tmp_path)
