"""Compare ways to reach an object store, side by side on a server of this machine: ours, universal-pathlib and obstore.

Usage: python benchmarks/object_stores.py [--objects 10000] [--rounds 5]

The server is moto's, which answers within milliseconds, so the figures are the cost of the clients and of the requests
that they make, not of a network. A package that is not installed is left out (`pip install universal-pathlib obstore`).
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring.machine import load

from specter_batch.storage.url_path import UrlPath

BUCKET = "bench"
SERVER = """
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
input()
"""
PACKAGES = {"ours": "s3fs", "universal-pathlib": "upath", "obstore": "obstore"}
PAPERS, GROUP = 100_000, 10_000
Action = Callable[[], Any]


@contextmanager
def server() -> Iterator[None]:
    """Run moto with a bucket, and let every client of this process know it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", SERVER], **pipes) as process:
        try:
            lines = process.stdout or ()
            port = next(line.split()[1].decode() for line in lines if line.startswith(b"port "))
            endpoint = f"http://127.0.0.1:{port}"
            environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_DEFAULT_REGION": "us-east-1"}
            os.environ |= environment | {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
            request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")  # noqa: S310 - our own server
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
            yield
        finally:
            process.kill()


def ours() -> dict[str, Action]:
    """Return the measured actions, done with `UrlPath` over fsspec."""
    bucket = UrlPath(f"s3://{BUCKET}")
    small = bucket / "small"
    return {
        "list": lambda: len((bucket / "many").below(recursive=True)),
        "put and get": lambda: _put_and_get(small.put_new, small.read_bytes, small.unlink),
        "parquet": lambda: _read_parquet((bucket / "papers.parquet").open()),
    }


def universal_pathlib() -> dict[str, Action]:
    """Return the measured actions, done with `UPath`, which also uses fsspec."""
    from upath import UPath

    bucket = UPath(f"s3://{BUCKET}")
    small = bucket / "small"

    def listed() -> int:
        bucket.fs.invalidate_cache()  # otherwise it would answer from memory and miss what other processes wrote
        return sum(1 for _ in (bucket / "many").iterdir())

    return {
        "list": listed,
        "put and get": lambda: _put_and_get(small.write_bytes, small.read_bytes, small.unlink),
        "parquet": lambda: _read_parquet((bucket / "papers.parquet").open("rb")),
    }


def object_store() -> dict[str, Action]:
    """Return the measured actions, done with obstore, which is Rust's `object_store`."""
    import obstore
    from obstore.fsspec import FsspecStore
    from obstore.store import from_url

    store = from_url(f"s3://{BUCKET}", client_options={"allow_http": True})
    files = FsspecStore("s3", client_options={"allow_http": True})
    return {
        "list": lambda: sum(len(batch) for batch in obstore.list(store, "many", chunk_size=1000)),
        "put and get": lambda: _put_and_get(
            lambda content: obstore.put(store, "small", content, mode="create"),
            lambda: obstore.get(store, "small").bytes(),
            lambda: obstore.delete(store, "small"),
        ),
        "parquet": lambda: _read_parquet(files.open(f"{BUCKET}/papers.parquet")),
    }


def _put_and_get(put: Callable[[bytes], Any], get: Action, remove: Action) -> int:
    """Put a small object, get it and remove it, a hundred times, as the store's lock and ledger do."""
    for _ in range(100):
        put(b"x" * 500)
        get()
        remove()
    return 100


def _read_parquet(file: Any) -> int:
    """Read ids and titles of every second row group."""
    with file, pq.ParquetFile(file) as parquet:
        groups = range(0, parquet.num_row_groups, 2)
        return sum(len(parquet.read_row_group(group, columns=["paper_id", "title"])) for group in groups)


def _fill(n_objects: int) -> None:
    """Put the objects that are listed, and the parquet file."""
    from s3fs import S3FileSystem

    files = S3FileSystem(asynchronous=False)
    names = [f"{BUCKET}/many/part-{number:06d}.parquet" for number in range(n_objects)]
    for start in range(0, n_objects, 500):
        files.pipe(dict.fromkeys(names[start : start + 500], b"x"))
    rng = np.random.default_rng(0)
    ids = [f"p{number}" for number in range(PAPERS)]
    texts = {"paper_id": ids, "title": [f"Title {name}" for name in ids]}
    table = pa.table(texts | {"abstract": [rng.bytes(300).hex() for _ in ids]})
    content = io.BytesIO()
    pq.write_table(table, content, row_group_size=GROUP)
    files.pipe_file(f"{BUCKET}/papers.parquet", content.getvalue())


def _import_seconds(package: str) -> float:
    code = f"import time; began = time.perf_counter(); import {package}; print(time.perf_counter() - began)"
    asked = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(asked.stdout)


def main() -> None:
    """Run the rounds, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    makers = {"ours": ours, "universal-pathlib": universal_pathlib, "obstore": object_store}
    with server():
        _fill(asked.objects)
        clients = {name: make() for name, make in makers.items() if find_spec(PACKAGES[name])}
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(asked.rounds):
            for name, actions in clients.items():
                for what, action in actions.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    action()
                    spent = (time.perf_counter() - wall, time.process_time() - cpu)
                    times.setdefault((what, name), []).append(spent)
        imports = {name: [_import_seconds(PACKAGES[name]) for _ in range(asked.rounds)] for name in clients}
    print(f"load {load()}\n\n| what | client | seconds | CPU seconds | × ours (CPU) |\n|---|---|---:|---:|---:|")
    for what in ("list", "put and get", "parquet"):
        for name in clients:
            seconds, cpu = (statistics.median(turn[i] for turn in times[what, name]) for i in (0, 1))
            pairs = zip(times[what, "ours"], times[what, name], strict=True)
            ratio = statistics.median(mine[1] / theirs[1] for mine, theirs in pairs)
            print(f"| {what} | {name} | {seconds:.2f} | {cpu:.3f} | {ratio:.1f} |")
    for name, found in imports.items():
        print(f"| import {PACKAGES[name]} | {name} | {statistics.median(found):.2f} | | |")


if __name__ == "__main__":
    main()
