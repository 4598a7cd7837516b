"""The CUDA benchmark, run whole on a CPU with a graph of two layers; only the kernels of a card are not tried here."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

CUDA = Path(__file__).parents[2] / "benchmarks" / "cuda"
sys.path.append(str(CUDA))

import carry  # noqa: E402
import make_inputs  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from hollow import fill, load_hollow, save_hollow  # noqa: E402


@given(content=st.binary(max_size=4_000), size=st.integers(1, 3_000))
@settings(max_examples=30, deadline=None)
def test_a_file_that_was_split_is_joined_to_the_same_bytes(
    content: bytes, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("carry")
    (folder / "a.whl").write_bytes(content)
    mib, carry.MIB = carry.MIB, size
    try:
        carry.split(folder / "a.whl", folder / "parts", mib=1)
    finally:
        carry.MIB = mib
    assert [file.read_bytes() for file in carry.join(folder / "parts", folder / "joined")] == [content]


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_missing_or_damaged_part_is_named(tmp_path: Path, harm: str) -> None:
    (tmp_path / "a.whl").write_bytes(b"x" * 100)
    (part,) = carry.split(tmp_path / "a.whl", tmp_path / "parts", mib=1)
    part.unlink() if harm == "missing" else part.write_bytes(b"y")
    with pytest.raises(SystemExit, match=rf"a\.whl\.part000: this part is {harm}"):
        carry.join(tmp_path / "parts")


def shape(model: onnx.ModelProto) -> tuple[Counter[str], Counter[tuple[int, ...]]]:
    tensors = Counter(tuple(tensor.dims) for tensor in model.graph.initializer)
    return Counter(node.op_type for node in model.graph.node), tensors


def test_the_graph_that_is_kept_is_the_one_that_export_writes_today() -> None:
    assert make_inputs.GRAPH_FILE.stat().st_size < 2 << 20
    kept = shape(load_hollow(make_inputs.GRAPH_FILE))
    two, three = (shape(make_inputs.hollow_graph(layers=layers)) for layers in (2, 3))
    for found, small, larger in zip(kept, two, three, strict=True):
        a_layer = larger - small
        assert found == Counter({name: small[name] + 10 * a_layer[name] for name in small | larger})  # 12 layers


def test_lengths_have_the_mean_that_is_claimed() -> None:
    lengths = np.load(make_inputs.LENGTHS_FILE)
    assert lengths.max() <= make_inputs.MAX_LENGTH
    assert abs(lengths.mean() - make_inputs.MEAN_TOKENS) < 3


def test_a_filled_graph_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    hollow_file = tmp_path / "graph.xz"
    save_hollow(make_inputs.hollow_graph(layers=1), hollow_file)
    models = [load_hollow(hollow_file) for _ in range(2)]
    for model in models:
        fill(model, seed=3)
    assert models[0].graph.initializer == models[1].graph.initializer


def packages_of(names: Iterable[str]) -> set[str]:
    """Return packages with everything that they need, as far as it is installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.split(r"[^A-Za-z0-9._-]", waiting.pop())[0].lower().replace("_", "-")
        if name in found:
            continue
        with suppress(PackageNotFoundError):
            waiting += [line for line in requires(name) or [] if "extra ==" not in line]
            found.add(name)
    return found


def test_measuring_needs_torch_numpy_onnx_and_onnxruntime_alone() -> None:
    there = packages_of(["torch", "numpy", "onnx", "onnxruntime-gpu", "onnxruntime"])
    missing = sorted(
        module
        for module, names in packages_distributions().items()
        if not {name.lower().replace("_", "-") for name in names} & there and module != "specter_batch"
    )
    refuse = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, {str(CUDA)!r})
import measure
"""
    assert {"tokenizers", "pydantic", "transformers"} <= set(missing)
    done = subprocess.run([sys.executable, "-c", refuse], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_one_command_measures_and_runs_nights(tmp_path: Path) -> None:
    save_hollow(make_inputs.hollow_graph(layers=2), tmp_path / "graph.onnx.xz")
    ways = "ours_16384 bound unfused fp32 torch_bf16"
    settings_of_run = {
        "PYTHON": sys.executable,
        "DEVICE": "cpu",
        "MEASURE": f"--graph {tmp_path / 'graph.onnx.xz'} --papers 2 --rounds 1 --ways {ways}",
        "NIGHT": "--papers 24 --shard-rows 4",
    }
    out = tmp_path / "out"
    command = ["bash", str(CUDA / "run.sh"), str(out)]
    done = subprocess.run(command, env=os.environ | settings_of_run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    record = json.loads((out / "cuda.json").read_text())
    assert set(record["seconds"]) == set(ways.split())
    assert set(record["failed"]) == {"logits of packed"}  # its operators exist for CUDA alone
    found = record["logits"]["against_fp32_on_cpu"]
    assert found["fp32"]["largest_difference"] == 0
    assert 0 < found["ours"]["largest_difference"] < 0.05
    assert found["torch_fp16"]["largest_difference"] < 0.05  # the peer is the same model
    assert record["logits"]["against_fp32_on_device"] == found  # the device is the CPU here
    assert set(record["memory_mib_by_way"].values()) == {0}
    assert record["end_to_end"]["night"]["rows"]["labelled"] == 24
    assert record["end_to_end"]["killed"]["same_bytes"]
    assert (out / "cuda.md").read_text().count("| ours") >= 2
