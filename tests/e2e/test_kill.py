"""Killed at any instant and run again, a night ends as if it had never been disturbed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from specter_batch.training.demo.sample import SamplePaths
from support.papers_on_disk import label_bytes

KILLS = 25


def command(dump: Path, out: Path, bundle: Path) -> list[str]:
    arguments = ["classify", str(dump), str(out), "--bundle", str(bundle), "--device", "cpu", "--shard-rows", "11"]
    return [sys.executable, "-m", "specter_batch", *arguments]


def test_kill_9_at_random_instants_and_resume_gives_the_same_bytes(
    tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(sample_paths.night, whole, tiny_bundle), check=True, capture_output=True)
    rng = random.Random(0)
    ledger = broken / "ledger.jsonl"
    killed_at_work = 0
    for _ in range(KILLS):
        lines = ledger.stat().st_size if ledger.exists() else 0
        process = subprocess.Popen(
            command(sample_paths.night, broken, tiny_bundle), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # From when it has begun to label: before that there is nothing to lose.
        while process.poll() is None and not (ledger.exists() and ledger.stat().st_size > lines):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        killed_at_work += process.poll() is None
        process.kill()
        process.wait()
        assert not (broken / "_SUCCESS").exists() or process.returncode == 0
    assert killed_at_work >= KILLS // 3
    subprocess.run(command(sample_paths.night, broken, tiny_bundle), check=True, capture_output=True)
    assert label_bytes(broken) == label_bytes(whole)
    assert (broken / "report.json").read_bytes() == (whole / "report.json").read_bytes()
    assert (broken / "_SUCCESS").exists()
    assert not [path for path in broken.rglob("*") if path.name.endswith(".partial") or "_survey" in path.name]


def test_sigterm_ends_the_night_resumable(tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(sample_paths.night, out, tiny_bundle), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (out / "ledger.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("error: interrupted")
    subprocess.run(command(sample_paths.night, out, tiny_bundle), check=True, capture_output=True)
    assert (out / "_SUCCESS").exists()
