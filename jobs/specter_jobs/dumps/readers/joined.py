"""A dump whose papers are put together from several files: Semantic Scholar's `papers` and `abstracts`."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from specter_batch.errors import PaperSchemaError
from specter_jobs.dumps.files.inputs import Advance, InputCount, content_of
from specter_jobs.dumps.record_writer import SCRATCH
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions


@contextmanager
def joined_records(
    root: Path, paths: Sequence[Path], out: Path, options: ReadOptions, count: InputCount, advance: Advance
) -> Iterator[Iterator[PaperRecord | MalformedRecord]]:
    """Yield the joined papers; when the block ends well, `count` is complete.

    Raises:
        PaperSchemaError: One of the two kinds of files is not there.
    """
    from specter_jobs.dumps.readers.s2ag import join_s2ag, split_s2ag

    try:
        papers, abstracts = split_s2ag(paths)
    except PaperSchemaError as error:
        raise PaperSchemaError(f"{root}: {error}") from error
    contents = [content_of(path, advance) for path in paths]
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=out))
    try:
        yield join_s2ag(papers, abstracts, scratch, options, count)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    count.content = joined_content(contents)
    count.disk_bytes = sum(path.stat().st_size for path in paths)


def joined_content(contents: Sequence[str]) -> str:
    """Return the hash of all files of a join, by theirs."""
    return hashlib.blake2b(":".join(contents).encode(), digest_size=16).hexdigest()
