"""Every command of the README runs, as it stands there."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from specter_batch.sample import write_sample

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    used = {line.split()[1] for line in commands() if line.startswith("make ")}
    assert used
    assert used <= targets


def test_every_command_of_the_readme_runs_as_it_stands(tiny_encoder: Path, tmp_path: Path) -> None:
    # What `make demo` leaves behind, with a smaller encoder.
    write_sample(tmp_path / "demo/papers", n_papers=300)
    shutil.copytree(tiny_encoder, tmp_path / "demo/encoder")
    shutil.copytree(ROOT / "jobs/configs", tmp_path / "jobs/configs")
    ours = [line for line in commands() if line.startswith("specter-batch ")]
    assert len(ours) >= 7
    for line in ours:
        arguments = shlex.split(line)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "specter_batch", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"


def test_every_command_stands_in_the_readme() -> None:
    from specter_batch.cli import build_app

    names = {
        command.name or command.callback.__name__ for command in build_app().registered_commands if command.callback
    }
    assert {name for name in names if f"specter-batch {name}" not in README and f"make {name}" not in README} == set()
