import os
from pathlib import Path

import pytest

from specter_batch.cpus import affinity_cores, cores_within, usable_cpus
from specter_batch.errors import ConfigError, ProviderError
from specter_batch.model.device import Device, cuda_problem, int8_saturates

CPU = Device(kind="cpu")
HAS_CUDA = cuda_problem(0) is None
without_cuda = pytest.mark.skipif(HAS_CUDA, reason="tells what happens without CUDA; hide the card to run it")


@pytest.mark.parametrize(
    "name", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1.0", "cuda 0", "cuda:²", "autos"]
)
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N"):
        Device.parse(name)


def test_the_cpu_is_always_there() -> None:
    assert Device.parse("cpu") == CPU
    assert str(CPU) == "cpu"


def test_a_card_is_written_as_it_is_read() -> None:
    assert str(Device(kind="cuda", index=1)) == "cuda:1"


@without_cuda
def test_auto_is_the_cpu_where_no_card_works() -> None:
    assert Device.parse("auto") == CPU


@pytest.mark.skipif(not HAS_CUDA, reason="needs an NVIDIA card, its driver and onnxruntime-gpu")
def test_auto_is_the_first_card_where_one_works() -> None:
    assert Device.parse("auto") == Device.parse("cuda") == Device.parse("cuda:0") == Device(kind="cuda")


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_asked_for_without_cuda_says_what_is_missing_and_what_to_do(name: str) -> None:
    with pytest.raises(ProviderError) as caught:
        Device.parse(name)
    message = str(caught.value)
    assert message.startswith(f"cuda:{name[5:] or 0} cannot be used: {cuda_problem(0)}")
    assert any(thing in message for thing in ("onnxruntime-gpu", "driver", "CUDA GPU"))
    assert message.endswith("or run with --device cpu")


def test_a_card_beyond_the_last_is_refused() -> None:
    with pytest.raises(ProviderError, match="cuda:999 cannot be used"):
        Device.parse("cuda:999")


# Cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can pin a process to a core")
def test_a_process_pinned_to_one_core_uses_one() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cpus() <= len(before)


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000\n", 8), ("300000 100000\n", 3), ("250000 100000\n", 2), ("50000 100000\n", 1), ("1600000 100000", 8)],
)
def test_a_container_quota_caps_the_cores(tmp_path: Path, cpu_max: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(cpu_max)
    assert cores_within(tmp_path / "cpu.max", 8) == expected


@pytest.mark.parametrize("cpu_max", ["", "max", "a b", "1 2 3"])
def test_a_quota_that_cannot_be_read_is_no_quota(tmp_path: Path, cpu_max: str) -> None:
    (tmp_path / "cpu.max").write_text(cpu_max)
    assert cores_within(tmp_path / "cpu.max", 8) == 8
    assert cores_within(tmp_path / "missing", 8) == 8


def test_the_cores_are_those_of_this_process_within_its_own_quota() -> None:
    assert usable_cpus() == cores_within(Path("/sys/fs/cgroup/cpu.max"), affinity_cores())


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "avx2 avx512_vnni", False),
        ("x86_64", "avx2 avx_vnni", False),
        ("AMD64", "avx2 avx512bw", True),
        ("aarch64", "asimd", False),
    ],
)
def test_int8_saturates_on_x86_without_vnni(tmp_path: Path, machine: str, flags: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name : a CPU\nflags : {flags}\n")
    assert int8_saturates(machine, tmp_path / "cpuinfo") is expected


def test_an_x86_that_cannot_be_asked_is_taken_for_one_that_saturates(tmp_path: Path) -> None:
    assert int8_saturates("x86_64", tmp_path / "missing")
