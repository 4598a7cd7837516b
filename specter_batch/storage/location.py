"""Locations of files: a local path, or a URL of any store that fsspec supports.

A `UrlPath` has the method names of `pathlib.Path`, so most code works with either. Object stores have no rename. Files
are therefore uploaded in one step (`specter_batch.storage.files.written_whole`).
"""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator, PlainSerializer, PlainValidator

from specter_batch.display import has_credentials, is_url, storable, without_credentials
from specter_batch.errors import ConfigError
from specter_batch.storage.url_path import URL, WILDCARD, UrlPath

if TYPE_CHECKING:
    from typing_extensions import TypeIs

# Protocol -> the extra of specter-batch to install if the protocol's package is missing.
EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "hf": "hf",
}  # fmt: skip
# Number of requests at once. A store answers after tens of milliseconds, however many requests are under way.
PARALLEL = 16

_BLANK_OR_QUOTE = re.compile(r"[\s'\"]")

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Location = Path | UrlPath
Place = TypeVar("Place", str, Path, UrlPath, Location)


def name_meant(place: Location) -> str:
    """Return a question that suggests an existing path for one that does not exist, or an empty text.

    Only local paths are compared: listing a store may take long. For a path that exists nothing is suggested.
    """
    if is_remote(place) or Path(place).exists():
        return ""
    missing = Path(place)
    while not missing.parent.exists():
        missing = missing.parent
    try:
        names = names_in(missing.parent)
    except OSError:
        return ""
    close = difflib.get_close_matches(missing.name, sorted(names - {missing.name}), n=1, cutoff=0.7)
    if not close:
        return ""
    meant = missing.parent / close[0] / Path(place).relative_to(missing)
    return f"; did you mean {storable(str(meant))}?" if meant.exists() else ""


def located(place: str | Path | UrlPath) -> Location:
    """Return a place as a local path, or as a `UrlPath` if it is a URL; `file://` is local.

    Raises:
        ConfigError: The protocol is unknown, its package is not installed, or the URL is not valid.
    """
    if isinstance(place, Path) and place.parts[:1] in [(f"{scheme}:",) for scheme in EXTRAS]:
        raise ConfigError(
            f"{place}: is not a local path. If it is a URL, give it as text, because a Path object loses a slash"
        )
    if not isinstance(place, str):
        return place
    shown = without_credentials(place)
    if "::" in place and "://" in place:
        raise ConfigError(f"{shown}: chained URLs (a::b) are not supported; give the URL of the store")
    match = URL.fullmatch(place)
    if match is None:
        if is_url(place) or has_credentials(place):
            raise ConfigError(f"{shown}: a URL has two slashes after its colon; write s3://bucket/folder")
        return Path(place)
    scheme, host = match["scheme"].lower(), match["host"]
    has_parameters = scheme.startswith("http") or "=" in match["path"].partition("?")[2]
    if _BLANK_OR_QUOTE.search(host + match["path"] if has_parameters else host):
        # The URL is not shown, because we cannot find out where the credentials in it end.
        raise ConfigError(f"{scheme}://…: a blank or quote in a URL's host or parameters; write %20 for a blank")
    if scheme in ("file", "local"):
        if host not in ("", "localhost"):
            raise ConfigError(f"{shown}: a file URL has no host; write file:///folder/name")
        return Path(unquote(match["path"]))
    _check_protocol(scheme, shown)
    if scheme in EXTRAS and ":" in host:
        raise ConfigError(
            f"{shown}: {scheme} URLs must not contain a user and password; credentials come from the environment, the "
            "store's own configuration files or the machine's role"
        )
    if scheme in EXTRAS and not host:
        expected = ("repository", "owner/name") if scheme == "hf" else ("bucket", "bucket/folder")
        raise ConfigError(f"{shown}: names no {expected[0]}; write {scheme}://{expected[1]}")
    return UrlPath(scheme + (place if scheme.startswith("http") else place.rstrip("/"))[len(scheme) :])


def is_remote(place: object) -> "TypeIs[UrlPath]":
    """Return whether a place is in a store. A store is read with requests and has no folders, links or renames."""
    return isinstance(place, UrlPath)


def real_path(place: Location) -> str:
    """Return the path of a place with links resolved. Two paths are equal only if they are the same file or folder."""
    return str(place) if isinstance(place, UrlPath) else os.path.realpath(place)


def names_above(folder: Location) -> Sequence[str]:
    """Return the names of a folder and of all folders above it."""
    return folder.whole_path.split("/")[2:] if isinstance(folder, UrlPath) else folder.absolute().parts


def folders_above(place: Location) -> Sequence[Location]:
    """Return the folders that a file or folder is in, the nearest first. Links in a local path are resolved."""
    if not isinstance(place, UrlPath):
        folder = Path(os.path.realpath(place.parent))
        return (folder, *folder.parents)
    found, folder_in_store = [], place.parent
    while folder_in_store.whole_path.count("/") >= 2 and not folder_in_store.whole_path.endswith("/"):
        found.append(folder_in_store)
        folder_in_store = folder_in_store.parent
    return found


def parted_at_wildcard(place: Location) -> tuple[Location, Sequence[str]]:
    """Return the folder before the first part with a wildcard, and the parts from there on."""
    if isinstance(place, UrlPath):
        return place.parted_at_wildcard()
    names = place.parts
    first = next((number for number, part in enumerate(names) if WILDCARD.search(part)), len(names))
    return Path(*names[:first]), names[first:]


def size_of(place: Location) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
    if isinstance(place, UrlPath):
        return place.size()
    return place.stat().st_size if place.exists() else 0


def absolute(place: Place) -> Place:
    """Return the absolute path of a place; a URL is returned unchanged."""
    if isinstance(place, UrlPath):
        return place
    return str(Path(place).absolute()) if isinstance(place, str) else place.absolute()


def local_copy(place: Location, copy: Path) -> Path:
    """Return a local file with the content of a place: the file itself, or a copy fetched from a store.

    Args:
        place: The file to read.
        copy: The local path of the copy, if a copy is needed.
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


# Types for settings. Their values are safe to show and are stored without credentials.
PathOrUrl = Annotated[Location, PlainValidator(_location), PlainSerializer(_stored, return_type=str, when_used="json")]
# A path on a local disk; a URL is an error.
LocalPath = Annotated[Path, AfterValidator(located)]
# A path, a URL or a glob; a glob stays as the user wrote it.
PathTextOrUrl = Annotated[
    str | UrlPath, PlainValidator(_text_or_url), PlainSerializer(_stored, return_type=str, when_used="json")
]


def names_in(folder: Location) -> set[str]:
    """Return the names of the files and folders in a folder; empty if there is no folder."""
    if isinstance(folder, UrlPath):
        return folder.names()
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def sizes_in(folder: Location) -> dict[str, int]:
    """Return the size in bytes of each file directly in a folder, by name; one request per 1,000 files in a store."""
    if isinstance(folder, UrlPath):
        return folder.below(recursive=False)
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def in_parallel(task: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
    """Yield the result of the task for each item, in order. Several run at once, because a store is slow to answer."""
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="store")
    try:
        yield from pool.map(task, items)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error the other items are not needed


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
