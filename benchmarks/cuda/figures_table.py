"""The figures of `measure.py` as a Markdown table."""

import statistics
from collections.abc import Sequence
from typing import Any

from ways import Way

PEER = "torch_fp16"
# Dense fp16 with sums in fp32, from the vendor's data sheets, for the SXM parts.
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L4": 121.0, "T4": 65.0}


def table(record: dict[str, Any], found: Sequence[Way]) -> str:
    """Write the figures as a Markdown table."""
    papers, seconds = record["papers"], record.get("seconds", {})
    peak = next((tflops for card, tflops in PEAK_TFLOPS.items() if card in record["machine"].get("card", "")), None)
    peer = seconds.get(PEER)
    lines = [
        f"{record['machine'].get('card', 'CPU')}, {record['layers']} layers, {papers['n']} papers of "
        f"{papers['mean_tokens']:.0f} tokens in the mean.",
        "",
        "| way | papers/s (median) | range | × Torch fp16 SDPA | share of peak | MiB of the card |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for way in found:
        if not seconds.get(way.name):
            lines.append(f"| {way.title} | {record['failed'].get(way.name, 'not run')} | | | | |")
            continue
        taken = seconds[way.name]
        rates = sorted(papers["n"] / spent for spent in taken)
        times = statistics.median(b / a for a, b in zip(taken, peer, strict=False)) if peer else None
        share = papers["flops"] / statistics.median(taken) / 1e12 / peak if peak else None
        mib = record["memory_mib_by_way"].get(way.name)
        lines.append(
            f"| {way.title} | {statistics.median(rates):,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} | "
            f"{'' if times is None else f'{times:.2f}'} | {'' if share is None else f'{share:.0%}'} | "
            f"{f'{mib:,}' if mib else ''} |"
        )
    return "\n".join(lines) + "\n"
