"""Find the code blocks in README and docs, and run them."""

import multiprocessing
import os
import re
import shlex
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from textwrap import dedent

from specter_batch.cli import main

ROOT = Path(__file__).parents[2]
README = "README.md"
PAGES = [README, *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
# A block, its language in front.
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", flags=re.DOTALL | re.MULTILINE)
# A block that the reader saves as a script, with the name of its file.
SCRIPT = re.compile(r'^```python title="([^"]+)"\n(.*?)^```', flags=re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """Return language and text of each block; a line that ends in a backslash is joined to the next line."""
    found = BLOCK.findall((ROOT / page).read_text())
    return [(language, dedent(text).replace("\\\n", " ")) for _, language, text in found]


def scripts(page: str) -> dict[str, str]:
    """Return the blocks that the reader saves as files, by the name of the file."""
    return dict(SCRIPT.findall((ROOT / page).read_text()))


def commands(text: str) -> list[str]:
    """Return the lines of a block without comments."""
    return [line.partition(" #")[0].strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def run_ours(line: str) -> None:
    """Run one command as if typed in a shell."""
    sys.argv = shlex.split(line)
    main()


def run_python(text: str) -> None:
    """Run a block of Python, as a script would."""
    exec(text, {"__name__": "__main__"})  # noqa: S102 - our own pages


def run_in_new_process(runs: Callable[[str], None], shown: str, folder: Path) -> tuple[int | None, str]:
    """Run a shown block in a separate process, in a folder; return its exit code and its output."""
    output = folder.with_name(f"{folder.name}.txt")
    process = _processes().Process(target=_run, args=(runs, shown, folder, output))
    process.start()
    process.join()
    return process.exitcode, output.read_text()


@cache
def _processes() -> ForkServerContext:
    """Return a context that starts processes with torch already imported, so that no command waits for the import."""
    context = multiprocessing.get_context("forkserver")
    modules = ["specter_batch.training.fit.trainer", "specter_export.build", "specter_jobs.night.run"]
    context.set_forkserver_preload(modules)
    return context


def _run(runs: Callable[[str], None], shown: str, folder: Path, output: Path) -> None:
    """Run in this process, which has nothing else to do."""
    with output.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(folder)
    runs(shown)
