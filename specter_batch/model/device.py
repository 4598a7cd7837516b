"""Devices that a graph can run on, and why a device cannot be used."""

import ctypes
import itertools
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from specter_batch.errors import ProviderError, UsageError
from specter_batch.graph_names import DeviceKind

# https://docs.nvidia.com/cuda/cuda-driver-api, enum CUresult.
CUDA_ERROR_NO_DEVICE = 100

CPU_INFO = Path("/proc/cpuinfo")

PROVIDERS: Mapping[DeviceKind, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, kw_only=True)
class Device:
    """The device that a graph runs on: `cpu`, or `cuda` with a card's index."""

    kind: DeviceKind
    index: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else "cpu"

    @classmethod
    def parse(cls, name: str) -> "Device":
        """Read `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is the first CUDA card that works, else the CPU.

        Raises:
            UsageError: The name is not one of `auto`, `cpu`, `cuda` and `cuda:N`.
            ProviderError: The name is a CUDA device, and it cannot be used here.
        """
        if name == "auto":
            return cls(kind="cpu") if cuda_problem(0) else cls(kind="cuda")
        if name == "cpu":
            return cls(kind="cpu")
        kind, _, index = name.partition(":")
        if kind != "cuda" or (index and not index.isdecimal()) or name.endswith(":"):
            meant = (
                "; did you mean cuda?" if {"gpu", "cuda", "nvidia"} & set(re.findall("[a-z]+", name.lower())) else ""
            )
            raise UsageError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:N{meant}")
        device = cls(kind="cuda", index=int(index or 0))
        problem = cuda_problem(device.index)
        if problem:
            raise ProviderError(f"{device} cannot be used: {problem}; or run with --device cpu")
        return device


def devices(name: str) -> list[Device]:
    """Return the devices with a name: every card for `cuda:all`, otherwise the result of `Device.parse`.

    Raises:
        ConfigError: The name is unknown.
        ProviderError: The name is a CUDA device, and it cannot be used here.
    """
    if name != "cuda:all":
        return [Device.parse(name)]
    first = Device.parse("cuda")
    cards = itertools.count(1)
    return [first, *(Device(kind="cuda", index=i) for i in itertools.takewhile(lambda i: not cuda_problem(i), cards))]


def cuda_problem(index: int) -> str | None:
    """Return why CUDA card `index` cannot run a graph and what to do; None if no problem was found."""
    import onnxruntime

    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return "the installed onnxruntime is a CPU build; install onnxruntime-gpu instead of onnxruntime"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver was found (libcuda.so.1); install the driver, or give the container a GPU"
    count = ctypes.c_int()
    started = driver.cuInit(0)
    if started == CUDA_ERROR_NO_DEVICE:
        return "no CUDA GPU is visible here; check nvidia-smi and CUDA_VISIBLE_DEVICES"
    if started != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "the NVIDIA driver does not start (cuInit failed); see nvidia-smi"
    if index >= count.value:
        return f"this machine has {count.value} CUDA GPU{'s' if count.value > 1 else ''}, numbered from 0"
    return None


def int8_saturates(machine: str = platform.machine(), cpu_info: Path = CPU_INFO) -> bool:
    """Return whether ONNX Runtime's fast int8 kernels on this CPU add products in 16 bits, which can overflow.

    They do on x86-64 CPUs without VNNI (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    If the features of a CPU are unknown, the answer is True. This costs speed but never changes a label.

    Args:
        machine: The kind of CPU, as `platform.machine` returns it.
        cpu_info: The file in which Linux lists the features of the CPU.
    """
    if machine.lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = cpu_info.read_text().split()
    except OSError:
        return True
    return not {"avx512_vnni", "avx_vnni"} & set(flags)
