import subprocess
import sys
from pathlib import Path

import pytest
from measuring import processes
from measuring.machine import hardware, instruction_sets, load, machine
from measuring.peak import peak_tflops
from measuring.processes import run_measured

from specter_batch.errors import ConfigError

BENCHMARKS = Path(processes.__file__).parents[1]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_is_told_with_its_time_and_output() -> None:
    finished = run_measured(python("import time; print('done'); time.sleep(0.2)"), device="cpu")
    assert (finished.exit_code, finished.output, finished.card_mb) == (0, "done\n", None)
    assert finished.seconds > 0.2
    assert 0 < finished.cpu_seconds < finished.seconds


def test_peak_memory_is_that_of_the_command() -> None:
    measured = (
        "from measuring.processes import own_peak_mb, run_measured; import sys;"
        "peak = lambda code: run_measured([sys.executable, '-c', code], device='cpu').peak_mb;"
        "print(own_peak_mb(), peak(''), peak(\"b'x' * 300_000_000\"))"
    )
    # Asked from a small process: this one holds Torch, and no command is told with less than who starts it.
    asked = subprocess.run(python(measured), check=True, capture_output=True, text=True, cwd=BENCHMARKS)
    own, nothing, large = map(float, asked.stdout.split())
    assert nothing < 1.2 * own
    assert large == pytest.approx(300, rel=0.2)


def test_a_command_that_fails_says_why() -> None:
    failed = run_measured(python("raise SystemExit('no such thing')"), device="cpu")
    assert (failed.exit_code, failed.output) == (1, "no such thing\n")
    killed = run_measured(python("import os; os.kill(os.getpid(), 9)"), device="cpu")
    assert killed.exit_code == -9


def test_a_cpu_command_sees_no_card() -> None:
    asked = python("import os; print(os.environ['CUDA_VISIBLE_DEVICES'] == '')")
    assert run_measured(asked, device="cpu").output == "True\n"


def test_the_memory_of_a_card_is_what_the_command_adds_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tmp_path / "nvidia-smi"  # 100 MiB in use, and 1,000 more while the command holds a file
    card.write_text(f"#!/bin/sh\ntest -e {tmp_path}/held && echo 1100 || echo 100\n")
    card.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    hold = f"import pathlib, time; f = pathlib.Path('{tmp_path}/held'); f.touch(); time.sleep(1); f.unlink()"
    assert run_measured(python(hold), device="cuda").card_mb == pytest.approx(1048.576)


def test_the_peak_of_a_card_is_known_by_its_name_or_asked_for() -> None:
    assert peak_tflops("NVIDIA H100 80GB HBM3") == 989
    assert peak_tflops("NVIDIA H100 PCIe") == 756
    assert peak_tflops("NVIDIA A100-SXM4-40GB") == 312
    assert peak_tflops("NVIDIA L4") == 121
    assert peak_tflops("NVIDIA L40S") == 362
    for unknown in ("NVIDIA L400", None):
        with pytest.raises(ConfigError, match="--peak-tflops"):
            peak_tflops(unknown)


def test_the_machine_is_told() -> None:
    facts = machine("cpu")
    assert facts["cores"] >= 1
    assert facts["processor"]
    assert facts["versions"].keys() >= {"python", "torch", "numpy"}
    assert load() >= 0
    assert str(facts["cores"]) in hardware(facts)
    assert all(name in hardware(facts) for name in facts["instruction_sets"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8 avx2x", ["AVX2", "AVX-512", "AVX512-VNNI", "AMX-INT8"]),
        ("Features\t: fp asimd asimddp i8mm sve", ["NEON", "dot product", "I8MM", "SVE"]),
        ("vendor_id\t: avx2", []),
    ],
)
def test_the_instruction_sets_are_those_that_linux_lists(tmp_path: Path, line: str, expected: list[str]) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\nbugs\t\t: sme\n")
    assert instruction_sets(tmp_path / "cpuinfo") == expected
    assert instruction_sets(tmp_path / "missing") == []
