"""Compare our reader of giant JSON values with ijson, side by side: speed, peak memory, and damaged files.

Usage: python benchmarks/json_streams.py WORK FILE... [--megabytes 200] [--rounds 5]

Each FILE is JSON, gzip or not: one object of papers by their ids (SciDocs' metadata), or a Crossref file or reply. Its
papers are repeated under new ids until the file has the wanted size. WORK is the folder for these files. The readers
take turns, each in a process of its own. ijson is left out if it is not installed (`pip install ijson`).
"""

import argparse
import gzip
import io
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from measuring.machine import load
from measuring.processes import own_peak_mb, run_measured

from specter_batch.storage.json_stream import JsonScanner

Read = Callable[[BinaryIO], Iterator[Any]]


def ours_object(stream: BinaryIO) -> Iterator[Any]:
    """Yield the papers of an object."""
    scanner = JsonScanner(stream)
    return (scanner.value() for _ in scanner.members())


def ours_items(stream: BinaryIO) -> Iterator[Any]:
    """Yield the papers of a Crossref file."""
    scanner = JsonScanner(stream)
    for key in scanner.members():
        if key == "items":
            yield from scanner.items()
        else:
            scanner.value()


def ijson_object(stream: BinaryIO) -> Iterator[Any]:
    """Yield the papers of an object."""
    import ijson

    return (value for _, value in ijson.kvitems(stream, "", use_float=True))


def ijson_items(stream: BinaryIO) -> Iterator[Any]:
    """Yield the papers of a Crossref file."""
    import ijson

    yield from ijson.items(stream, "items.item", use_float=True)


def json_object(stream: BinaryIO) -> Iterator[Any]:
    """Yield the papers of an object that was read whole."""
    yield from json.load(stream).values()


def json_items(stream: BinaryIO) -> Iterator[Any]:
    """Yield the papers of a Crossref file that was read whole."""
    yield from json.load(stream)["items"]


READERS: dict[str, dict[str, Read]] = {
    "ours": {"object": ours_object, "items": ours_items},
    "ijson": {"object": ijson_object, "items": ijson_items},
    "json.load": {"object": json_object, "items": json_items},
}
STREAMING = ("ours", "ijson")
# Most memory for a reader of a damaged file of a few hundred kilobytes.
MEMORY_BYTES = 2 << 30

PAPER = b'{"title": "a"}'
# Ten thousand small papers surround each damaged one, so that a reader meets it far from the beginning.
DAMAGES = {
    "a number of 5,000 digits": b'{"title": "a", "n": ' + b"9" * 5000 + b"}",
    "a byte that is not UTF-8": b'{"title": "a\xff"}',
    "half a surrogate pair": b'{"title": "a\\ud800"}',
    "a raw tab in a text": b'{"title": "a\tb"}',
    "NaN": b'{"title": "a", "n": NaN}',
    "a repeated key": b'{"title": "a", "title": "b"}',
    "100,000 nested lists": b'{"title": "a", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a missing comma": b'{"title": "a" "n": 1}',
    "a file that breaks off": b'{"title": "a',
}


def main() -> None:
    """Run the rounds, and print the tables."""
    if sys.argv[1:2] == ["--one"]:
        _read_one(*sys.argv[2:5])
        return
    if sys.argv[1:2] == ["--damaged"]:
        _read_damaged(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    readers = [reader for reader in READERS if reader != "ijson" or find_spec("ijson")]
    print("| file | reader | MB/s | MB per CPU second | × ours | peak MB |\n|---|---|---:|---:|---:|---:|")
    for file in asked.files:
        grown = asked.work / f"{file.stem}-grown.json"
        kind = _grow(file, grown, round(asked.megabytes * 1e6))
        _race(grown, kind, readers, rounds=asked.rounds)
    streaming = [reader for reader in STREAMING if reader in readers]
    print(f"\nload {load()}\n\n| damage | {' | '.join(streaming)} |\n|---|{'---|' * len(streaming)}")
    for name in DAMAGES:
        outcomes = [_run("--damaged", reader, name) for reader in streaming]
        print(f"| {name} | {' | '.join(outcomes)} |", flush=True)


def _run(*words: str) -> str:
    """Run this script in a process of its own, and return the last line that it prints."""
    finished = run_measured([sys.executable, __file__, *words], device="cpu")
    if finished.exit_code:
        raise SystemExit(f"{' '.join(words)}: {finished.last_line}")
    return finished.last_line


def _race(file: Path, kind: str, readers: Sequence[str], *, rounds: int) -> None:
    turns: dict[str, list[dict[str, float]]] = {reader: [] for reader in readers}
    for _ in range(rounds):
        for reader in readers:
            turns[reader].append(json.loads(_run("--one", reader, kind, str(file))))
    size = file.stat().st_size / 1e6
    for reader, found in turns.items():
        seconds, cpu, peak = (statistics.median(turn[name] for turn in found) for name in ("seconds", "cpu", "peak"))
        ratio = statistics.median(ours["cpu"] / turn["cpu"] for ours, turn in zip(turns["ours"], found, strict=True))
        name = f"{file.name} ({size:.0f} MB, {found[0]['papers']:,.0f} papers)"
        speed = f"{size / seconds:.0f} | {size / cpu:.0f} | {ratio:.2f}"
        print(f"| {name} | {reader} | {speed} | {peak:.0f} |", flush=True)


def _read_one(reader: str, kind: str, file: str) -> None:
    """Read a file once, and print time and memory as JSON."""
    if reader == "ijson":
        import ijson  # noqa: F401 - so that the import is not measured
    wall, cpu, papers = time.perf_counter(), time.process_time(), 0
    with Path(file).open("rb") as stream:
        for _ in READERS[reader][kind](stream):
            papers += 1
    spent = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(spent | {"papers": papers, "peak": own_peak_mb()}))


def _grow(file: Path, out: Path, size: int) -> str:
    """Write a file's papers again and again until it has a size; return `object` or `items`."""
    data = file.read_bytes()
    whole = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    whole = whole.get("message", whole)
    items = whole.get("items")
    papers = [json.dumps(paper, ensure_ascii=False) for paper in (items or whole.values())]
    mark = "[" if items else "{"
    with out.open("w", encoding="utf-8") as stream:
        stream.write('{"items": [' if items else "{")
        number = 0
        while stream.tell() < size:
            for paper in papers:
                stream.write("" if number == 0 else ", ")
                stream.write(paper if mark == "[" else f'"{number:040x}": {paper}')
                number += 1
        stream.write("]}" if items else "}")
    return "items" if items else "object"


def _read_damaged(reader: str, damage: str) -> None:
    """Print how many of 20,001 papers a reader finds in a damaged file, and how it reads the damaged one."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    before = b"".join(b'"a%d": %b, ' % (number, PAPER) for number in range(10_000))
    after = b"".join(b', "b%d": %b' % (number, PAPER) for number in range(10_000)) + b"}"
    data = b"{" + before + b'"damaged": ' + DAMAGES[damage] + (b"" if "breaks off" in damage else after)
    papers, found = 0, ""
    try:
        for value in READERS[reader]["object"](io.BytesIO(data)):
            papers += 1
            if papers == 10_001:
                found = repr(value)
    except Exception as error:
        message = " ".join(str(error).split())
        print(f"{papers:,} papers, then {type(error).__name__}: {message[:90]}")
        return
    print(f"{papers:,} papers, the damaged one as {found[:60]}{'…' if len(found) > 60 else ''}")


if __name__ == "__main__":
    main()
