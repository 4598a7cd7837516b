"""A process that runs commands of specter-batch with the real client of the Hugging Face hub."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# The client reads its variables when it is imported, so commands run in a process that was started with them.
_COMMANDS = """
import contextlib, io, json, os, sys
import huggingface_hub
from specter_batch.cli import main
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.pop("HF_TOKEN", None)
    os.environ.update(asked["environment"])
    out, error, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main(asked["arguments"])
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps({"code": code, "out": out.getvalue(), "error": error.getvalue()}), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    error: str


@dataclass(kw_only=True)
class HubClient:
    """A process that runs commands of specter-batch with the real client of the hub.

    Attributes:
        process: The process.
        home: Folder of the hub's cache.
    """

    process: "subprocess.Popen[str]"
    home: Path

    def run(self, *arguments: str | Path, token: str | None = None) -> Done:
        """Run a command."""
        asked = {"arguments": list(map(str, arguments)), "environment": {"HF_TOKEN": token} if token else {}}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Done(**json.loads(self.process.stdout.readline()))


@contextmanager
def running_hub_client(environment: dict[str, str]) -> Iterator[HubClient]:
    """Run a process for commands, with these variables."""
    with subprocess.Popen(
        [sys.executable, "-c", _COMMANDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        yield HubClient(process=process, home=Path(environment["HF_HOME"]))
        assert process.stdin is not None
        process.stdin.close()
