"""How many CPU threads PyTorch gets, and who decides."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.cpus import usable_cpus
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.model.threads import TorchThreads, chosen_threads, use_threads


@pytest.fixture(autouse=True)
def threads() -> Iterator[int]:
    """Return the number of threads of this process, and restore it afterwards."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_a_large_model_gets_the_usable_cores_and_a_tiny_one_a_single_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert use_threads(None, tokens=4_096, hidden_size=768).count == torch.get_num_threads() == usable_cpus()
    tiny = use_threads(None, tokens=512, hidden_size=32)
    assert tiny.count == torch.get_num_threads() == 1


@pytest.mark.parametrize(("hidden_size", "expected"), [(32, 1), (128, 3), (384, 30), (768, 64)])
def test_many_cores_are_used_only_where_the_products_are_large(hidden_size: int, expected: int) -> None:
    chosen = chosen_threads(2_048, hidden_size, cores=64)
    assert chosen.count == expected
    assert chosen.chosen_by == ("usable cores" if expected == 64 else "the model is too small for more")


def test_the_variable_of_openmp_wins_over_the_choice_and_the_option_over_both(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    found = use_threads(None, tokens=4_096, hidden_size=768)
    assert (found, torch.get_num_threads()) == (TorchThreads(count=threads, chosen_by="OMP_NUM_THREADS"), threads)
    found = use_threads(threads + 2, tokens=16, hidden_size=32)
    assert (found, torch.get_num_threads()) == (TorchThreads(count=threads + 2, chosen_by="--threads"), threads + 2)
    assert str(found) == f"PyTorch uses {threads + 2} CPU threads (--threads)"


def test_train_records_its_threads_and_embed_says_them(
    tiny_encoder: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = ["train", str(sample_paths.val), "--val", str(sample_paths.val), "--allow-overlap", "--epochs", "1"]
    command += ["--encoder", str(tiny_encoder), "--max-length", "32", "--no-warm-start", "--out", str(out)]
    done = CliRunner().invoke(build_app(), [*command, "--threads", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    training = json.loads((out / "run.json").read_text())["training"]
    assert (training["threads"], training["threads_chosen_by"]) == (2, "--threads")
    assert "threads" not in training["settings"]  # a run may be resumed with another number
    words = ["embed", str(sample_paths.val), str(tmp_path / "vectors.parquet"), "--model", str(out)]
    told = CliRunner().invoke(build_app(), words, catch_exceptions=False).stderr
    assert "PyTorch uses 2 CPU threads (OMP_NUM_THREADS)" in told
    assert os.environ["OMP_NUM_THREADS"] == "1"
