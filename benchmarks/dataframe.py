"""Measure what `Classifier.predict` costs compared with its model alone, and how much memory a long stream takes.

Usage: python benchmarks/dataframe.py BUNDLE PAPERS [--papers N] [--rounds N] [--stream ROWS]

The papers are cut into one block for each round. In a round, each way labels the same block, and the order of the ways
changes from round to round. The ways are:

- `session`: the model's session on token ids that are ready.
- `tokenizer and session`: the same from texts that are ready.
- `predict, any language`: `Classifier.predict` on a pandas DataFrame, without language detection.
- `predict`: the same with language detection, as by default.

With `--stream`, the script also labels a stream of that many short generated papers, and prints the peak memory of the
process after each tenth.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from measuring.bench_papers import read_usable
from measuring.command_line import at_least, run_benchmark
from measuring.machine import hardware, load, machine
from measuring.processes import own_peak_mb

from specter_batch import Classifier
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.papers.text import paper_texts

WARM_UP = 32
SESSION, WITH_TOKENIZER, ANY_LANGUAGE, PREDICT = (
    "session", "tokenizer and session", "predict, any language", "predict",
)  # fmt: skip
BASES = (SESSION, WITH_TOKENIZER)
STREAM_BATCH = 10_000
RESAMPLES = 2000


class Cost(NamedTuple):
    """Seconds on the clock and seconds of CPU time for one block."""

    wall: float
    cpu: float


def costs(bundle: str, papers: pa.Table, *, rounds: int, threads: int | None) -> dict[str, list[Cost]]:
    """Return what each way costs in each round."""
    with (
        Classifier.load(bundle, device="cpu", threads=threads) as english,
        Classifier.load(bundle, device="cpu", threads=threads, language="any") as any_language,
    ):
        model = OnnxClassifier(english.bundle, device=Device(kind="cpu"), threads=threads)
        encoder, template = english.bundle.text_encoder(), english.bundle.text_template
        size = papers.num_rows // rounds
        found: dict[str, list[Cost]] = {name: [] for name in (SESSION, WITH_TOKENIZER, ANY_LANGUAGE, PREDICT)}
        for number in range(-1, rounds):
            block = papers.slice(max(number, 0) * size, WARM_UP if number < 0 else size)
            frame = block.select(["paper_id", "title", "abstract"]).to_pandas()
            texts = list(paper_texts(block, template))
            token_ids = encoder.encode(texts)
            ways: dict[str, Callable[[], object]] = {
                SESSION: lambda ids=token_ids: model.predict(ids),
                WITH_TOKENIZER: lambda texts=texts: model.predict(encoder.encode(texts)),
                ANY_LANGUAGE: lambda frame=frame: any_language.predict(frame, progress=False),
                PREDICT: lambda frame=frame: english.predict(frame, progress=False),
            }
            names = list(ways)
            for name in names[number % 4 :] + names[: number % 4]:
                cost = timed(ways[name])
                if number >= 0:
                    found[name].append(cost)
        model.close()
    return found


def timed(run: Callable[[], object]) -> Cost:
    """Return what a call costs."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Cost(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def table(found: dict[str, list[Cost]], papers: int) -> Iterator[str]:
    """Yield a table in Markdown: speed, and the cost against the model alone, with an interval."""
    yield "| way | papers/s | CPU ms a paper | " + " | ".join(f"CPU time against {base}" for base in BASES) + " |"
    yield "|---|---:|---:|" + "---:|" * len(BASES)
    for name, rounds in found.items():
        wall, cpu = (sum(one[part] for one in rounds) for part in (0, 1))
        cells = " | ".join(more(rounds, found[base]) for base in BASES)
        yield f"| {name} | {papers / wall:,.0f} | {1000 * cpu / papers:.2f} | {cells} |"


def more(ours: list[Cost], theirs: list[Cost]) -> str:
    """Return how much more CPU time one way takes, with the 95 % interval of a bootstrap over the rounds."""
    cpu = np.array([[one.cpu, other.cpu] for one, other in zip(ours, theirs, strict=True)])
    drawn = np.random.default_rng(0).integers(0, len(cpu), size=(RESAMPLES, len(cpu)))
    sums = cpu[drawn].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1] - 1, [2.5, 97.5])
    ratio = cpu[:, 0].sum() / cpu[:, 1].sum() - 1
    return f"{ratio:+.1%} ({low:+.1%} to {high:+.1%})"


def generated(rows: int) -> Iterator[pa.RecordBatch]:
    """Yield short papers, each with a text of its own."""
    for start in range(0, rows, STREAM_BATCH):
        numbers = range(start, min(start + STREAM_BATCH, rows))
        yield pa.record_batch(
            {
                "paper_id": [str(number) for number in numbers],
                "title": [f"The outcome of trial {number}" for number in numbers],
                "abstract": ["We report the results of the trial."] * len(numbers),
            }
        )


def stream(bundle: str, rows: int) -> Iterator[str]:
    """Label a stream, and yield lines on memory and time after each tenth."""
    schema = next(generated(1)).schema
    with Classifier.load(bundle, device="cpu", language="any") as classifier:
        began, done, tenth = time.perf_counter(), 0, 1
        reader = pa.RecordBatchReader.from_batches(schema, generated(rows))
        for batch in classifier.predict(reader, top_k=3, progress=False):
            done += batch.num_rows
            if done >= tenth * rows / 10:
                yield f"{done:,} rows: peak {own_peak_mb():,.0f} MB, {time.perf_counter() - began:,.0f} s"
                tenth += 1


def main(arguments: argparse.Namespace) -> None:
    """Print the costs, and the memory of a stream if asked for."""
    if arguments.papers:
        papers = read_usable(arguments.source, most=arguments.papers)
        before = load()
        found = costs(arguments.bundle, papers, rounds=arguments.rounds, threads=arguments.threads)
        print(f"{arguments.papers:,} papers on {hardware(machine('cpu'))}, load {before} to {load()}\n")
        print("\n".join(table(found, arguments.papers // arguments.rounds * arguments.rounds)))
    if arguments.stream:
        for line in stream(arguments.bundle, arguments.stream):
            print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("source", metavar="PAPERS")
    parser.add_argument("--papers", type=at_least(0), default=10_000, help="papers to label; 0 for none")
    parser.add_argument("--rounds", type=at_least(1), default=20, help="turns of each way")
    parser.add_argument("--threads", type=at_least(1), help="papers at once; the usable cores when not given")
    parser.add_argument(
        "--stream", type=at_least(0), default=0, metavar="ROWS", help="length of the stream; 0 for none"
    )
    run_benchmark(main, parser)
