"""Nights whose input, bundle, earlier night and output are in a store that speaks S3."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import BundleError, ConfigError, PaperSchemaError, StorageRefusedError
from specter_batch.storage.output_claim import LOCK_FILE
from specter_batch.training.demo.sample import SamplePaths
from specter_jobs.inspect.status import night_status
from specter_jobs.inspect.verify import verify_night
from specter_jobs.output.folder import output_folder
from specter_jobs.output.ledger import read_entries
from support.papers_on_disk import RunNight, label_bytes, paper, write_dump
from support.servers.s3_server import ACCESS_KEY, SECRET_KEY, S3Server


def outputs(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.startswith(("labels/", "rejects/"))}


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "specter_batch", *map(str, arguments)]
    environment = {**os.environ, "AWS_MAX_ATTEMPTS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )


def test_killed_and_run_again_in_a_store_it_gives_the_bytes_of_a_local_night(
    night: RunNight, sample_paths: SamplePaths, tiny_bundle: Path, tmp_path: Path, s3: S3Server
) -> None:
    first = min(sample_paths.night.iterdir())
    night(first, out=tmp_path / "one")
    settings = {"shard_rows": 12, "reuse": [tmp_path / "one"], "previous": tmp_path / "one"}
    undisturbed = night(sample_paths.night, out=tmp_path / "two", **settings)
    s3.upload(sample_paths.night, "in/2026-11-23")
    s3.path("in/2026-11-23/_SUCCESS").put_new(b"")
    s3.path("in/_temporary/part.parquet").put_new(b"half")
    one, bundle, out = s3.upload(tmp_path / "one", "one"), s3.upload(tiny_bundle, "bundle"), s3.path("out")
    arguments = ["classify", s3.path("in/2026-11-23"), out, "--bundle", bundle, "--reuse", one, "--previous", one]
    arguments += ["--shard-rows", 12, "--device", "cpu"]
    said = ""
    for kill in range(2):
        before = len((out / "ledger").names())
        process = start(*arguments)
        while process.poll() is None and len((out / "ledger").names()) <= before + 1:
            time.sleep(0.01)
        assert process.poll() is None, "came to its end before it was killed"
        process.kill()
        said += process.communicate()[0]
        assert "_SUCCESS" not in out.names()
        written = outputs(s3.files("out"))
        for entry in read_entries(output_folder(out)):
            assert len(written[entry.labels.name]) == entry.labels.size
        assert night_status(out).state == "stopped"
        assert len(read_entries(output_folder(out))) >= 2 * (kill + 1)
    process = start(*arguments, "--workers", 2)  # each of which reads from the store by itself
    said += process.communicate()[0]
    assert process.returncode == 0, said
    files = s3.files("out")
    assert outputs(files) == label_bytes(tmp_path / "two")
    in_store = json.loads(files["report.json"])
    on_disk = json.loads((tmp_path / "two/report.json").read_bytes())
    assert in_store.pop("ignored_inputs").keys() == {"_SUCCESS"}
    assert on_disk.pop("ignored_inputs") == {}
    for report in (in_store, on_disk):  # each names the earlier night in its own place
        assert report["previous"].pop("used") == report["previous"].pop("asked")
    assert in_store == on_disk
    assert undisturbed.report.rows.reused > 0
    names = {name for name in files if name.count("/") == 0}
    assert names == {file.name for file in (tmp_path / "two").iterdir() if file.is_file()} - {LOCK_FILE}
    assert not [name for name in files if name.startswith("ledger/")]
    assert verify_night(out).differences == []
    everything = b"".join(files.values()) + said.encode()
    assert SECRET_KEY.encode() not in everything
    assert ACCESS_KEY.encode() not in everything


@pytest.fixture
def dump(s3: S3Server, tmp_path: Path) -> str:
    """Return the URL of a small dump."""
    write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(9)])
    return str(s3.upload(tmp_path / "in", "in"))


def test_a_night_ended_with_sigterm_gives_its_lock_back(s3: S3Server, dump: str, tiny_bundle: Path) -> None:
    out = s3.path("out")
    process = start("classify", dump, out, "--bundle", tiny_bundle, "--device", "cpu", "--shard-rows", 1)
    while process.poll() is None and not (out / "ledger").names():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[0]
    assert process.returncode == 130, said
    assert LOCK_FILE not in out.names()
    assert read_entries(output_folder(out))


def test_a_rerun_does_nothing_again_and_a_lost_file_is_made_again(night: RunNight, s3: S3Server, dump: str) -> None:
    out = s3.path("out")
    night(dump, out=out, shard_rows=3)
    whole = outputs(s3.files("out"))
    assert night(dump, out=out, shard_rows=3).manifest.this_run.shards == 0
    (out / min(whole)).unlink()
    assert night(dump, out=out, shard_rows=3).manifest.this_run.shards == 1
    assert outputs(s3.files("out")) == whole


def test_outputs_of_rows_that_are_gone_are_removed(night: RunNight, s3: S3Server, tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 2)):
        write_dump(tmp_path / f"in/{name}.parquet", [paper(number)])
    source, out = s3.upload(tmp_path / "in", "in"), s3.path("out")
    night(str(source), out=out)
    (source / "b.parquet").unlink()
    with pytest.raises(ConfigError, match=r"no longer has 1 files .*\(b\.parquet\)"):
        night(str(source), out=out)
    night(str(source), out=out, replace=True)
    assert len(outputs(s3.files("out"))) == 1
    assert len(read_entries(output_folder(out))) == 1


def test_a_night_of_a_store_can_lend_to_one_on_disk(night: RunNight, s3: S3Server, dump: str, tmp_path: Path) -> None:
    night(dump, out=s3.path("one"), probabilities=True)
    here = night(dump, reuse=[str(s3.path("one")), str(s3.path("never"))], probabilities=True)
    assert here.report.rows.reused == 9
    assert not list((tmp_path / "out").glob("_survey.*"))


def test_verify_finds_what_was_changed_in_a_store(night: RunNight, s3: S3Server, dump: str, tmp_path: Path) -> None:
    out = s3.path("out")
    night(dump, out=out, shard_rows=3)
    first, second, _ = sorted(name for name in outputs(s3.files("out")))
    (out / first).unlink()
    (tmp_path / "wrong").write_bytes(b"wrong")
    (out / second).put(tmp_path / "wrong")
    found = verify_night(out).differences
    assert f"{first}: is missing" in found
    assert f"{second}: is no readable parquet file" in found


def test_the_second_job_stops_and_says_who_holds_the_lock(night: RunNight, s3: S3Server, dump: str) -> None:
    out = s3.path("out")
    night(dump, out=out)
    with output_folder(out).locked():
        assert night_status(out).holder.startswith(f"process {os.getpid()} on ")
        with pytest.raises(ConfigError, match=r"out: process \d+ on .+ is at work in this folder; wait until it ends"):
            night(dump, out=out)
        with pytest.raises(ConfigError, match="is at work in this folder"):
            verify_night(out)
    assert "_SUCCESS" in out.names()


def test_a_folder_of_something_else_is_not_written_to(night: RunNight, s3: S3Server, dump: str) -> None:
    s3.path("thesis/chapter.tex").put_new(b"years of work")
    with pytest.raises(ConfigError, match="is not empty and holds no output of classify"):
        night(dump, out=s3.path("thesis"))
    assert set(s3.files("thesis")) == {"chapter.tex"}


def test_a_corrupt_file_in_a_store_costs_only_itself(night: RunNight, s3: S3Server, dump: str) -> None:
    s3.path("in/b.parquet").put_new(b"nonsense")
    s3.path("in/c.parquet").put_new(b"")
    result = night(dump, out=s3.path("out"))
    assert result.exit_code == 3
    assert result.report.rows.labelled == 9
    failed = result.report.failed_shards
    assert "not a readable parquet file" in failed["b.parquet"]
    assert "the file is empty" in failed["c.parquet"]


def test_buckets_that_are_missing_are_told_before_the_model_is_asked(night: RunNight, s3: S3Server, dump: str) -> None:
    with pytest.raises(PaperSchemaError, match="s3://no-such/in: no such file, folder or bucket"):
        night("s3://no-such/in", out=s3.path("out"))
    with pytest.raises(StorageRefusedError, match=r"_specter_batch\.json: cannot be written, its bucket"):
        night(dump, out="s3://no-such/out")
    with pytest.raises(BundleError, match=r"s3://no-such/bundle: not a model bundle, bundle\.json is missing"):
        night(dump, bundle="s3://no-such/bundle")


def test_a_dump_of_another_format_is_ingested_on_disk(night: RunNight, s3: S3Server, dump: str, tmp_path: Path) -> None:
    for places in ({"dump": dump}, {"dump": str(tmp_path), "out": s3.path("out")}):
        with pytest.raises(ConfigError, match="--format jsonl: a dump can only be converted on a local disk"):
            night(**places, format="jsonl")


def test_the_commands_of_the_page_run_in_a_store(
    s3: S3Server, sample_paths: SamplePaths, tiny_bundle: Path, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[3] / "docs/object-storage.md").read_text()
    (commands,) = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    for name in ("acme-papers", "acme-nights", "acme-models"):
        commands = commands.replace(f"s3://{name}", str(s3.path(name)))
    s3.upload(tiny_bundle, "acme-models/specter")
    write_dump(tmp_path / "in/part-0.parquet", [paper(i) for i in range(9)])
    for day in (23, 24):
        s3.upload(tmp_path / "in", f"acme-papers/date=2026-11-{day}")
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "specter-batch"
        done = CliRunner().invoke(build_app(), arguments)
        assert done.exit_code == 0, f"{line}: {done.output} {done.exception!r}"
    assert json.loads(s3.files("acme-nights/2026-11-24")["report.json"])["rows"]["reused"] == 9


def test_refused_credentials_are_one_line_without_them(s3: S3Server, dump: str, tiny_bundle: Path) -> None:
    s3.check_credentials(True)
    try:
        process = start("classify", dump, s3.path("out"), "--bundle", tiny_bundle, "--device", "cpu")
        said = process.communicate()[0]
    finally:
        s3.check_credentials(False)
    assert process.returncode == 1
    error = said.splitlines()[-1]
    assert error.startswith(f"error: {dump}: the store refuses (PermissionError: ")
    assert "Traceback" not in said
    assert SECRET_KEY not in said
    assert ACCESS_KEY not in said


def test_a_server_that_is_down_is_one_line(dump: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    process = start("status", s3.path("out"))
    said = process.communicate()[0]
    assert (process.returncode, len(said.splitlines())) == (75, 1), said
    assert "the store cannot be used (EndpointConnectionError: Could not connect" in said


class StallingProxy:
    """Passes a store's traffic on until it is told to stall: then every request waits for ever."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.removeprefix("http://").split(":")
        self._store = host, int(port)
        self._stalled = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        self._stalled.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:  # closed
                return
            store = socket.create_connection(self._store)
            self._sockets += [client, store]
            for source, target in ((client, store), (store, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                if self._stalled.is_set():
                    return
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)


HURRIED = """
import sys
from specter_batch import start
start.GRACE_SECONDS = 2.0  # so that the test is
start.main()
"""


def test_sigterm_while_the_store_hangs_ends_the_job_soon_and_a_rerun_resumes(
    s3: S3Server, tmp_path: Path, tiny_bundle: Path, night: RunNight
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(60)])
    proxy = StallingProxy(s3.endpoint)
    command = ["classify", dump, s3.path("out"), "--bundle", tiny_bundle, "--device", "cpu", "--shard-rows", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", HURRIED, *map(str, command)],
        env=os.environ | {"AWS_ENDPOINT_URL": proxy.endpoint},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "shard finished" in line:
            break
    proxy.stall()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1]
    proxy.close()
    assert process.returncode == 130
    assert time.monotonic() - began < 25
    assert said.splitlines()[-1].startswith("error: interrupted")
    assert night(dump, out=s3.path("out"), shard_rows=2).exit_code == 0
    assert verify_night(s3.path("out")).differences == []
