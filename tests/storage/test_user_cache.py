import os
import tempfile
from pathlib import Path

import pytest

from specter_batch.errors import ConfigError
from specter_batch.storage.user_cache import user_cache


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process look like one of a user without HOME and without an entry in /etc/passwd."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])


def test_the_cache_is_where_the_specification_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache("bundles") == tmp_path / ".cache/specter-batch/bundles"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert user_cache("bundles") == tmp_path / ".cache/specter-batch/bundles"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert user_cache("bundles") == tmp_path / "cache/specter-batch/bundles"


def test_a_user_without_a_home_gets_a_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_home(monkeypatch)
    folder = tmp_path / f"tmp/specter-batch-{os.getuid()}"
    for _ in range(2):
        assert user_cache("bundles") == folder / "specter-batch/bundles"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_not_there_is_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    assert user_cache("bundles").is_relative_to(tmp_path / "tmp")


def test_a_private_folder_that_others_can_change_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_home(monkeypatch)
    folder = tmp_path / f"tmp/specter-batch-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="name a folder to keep files in with the variable XDG_CACHE_HOME"):
        user_cache("bundles")
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="belongs to another user or can be changed"):
        user_cache("bundles")
