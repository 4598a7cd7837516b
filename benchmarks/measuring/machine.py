"""The machine that figures depend on: processor, cores, load, GPU and versions of packages."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measuring.processes import nvidia_smi
from specter_batch.cpus import usable_cpus
from specter_batch.model.device import CPU_INFO

# What Linux calls the instruction sets that kernels of Torch and ONNX Runtime choose between, and what they are called
# here, from the oldest. The first group is x86-64, the second arm64.
INSTRUCTION_SETS = {
    **{"avx2": "AVX2", "avx512f": "AVX-512", "avx_vnni": "AVX-VNNI", "avx512_vnni": "AVX512-VNNI"},
    **{"avx512_bf16": "AVX512-BF16", "avx_vnni_int8": "AVX-VNNI-INT8", "amx_bf16": "AMX-BF16", "amx_int8": "AMX-INT8"},
    **{"asimd": "NEON", "asimddp": "dot product", "i8mm": "I8MM", "bf16": "BF16", "sve": "SVE", "sme": "SME"},
}
PACKAGES = (
    *("specter-batch", "torch", "transformers", "optimum-onnx", "onnxruntime-gpu", "onnxruntime", "openvino", "nncf"),
    *("tokenizers", "nanotoken", "pyarrow", "numpy"),
)


def machine(device: str) -> dict[str, Any]:
    """Return facts about the machine, which are reported with the figures."""
    return {
        "processor": _processor(),
        "instruction_sets": instruction_sets(),
        "cores": usable_cpus(),
        "card": nvidia_smi("name") if device == "cuda" else None,
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version()} | _versions(),
    }


def load() -> float:
    """Return the machine's load: the mean number of running processes in the last minute."""
    return round(os.getloadavg()[0], 2)


def instruction_sets(cpu_info: Path = CPU_INFO) -> list[str]:
    """Return the instruction sets of the processor that fast kernels may use. The list is empty outside Linux."""
    flags = {
        word
        for line in _cpu_info(cpu_info)
        if line.startswith(("flags", "Features"))  # x86-64, arm64
        for word in line.partition(":")[2].split()
    }
    return [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]


def hardware(facts: Mapping[str, Any]) -> str:
    """Return the card, or the processor with its instruction sets, and the number of cores, as text for a table."""
    if facts["card"]:
        return f"{facts['card']}, {facts['cores']} cores"
    sets = ", ".join(facts["instruction_sets"]) or "instruction sets unknown"
    return f"{facts['processor']} ({sets}), {facts['cores']} cores"


def _cpu_info(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _processor() -> str:
    lines = _cpu_info(CPU_INFO)
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
