"""With --json, standard output is one JSON value and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from specter_batch.training.demo.sample import SamplePaths


def run(*arguments: str | Path) -> Any:
    command = [sys.executable, "-m", "specter_batch", *map(str, arguments), "--json"]
    # With this variable transformers prints a notice to standard output when its trainer is imported.
    environment = os.environ | {"WANDB_MODE": "offline"}
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def test_train_prints_only_its_result(tiny_encoder: Path, sample_paths: SamplePaths, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--val", sample_paths.val, "--encoder", tiny_encoder, "--out", out, "--epochs", "1", "--head", "mlp")
    found = run("train", sample_paths.train, *options)
    assert found["run"] == str(out)
    assert 0 <= found["macro_f1"] <= 1


def test_classify_and_inspect_print_only_their_results(
    tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    found = run("classify", sample_paths.night, tmp_path / "out", "--bundle", tiny_bundle, "--device", "cpu")
    assert found["rows"]["labelled"] == found["manifest"]["rows"]["labelled"]
    assert run("inspect", tiny_bundle)["fingerprint"] == found["bundle"]
