"""A Postgres server for the tests of warehouses: in a temporary folder, with a Unix socket and no network."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Where Debian and Ubuntu put the server: not in PATH, because several versions may be installed.
DEBIAN = "/usr/lib/postgresql"
USER, DATABASE = "loader", "warehouse"


@contextmanager
def running_postgres() -> Iterator[dict[str, str]]:
    """Run a server, and give the environment variables with which libpq finds it and its empty database.

    The test is skipped where no server is installed, or where root has no other user to run it as.
    """
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    # In /tmp, because the path of a Unix socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    account = unprivileged_account(folder)
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(command, user=account, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    try:
        run(initdb, "-D", str(data), "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", f"--username={USER}")
        # Without fsync: the tests do not ask what is left after a power cut.
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run(pg_ctl, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield {"PGHOST": str(folder), "PGUSER": USER}
        finally:
            run(pg_ctl, "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def program(name: str) -> str:
    """Return the path of a program of the server; skip the test if there is none."""
    places = [str(path) for path in sorted(Path(DEBIAN).glob("*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    if found is None:
        pytest.skip(f"no Postgres server: {name} is neither in PATH nor in {DEBIAN}")
    return found


def unprivileged_account(folder: Path) -> str | None:
    """Give the folder to a user that may run the server, which root may not; None if we are not root."""
    if os.geteuid() != 0:
        return None
    for account in ("postgres", "nobody"):
        try:
            shutil.chown(folder, account)
        except LookupError:
            continue
        return account
    folder.rmdir()
    pytest.skip("Postgres does not run as root, and there is neither a user postgres nor nobody")
