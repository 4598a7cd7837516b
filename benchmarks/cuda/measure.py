"""Measure the speed of methods to run the model on a CUDA card, from token ids to labels. The methods take turns.

Usage: bash benchmarks/cuda/run.sh OUT        (this script is its middle part)
       python benchmarks/cuda/measure.py OUT [--device cpu --papers 8]    to try it without a card

Needs torch, numpy, onnx and onnxruntime-gpu. OUT gets `cuda.json`, written after every step, and the table `cuda.md`.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "export")]

import graphs  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import torch  # noqa: E402 - before onnxruntime: its CUDA libraries are then found
import ways  # noqa: E402
from figures_table import table  # noqa: E402
from hollow import fill, load_hollow  # noqa: E402
from setting import flops, machine, papers_of  # noqa: E402
from torch_bert import torch_bert  # noqa: E402
from ways import Way  # noqa: E402

from specter_batch.model.placement import check_placement  # noqa: E402
from specter_batch.model.tokens.encoding import TokenIds  # noqa: E402

SEED, ROUNDS, COMPARED = 0, 3, 128
BUDGETS = (8_192, 16_384, 32_768, 65_536)


class Record:
    """`cuda.json`, written again after every step, so that an interrupted run leaves what it has measured."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.values: dict[str, Any] = {"failed": {}}

    def put(self, **values: Any) -> None:
        """Add values."""
        self.values |= values
        self._file.write_text(json.dumps(self.values, indent=1) + "\n")

    def failed(self, name: str, error: Exception) -> None:
        """Record a method that cannot run here, with the first line of the reason."""
        traceback.print_exc()
        self.values["failed"][name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:600]
        self.put()


def all_ways(work: Path, bert: Any, device: str) -> list[Way]:
    """List the methods in the order of a round."""
    fused, unfused, packed = (work / f"{name}.onnx" for name in ("fused", "unfused", "packed"))
    found = [
        Way(
            name=f"ours_{budget}",
            title=f"ours: ONNX Runtime fp16, fused, {budget // 1024}k tokens a batch",
            make=lambda budget=budget: ways.onnx_way(fused, device, max_tokens=budget),
        )
        for budget in BUDGETS
    ]
    # The kernels of attention, as bits of ONNX Runtime's option: https://onnxruntime.ai/docs/execution-providers.
    kernels = {"default": None, "flash": 1, "efficient": 2, "trt": 36, "cudnn": 8, "math": 16}
    found += [
        Way(
            name=f"kernel_{name}_{multiple}",
            title=f"ours, {name} attention, lengths in multiples of {multiple}, 16k",
            make=lambda bits=bits, multiple=multiple: ways.onnx_way(
                fused,
                device,
                max_tokens=16_384,
                multiple=multiple,
                **({} if bits is None else {"sdpa_kernel": str(bits)}),
            ),
        )
        for multiple in (1, 32)
        for name, bits in kernels.items()
    ]
    found += [
        Way(
            name="bound",
            title="ours with IO binding, 16k",
            make=lambda: ways.bound_way(fused, device, max_tokens=16_384),
        ),
        Way(
            name="packed",
            title="ours with packed attention (no padding), 16k",
            make=lambda: ways.onnx_way(packed, device, max_tokens=16_384),
        ),
        Way(
            name="packed_64k",
            title="ours with packed attention (no padding), 64k",
            make=lambda: ways.onnx_way(packed, device, max_tokens=65_536),
        ),
        Way(
            name="unfused",
            title="ONNX Runtime fp16 as exported, not fused, 16k",
            make=lambda: ways.onnx_way(unfused, device, max_tokens=16_384),
        ),
        Way(
            name="fp32",
            title="ONNX Runtime fp32 (without TF32), 16k",
            make=lambda: ways.onnx_way(work / "fp32.onnx", device, max_tokens=16_384),
        ),
    ]
    kinds = {"fp16": torch.float16, "bf16": torch.bfloat16}
    for budget in (16_384, 65_536):
        found += [
            Way(
                name=f"torch_{kind}" + ("" if budget == 16_384 else f"_{budget}"),
                title=f"Torch {kind} SDPA, sorted batches, {budget // 1024}k",
                make=lambda dtype=dtype, budget=budget: ways.torch_way(bert, device, dtype=dtype, max_tokens=budget),
            )
            for kind, dtype in kinds.items()
        ]
    found.append(
        Way(
            name="compiled",
            title="torch.compile fp16, sorted batches, 16k",
            make=lambda: ways.compiled_way(bert, device, dtype=torch.float16, max_tokens=16_384),
        )
    )
    return found


