"""Where files are: a local path, or a URL of any store that fsspec knows.

A `UrlPath` answers to the names that `pathlib.Path` uses, so most code takes either and does not ask. What is written
there is put whole (`specter_batch.storage.files.written_whole`): object stores have no rename, and need none.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator, PlainSerializer, PlainValidator

from specter_batch.errors import ConfigError
from specter_batch.storage.redaction import has_credentials, is_url, without_credentials
from specter_batch.storage.stored_names import storable
from specter_batch.storage.url_path import URL, WILDCARD, UrlPath

if TYPE_CHECKING:
    from typing_extensions import TypeIs

# What to install for a protocol whose package is missing: our extra, where there is one.
EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "hf": "hf",
}  # fmt: skip
# Requests at once. A store answers after tens of milliseconds, whoever else is asking.
PARALLEL = 16

_BLANK_OR_QUOTE = re.compile(r"[\s'\"]")

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Location = Path | UrlPath
Place = TypeVar("Place", str, Path, UrlPath, Location)


def located(place: str | Path | UrlPath) -> Location:
    """Return a place as a local path, or as a `UrlPath` if it is a URL; `file://` is local.

    Raises:
        ConfigError: The protocol is unknown, its package is not installed, or the URL cannot be one.
    """
    if isinstance(place, Path) and place.parts[:1] in [(f"{scheme}:",) for scheme in EXTRAS]:
        raise ConfigError(f"{place}: a URL is not taken here, or lost a slash as a path; give it as text")
    if not isinstance(place, str):
        return place
    shown = without_credentials(place)
    if "::" in place and "://" in place:
        raise ConfigError(f"{shown}: chained URLs (a::b) are not taken; give the store's own")
    match = URL.fullmatch(place)
    if match is None:
        if is_url(place) or has_credentials(place):
            raise ConfigError(f"{shown}: a URL has two slashes after its colon; write s3://bucket/folder")
        return Path(place)
    scheme, host = match["scheme"].lower(), match["host"]
    has_parameters = scheme.startswith("http") or "=" in match["path"].partition("?")[2]
    if _BLANK_OR_QUOTE.search(host + match["path"] if has_parameters else host):
        # Not shown: where the credentials end cannot be told.
        raise ConfigError(f"{scheme}://…: a blank or quote in a URL's host or parameters; write %20 for a blank")
    if scheme in ("file", "local"):
        if host not in ("", "localhost"):
            raise ConfigError(f"{shown}: a file URL has no host; write file:///folder/name")
        return Path(unquote(match["path"]))
    _check_protocol(scheme, shown)
    if scheme in EXTRAS and ":" in host:
        raise ConfigError(
            f"{shown}: {scheme} takes no user and password in a URL; credentials come from the environment, the "
            "store's own configuration files or the machine's role"
        )
    if scheme in EXTRAS and not host:
        raise ConfigError(f"{shown}: names no bucket; write {scheme}://bucket/folder")
    return UrlPath(scheme + (place if scheme.startswith("http") else place.rstrip("/"))[len(scheme) :])


def is_remote(place: object) -> "TypeIs[UrlPath]":
    """Say whether a place is in a store, so that it is asked for with requests and has no folders, links or renames."""
    return isinstance(place, UrlPath)


def real_path(place: Location) -> str:
    """Return the text of a place without links: equal for equal files and folders only."""
    return str(place) if isinstance(place, UrlPath) else os.path.realpath(place)


def names_above(folder: Location) -> Sequence[str]:
    """Return the names of all folders on the way to a folder, and its own."""
    return folder.whole_path.split("/")[2:] if isinstance(folder, UrlPath) else folder.absolute().parts


def parted_at_wildcard(place: Location) -> tuple[Location, Sequence[str]]:
    """Return the folder before the first part with a wildcard, and the parts from there on."""
    if isinstance(place, UrlPath):
        return place.parted_at_wildcard()
    names = place.parts
    first = next((number for number, part in enumerate(names) if WILDCARD.search(part)), len(names))
    return Path(*names[:first]), names[first:]


def size_of(place: Location) -> int:
    """Return the size of a file in bytes; 0 when there is nothing."""
    if isinstance(place, UrlPath):
        return place.size()
    return place.stat().st_size if place.exists() else 0


def absolute(place: Place) -> Place:
    """Return a place by a path that means the same in every working folder; a URL does already."""
    if isinstance(place, UrlPath):
        return place
    return str(Path(place).absolute()) if isinstance(place, str) else place.absolute()


def local_copy(place: Location, copy: Path) -> Path:
    """Return a local file with the content of a place: the file itself, or a copy fetched from a store.

    Args:
        place: The file.
        copy: Where to put a copy if one is needed.
    """
    if not isinstance(place, UrlPath):
        return place
    place.fetch(copy)
    return copy


def _location(value: object) -> Location:
    if not isinstance(value, (str, Path, UrlPath)):
        raise ValueError(f"expected a path or URL in quotes, got a value of type {type(value).__name__}")  # noqa: TRY004 - pydantic's protocol
    return located(value)


def _text_or_url(value: object) -> str | UrlPath:
    if isinstance(value, str) and "://" not in value and not is_url(value):
        return value
    place = _location(value)
    return place if isinstance(place, UrlPath) else str(place)


def _stored(place: str | Location) -> str:
    return storable(str(place))


# For settings: what they hold can be shown, and is stored without credentials.
PathOrUrl = Annotated[Location, PlainValidator(_location), PlainSerializer(_stored, return_type=str, when_used="json")]
# What must be on a disk; a URL is refused.
LocalPath = Annotated[Path, AfterValidator(located)]
# For a glob too, which stays as it was written.
PathTextOrUrl = Annotated[
    str | UrlPath, PlainValidator(_text_or_url), PlainSerializer(_stored, return_type=str, when_used="json")
]


def names_in(folder: Location) -> set[str]:
    """Return the names of the files and folders in a folder; none when there is no folder."""
    if isinstance(folder, UrlPath):
        return folder.names()
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def sizes_in(folder: Location) -> dict[str, int]:
    """Return the size of each file directly in a folder, by name: one request for a thousand files of a store."""
    if isinstance(folder, UrlPath):
        return folder.below(recursive=False)
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def in_parallel(task: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
    """Yield the task's answer for each item, in order; several at a time, because a store is mostly waited for."""
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="store")
    try:
        yield from pool.map(task, items)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error the others need not be asked


def _check_protocol(protocol: str, shown: str) -> None:
    from fsspec.registry import get_filesystem_class, known_implementations

    try:
        get_filesystem_class(protocol)
    except ValueError:
        usual = ", ".join(name for name in ("s3", "gs", "az", "hf", "https", "file") if name in known_implementations)
        raise ConfigError(f"{shown}: unknown protocol {protocol}; among those known are {usual}") from None
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        needed = f"pip install 'specter-batch[{extra}]'" if extra else without_credentials(str(error))
        raise ConfigError(f"{shown}: the package for {protocol}:// is not installed; it needs {needed}") from None
