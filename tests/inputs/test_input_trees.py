"""Random folders with links, loops, closed folders and odd names: an independent walk finds each entry in one class."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.display import stored_name
from specter_batch.errors import PaperSchemaError
from specter_batch.inputs import InputInventory, parquet_inventory

NOBODY = 54321
NAMES = (
    "a.parquet", "b.PQ", "c", "d.csv", "e.txt", "_h", "_k=1", ".x", "caf\udce9.parquet", "f.parquet.gz", "s p", "m[1]",
    "lost+found", "manifest.json", "new\nline.parquet", "back\\slash", "z.parquet.tmp", "label=%20", "metadata",
)  # fmt: skip
KINDS = (
    "folder",
    "folder",
    "parquet",
    "parquet",
    "text",
    "link",
    "link",
    "dangling",
    "pipe",
    "closed folder",
    "closed",
)
Step = tuple[str, int, str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 50), st.sampled_from(NAMES), st.integers(0, 50)), max_size=25
)


@pytest.fixture(scope="module", autouse=True)
def without_roots_powers() -> Iterator[None]:
    """Let permissions count for root too."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@contextmanager
def tree_of(steps: list[Step]) -> Iterator[Path]:
    """Make a folder `in`, and one beside it that only links lead to."""
    top = Path(tempfile.mkdtemp())
    places = [top / "in", top / "out"]
    for place in places:
        place.mkdir()
    folders, closed = list(places), list[Path]()
    for kind, number, name, other in steps:
        path = folders[number % len(folders)] / name
        with suppress(FileExistsError):
            if kind in ("folder", "closed folder"):
                path.mkdir()
                folders.append(path)
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "dangling":
                path.symlink_to(top / "nowhere")
            elif kind == "link":
                path.symlink_to(places[other % len(places)])
            else:
                with path.open("xb") as file:
                    file.write(b"text" if kind == "text" else b"PAR1 of a file")
            places.append(path)
            if kind.startswith("closed"):
                closed.append(path)
    for path in reversed(closed):
        path.chmod(0)
    try:
        yield top / "in"
    finally:
        for path in closed:
            path.chmod(0o700)
        shutil.rmtree(top)


def inventory_of(root: Path) -> InputInventory:
    try:
        return parquet_inventory(root)
    except PaperSchemaError:
        (root / "only.parquet").touch()
        return parquet_inventory(root)


def listed(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def count_classes(inventory: InputInventory, root: Path, parts: tuple[str, ...], seen: set[str]) -> None:
    """Walk what the inventory says it has walked, and check that each entry is in one class."""
    read = {file.name for file in inventory.files}
    for entry in listed(root.joinpath(*parts)):
        path = root.joinpath(*parts, entry)
        name = stored_name("/".join((*parts, entry)))
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError:
            is_folder = False
        shown = name + "/" if is_folder else name
        classes = [shown in read, shown in inventory.ignored, shown in inventory.failed]
        seen.add(shown)
        if is_folder and not any(classes):
            count_classes(inventory, root, (*parts, entry), seen)
        else:
            assert sum(classes) == 1, (shown, classes)


def hidden(name: str) -> bool:
    return name[0] == "." or (name[0] == "_" and "=" not in name) or name == "lost+found"


def parquet_below(root: Path) -> set[str]:
    """Return the real paths of the parquet files that a reader should find, by a walk of its own over real folders."""
    top = os.path.realpath(root)
    queue, entered, found = [top], set[str](), set[str]()
    while queue:
        folder = queue.pop()
        if folder in entered or not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
            continue
        entered.add(folder)
        for name in listed(Path(folder)):
            real = os.path.realpath(f"{folder}/{name}")
            around = any(inner == real or inner.startswith(real + "/") for inner in (folder, top))
            if hidden(name) or around:
                continue
            with suppress(PermissionError):  # of a link into a closed folder
                if Path(real).is_dir():
                    queue.append(real)
                elif Path(real).is_file() and is_data(name, real):
                    found.add(real)
    return found


def is_data(name: str, real: str) -> bool:
    if name.lower().endswith((".parquet", ".pq")):
        return True
    if name in ("manifest.json", "z.parquet.tmp") or not os.access(real, os.R_OK, effective_ids=True):
        return False
    return Path(real).read_bytes().startswith(b"PAR1")


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_each_entry_is_in_exactly_one_class(steps: list[Step]) -> None:
    with tree_of(steps) as root:
        inventory = inventory_of(root)
        seen: set[str] = set()
        count_classes(inventory, root, (), seen)
        assert {file.name for file in inventory.files} | set(inventory.ignored) | set(inventory.failed) <= seen
        names = [file.name for file in inventory.files]
        assert len(set(names)) == len(names)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_all_parquet_that_can_be_reached_is_read_once(steps: list[Step]) -> None:
    with tree_of(steps) as root:
        inventory = inventory_of(root)
        real = [os.path.realpath(str(file.path)) for file in inventory.files]
        assert len(set(real)) == len(real)
        assert set(real) == parquet_below(root)


@settings(max_examples=50, deadline=None)
@given(STEPS)
def test_a_glob_of_everything_takes_the_same_files(steps: list[Step]) -> None:
    with tree_of(steps) as root:
        inventory = inventory_of(root)
        assert parquet_inventory(f"{root}/**") == inventory