def time_ways(found: Sequence[Way], papers: Sequence[TokenIds], record: Record, *, rounds: int, until: float) -> None:
    """Run the methods in turns and record the seconds of each. The first pass of each is not counted."""
    asks: dict[str, ways.Ask] = {}
    first: dict[str, float] = {}
    memory: dict[str, int] = {}
    for way in found:
        if time.monotonic() > until:
            record.failed(way.name, RuntimeError("not tried: the time was up"))
            continue
        began, used = time.monotonic(), used_mib()
        try:
            ask = way.make()
            first[way.name] = ways.seconds(ask, papers)[0]  # kernels are chosen and memory is taken
            asks[way.name] = ask
            memory[way.name] = used_mib() - used
            print(f"{way.name}: ready after {time.monotonic() - began:.1f} s", flush=True)
        except Exception as error:
            record.failed(way.name, error)
    taken: dict[str, list[float]] = {name: [] for name in asks}
    for number in range(rounds):
        for name, ask in asks.items():
            if time.monotonic() > until and number:
                break
            taken[name].append(ways.seconds(ask, papers)[0])
        record.put(seconds=taken, first_pass_seconds=first, memory_mib_by_way=memory)
        print(f"round {number + 1} of {rounds}", flush=True)


def used_mib() -> int:
    """Return the memory of the card in use by all processes, in MiB; 0 without a card.

    Memory that Torch has kept from an earlier method is given back first, so that each method shows its own.
    """
    if not torch.cuda.is_available():
        return 0
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return (total - free) >> 20


def compare(work: Path, bert: Any, papers: Sequence[TokenIds], record: Record, device: str) -> None:
    """Record the largest differences of logits from the fp32 graph, on the CPU and on the device."""
    reference = ways.onnx_way(work / "fp32.onnx", "cpu", max_tokens=4_096, threads=os.cpu_count() or 1)(papers)
    spread = float(np.abs(reference).max())
    asks = {
        "fp32": lambda: ways.onnx_way(work / "fp32.onnx", device, max_tokens=16_384),
        "ours": lambda: ways.onnx_way(work / "fused.onnx", device, max_tokens=16_384),
        "packed": lambda: ways.onnx_way(work / "packed.onnx", device, max_tokens=16_384),
        "torch_fp16": lambda: ways.torch_way(bert, device, dtype=torch.float16, max_tokens=16_384),
        "torch_bf16": lambda: ways.torch_way(bert, device, dtype=torch.bfloat16, max_tokens=16_384),
    }
    found: dict[str, ways.Logits] = {}
    for name, make in asks.items():
        try:
            found[name] = make()(papers)
        except Exception as error:
            record.failed(f"logits of {name}", error)
    against = {"cpu": reference} | ({"device": found["fp32"]} if "fp32" in found else {})
    record.put(
        logits={"papers": len(papers), "largest_logit": spread}
        | {f"against_fp32_on_{place}": differences(found, exact) for place, exact in against.items()}
    )


def differences(found: dict[str, ways.Logits], exact: ways.Logits) -> dict[str, dict[str, float]]:
    """Return by method how far its logits are from exact ones, and how many labels differ."""
    return {
        name: {
            "largest_difference": float(np.abs(logits - exact).max()),
            "labels_changed": int((logits.argmax(1) != exact.argmax(1)).sum()),
        }
        for name, logits in found.items()
    }


