"""Methods to label papers on a card. Each takes token ids and returns logits in input order."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch_bert import TorchBert

from specter_batch.model.placement import RECORD_PLACEMENT
from specter_batch.model.tokens.encoding import TokenIds, pad_batch, plan_batches, rounded_up

Logits = npt.NDArray[np.float32]
Ask = Callable[[Sequence[TokenIds]], Logits]
LONGEST = 512
MULTIPLE = 32  # lengths that compiled kernels and CUDA graphs are made for


@dataclass(frozen=True, kw_only=True)
class Way:
    """One method to run the model.

    Attributes:
        name: Key in the JSON.
        title: Name in the table.
        make: Function that loads the method. Its time is not measured.
    """

    name: str
    title: str
    make: Callable[[], Ask]


def session(
    file: Path,
    device: str,
    *,
    threads: int = 1,
    profile: Path | None = None,
    **provider: Any,
) -> Any:
    """Open an ONNX Runtime session on `cuda` or `cpu`. A session for CUDA never falls back to the CPU provider.

    Raises:
        RuntimeError: The device is `cuda`, and the session does not have the CUDA provider.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry(RECORD_PLACEMENT, "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    name = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if device == "cuda":
        provider |= {"use_tf32": "0"}
    made = onnxruntime.InferenceSession(str(file), options, providers=[(name, provider)])
    if made.get_providers()[0] != name:
        raise RuntimeError(f"{name} was asked for and ONNX Runtime took {made.get_providers()[0]}")
    return made


def onnx_way(file: Path, device: str, *, max_tokens: int, threads: int = 1, multiple: int = 1, **provider: Any) -> Ask:
    """Run a graph on batches of similar lengths, with at most `max_tokens` tokens per batch including padding."""
    made = session(file, device, threads=threads, **provider)

    def ask(token_ids: Sequence[TokenIds]) -> Logits:
        found: list[tuple[TokenIds, Logits]] = []
        lengths = rounded_up([len(ids) for ids in token_ids], multiple=multiple, most=LONGEST)
        for rows in plan_batches(lengths, max_tokens=max_tokens):
            batch = pad_batch(token_ids, rows, seq_len=lengths[rows[0]])
            feed = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            found.append((rows, made.run(None, _typed(made, feed))[0]))
        return _in_order(found, len(token_ids))

    return ask


def bound_way(file: Path, device: str, *, max_tokens: int) -> Ask:
    """Run a graph as `onnx_way` does, but keep inputs and outputs on the card (IO binding) until the end."""
    made = session(file, device)
    on = torch.device(device)
    dtype = torch.int32 if made.get_inputs()[0].type == "tensor(int32)" else torch.int64
    labels = made.get_outputs()[0].shape[1]

    def ask(token_ids: Sequence[TokenIds]) -> Logits:
        rows_of, answers, kept = [], [], []
        for rows in plan_batches([len(ids) for ids in token_ids], max_tokens=max_tokens):
            batch = pad_batch(token_ids, rows)
            ids = torch.from_numpy(batch.input_ids).to(on, dtype, non_blocking=True)
            mask = torch.from_numpy(batch.attention_mask).to(on, dtype, non_blocking=True)
            logits = torch.empty((len(rows), labels), dtype=torch.float32, device=on)
            if device == "cuda":
                torch.cuda.synchronize()
            _run_bound(made, device, ids, mask, logits)
            rows_of.append(rows)
            answers.append(logits)
            kept.append((ids, mask))
        return _in_order(list(zip(rows_of, (answer.cpu().numpy() for answer in answers), strict=True)), len(token_ids))

    return ask


def cuda_graph_way(file: Path, *, length: int, papers: int) -> Ask:
    """Replay one captured CUDA graph on batches of a fixed shape: `papers` papers, padded to `length` tokens.

    Only papers of up to `length` tokens are labelled. A replay saves only the launches of kernels.
    """
    made = session(file, "cuda", enable_cuda_graph="1")
    dtype = torch.int32 if made.get_inputs()[0].type == "tensor(int32)" else torch.int64
    labels = made.get_outputs()[0].shape[1]
    ids = torch.zeros((papers, length), dtype=dtype, device="cuda")
    mask = torch.ones_like(ids)
    logits = torch.empty((papers, labels), dtype=torch.float32, device="cuda")

    def ask(token_ids: Sequence[TokenIds]) -> Logits:
        found: list[tuple[TokenIds, Logits]] = []
        for start in range(0, len(token_ids), papers):
            rows = np.arange(start, min(start + papers, len(token_ids)))
            padded = np.zeros((2, papers, length), dtype=np.int64)
            padded[1, :, 0] = 1
            for place, row in enumerate(rows):
                padded[0, place, : len(token_ids[row])] = token_ids[row]
                padded[1, place, : len(token_ids[row])] = 1
            ids.copy_(torch.from_numpy(padded[0]))
            mask.copy_(torch.from_numpy(padded[1]))
            torch.cuda.synchronize()
            _run_bound(made, "cuda", ids, mask, logits)
            found.append((rows, logits[: len(rows)].cpu().numpy()))
        return _in_order(found, len(token_ids))

    return ask


def torch_way(model: TorchBert, device: str, *, dtype: torch.dtype, max_tokens: int, multiple: int = 1) -> Ask:
    """Run the Torch model on batches of similar lengths, padded to a multiple. Results are copied at the end."""
    import copy

    bert = copy.deepcopy(model).to(device=device, dtype=dtype)
    return _torch_ask(bert, device, max_tokens=max_tokens, multiple=multiple)


def compiled_way(model: TorchBert, device: str, *, dtype: torch.dtype, max_tokens: int) -> Ask:
    """Run the Torch model as `torch_way` does, compiled by `torch.compile` with dynamic shapes."""
    import copy

    bert = copy.deepcopy(model).to(device=device, dtype=dtype)
    return _torch_ask(torch.compile(bert, dynamic=True), device, max_tokens=max_tokens, multiple=MULTIPLE)


def _torch_ask(bert: Any, device: str, *, max_tokens: int, multiple: int) -> Ask:
    def ask(token_ids: Sequence[TokenIds]) -> Logits:
        rows_of, answers = [], []
        with torch.inference_mode():
            for rows in plan_batches([len(ids) for ids in token_ids], max_tokens=max_tokens):
                batch = pad_batch(token_ids, rows)
                ids, mask = (_padded(array, multiple).to(device) for array in (batch.input_ids, batch.attention_mask))
                answers.append(bert(ids, mask))
                rows_of.append(rows)
            logits = [answer.float().cpu().numpy() for answer in answers]
        return _in_order(list(zip(rows_of, logits, strict=True)), len(token_ids))

    return ask


def seconds(ask: Ask, token_ids: Sequence[TokenIds]) -> tuple[float, Logits]:
    """Return the seconds that a method takes for papers, and its logits."""
    began = time.perf_counter()
    logits = ask(token_ids)
    return time.perf_counter() - began, logits


def nodes_off_card(file: Path, work: Path, token_ids: Sequence[TokenIds]) -> dict[str, int]:
    """Return the operators of a graph that ran on the CPU provider, with counts, from ONNX Runtime's own profile."""
    import json
    from collections import Counter

    made = session(file, "cuda", profile=work / "profile")
    batch = pad_batch(token_ids, np.arange(len(token_ids)))
    made.run(None, _typed(made, {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}))
    events = json.loads(Path(made.end_profiling()).read_text())
    ran = {
        (event["name"], event["args"]["op_name"]): event["args"].get("provider")
        for event in events
        if event.get("cat") == "Node" and "provider" in event.get("args", {})
    }
    return dict(Counter(op for (_, op), provider in ran.items() if provider == "CPUExecutionProvider"))


def operators(file: Path) -> dict[str, int]:
    """Return the number of each operator in a graph."""
    from collections import Counter

    return dict(Counter(node.op_type for node in onnx.load(file, load_external_data=False).graph.node))


def _run_bound(made: Any, device: str, ids: torch.Tensor, mask: torch.Tensor, logits: torch.Tensor) -> None:
    binding = made.io_binding()
    kind = np.int32 if ids.dtype == torch.int32 else np.int64
    binding.bind_input("input_ids", device, 0, kind, tuple(ids.shape), ids.data_ptr())
    binding.bind_input("attention_mask", device, 0, kind, tuple(mask.shape), mask.data_ptr())
    binding.bind_output("logits", device, 0, np.float32, tuple(logits.shape), logits.data_ptr())
    made.run_with_iobinding(binding)


def _typed(made: Any, feed: dict[str, TokenIds]) -> dict[str, Any]:
    types = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
    return {node.name: feed[node.name].astype(types[node.type], copy=False) for node in made.get_inputs()}


def _padded(array: TokenIds, multiple: int) -> torch.Tensor:
    extra = -array.shape[1] % multiple
    return torch.from_numpy(np.pad(array, ((0, 0), (0, extra))))


def _in_order(found: Sequence[tuple[TokenIds, Logits]], n: int) -> Logits:
    logits = np.zeros((n, found[0][1].shape[1]), dtype=np.float32)
    for rows, values in found:
        logits[rows] = values
    return logits