def look_at_placement(file: Path, work: Path, papers: Sequence[TokenIds], record: Record) -> None:
    """Record which operators of a graph run on the CPU, and whether the nightly job accepts the graph."""
    try:
        record.put(**{f"on_cpu_of_{file.stem}": ways.nodes_off_card(file, work, papers)})
        check_placement(ways.session(file, "cuda"), file)
        record.put(**{f"{file.stem}_may_run": True})
    except Exception as error:
        record.failed(f"placement of {file.stem}", error)


def cuda_graphs(work: Path, papers: Sequence[TokenIds], record: Record) -> None:
    """Compare a captured CUDA graph with plain calls on the same papers, both with one fixed shape."""
    length, batch = 256, 64
    chosen = [ids for ids in papers if length - 32 < len(ids) <= length]
    chosen = [chosen[i % len(chosen)] for i in range(16 * batch)]
    try:
        plain = ways.onnx_way(work / "fused.onnx", "cuda", max_tokens=length * batch)
        replay = ways.cuda_graph_way(work / "fused.onnx", length=length, papers=batch)
        taken: dict[str, list[float]] = {"plain": [], "replayed": []}
        for number in range(4):
            for name, ask in (("plain", plain), ("replayed", replay)):
                spent = ways.seconds(ask, chosen)[0]
                if number:
                    taken[name].append(spent)
        record.put(cuda_graph={"papers": len(chosen), "length": length, "seconds": taken})
    except Exception as error:
        record.failed("cuda_graph", error)


def main() -> None:
    """Read the command line, build the graphs, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--graph", type=Path, default=HERE / "bert_base.onnx.xz", help="A graph of make_inputs.py.")
    parser.add_argument("--papers", type=int, default=None, help="Papers a pass. Default: all lengths.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=240, help="No way is begun after so many seconds.")
    parser.add_argument("--ways", nargs="*", help="Keys of the ways to time, such as ours_16384. Default: all.")
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    work = args.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    record = Record(args.out / "cuda.json")
    record.put(machine=machine(args.device), started=time.time())
    graphs.quiet()
    model = load_hollow(args.graph)
    fill(model, seed=SEED)
    onnx.save(model, work / "fp32.onnx")
    bert = torch_bert(model)
    layers = len(bert.layers)
    graphs.fused_fp16(work / "fp32.onnx", work / "fused.onnx", layers=layers)
    graphs.packed_fp16(work / "fused.onnx", work / "packed.onnx")
    graphs.unfused_fp16(work / "fp32.onnx", work / "unfused.onnx")
    print(f"graphs built, {until - time.monotonic():.0f} s left", flush=True)
    lengths = np.load(HERE / "lengths.npy").astype(np.int64)[: args.papers]
    papers = papers_of(lengths.tolist(), words=bert.words.num_embeddings, seed=SEED)
    record.put(
        layers=layers,
        papers={
            "n": len(papers),
            "mean_tokens": float(lengths.mean()),
            "flops": flops(lengths.tolist(), layers=layers),
        },
        operators={name: ways.operators(work / f"{name}.onnx") for name in ("fused", "packed", "unfused")},
    )
    if args.device == "cuda":
        for name in ("fused", "unfused", "fp32"):
            look_at_placement(work / f"{name}.onnx", work, papers[:8], record)
    compare(work, bert, papers[:COMPARED], record, args.device)
    found = [way for way in all_ways(work, bert, args.device) if args.ways is None or way.name in args.ways]
    time_ways(found, papers, record, rounds=args.rounds, until=until)
    if args.device == "cuda":
        cuda_graphs(work, papers, record)
        record.put(memory_mib={"torch_reserved": torch.cuda.memory_reserved() >> 20, "used": used_mib()})
    page = table(record.values, found)
    (args.out / "cuda.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
