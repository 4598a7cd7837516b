"""A night gives the same labels and reports with nanotoken and without it, and reports a nanotoken that differs."""

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from io import StringIO
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from tokenizers import Tokenizer

from specter_batch.errors import ConfigError
from specter_batch.logs import logging_to
from specter_jobs.output.report_model.report import read_report
from support.papers_on_disk import RunNight, label_bytes, paper, write_dump

SHARD_ROWS = 300
TRAP = "zebrafish"


class WrongTokenizer:
    """Has the interface of nanotoken's tokenizer. It gives wrong ids for texts with the word `TRAP`."""

    def __init__(self, data: bytes) -> None:
        self._tokenizer = Tokenizer.from_str(data.decode())

    from_json = classmethod(lambda cls, data: cls(data))

    def encode_batch(
        self,
        texts: Sequence[str],
        *,
        max_length: int,
        parallel: bool,  # noqa: ARG002
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        self._tokenizer.enable_truncation(max_length)
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        rows = [ids[:1] + ids[2:] if TRAP in text else ids for text, ids in zip(texts, rows, strict=True)]
        return np.array([*chain.from_iterable(rows)], dtype=np.uint32), np.cumsum([0, *map(len, rows)])


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards. nanotoken is used from the second on, and the first paper of the third is a trap."""
    papers = [paper(number) for number in range(3 * SHARD_ROWS)]
    papers[2 * SHARD_ROWS]["title"] = f"Outcomes of {TRAP} studies"
    return write_dump(tmp_path_factory.mktemp("dump") / "in/a.parquet", papers)


@pytest.fixture
def wrong_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package nanotoken that gives wrong ids."""
    package = ModuleType("nanotoken")
    contents = {"WordPieceTokenizer": WrongTokenizer, "UnsupportedTokenizerError": ValueError}
    vars(package).update(contents, set_cache_entries=int)
    monkeypatch.setitem(sys.modules, "nanotoken", package)


def logged(run: RunNight, dump: Path, **changes: Any) -> list[dict[str, Any]]:
    """Run a night and return the events about tokenizers."""
    log = StringIO()
    with logging_to(Console(file=log)):
        assert run(dump, shard_rows=SHARD_ROWS, language="any", **changes).exit_code == 0
    events = [json.loads(line) for line in log.getvalue().splitlines()]
    return [event for event in events if event["event"].startswith("tokenizer ")]


def reports(out: Path) -> list[str]:
    return [(out / name).read_text() for name in ("report.json", "report.md")]


@pytest.mark.skipif(find_spec("nanotoken") is None, reason="nanotoken is not installed: pip install nanotoken")
def test_nanotoken_changes_no_byte_of_labels_and_reports(night: RunNight, dump: Path, tmp_path: Path) -> None:
    (chosen,) = logged(night, dump, out=tmp_path / "fast")
    assert chosen["event"] == "tokenizer chosen"
    assert chosen["tokenizer"].startswith("nanotoken ")
    assert logged(night, dump, out=tmp_path / "slow", tokenizer="tokenizers") == []
    assert label_bytes(tmp_path / "fast") == label_bytes(tmp_path / "slow")
    assert reports(tmp_path / "fast") == reports(tmp_path / "slow")
    assert "token_differences" not in (tmp_path / "fast/ledger.jsonl").read_text()


def test_a_night_whose_nanotoken_differs_has_the_labels_of_tokenizers_and_says_so(
    night: RunNight, dump: Path, tmp_path: Path, wrong_package: None
) -> None:
    chosen, differs = logged(night, dump, out=tmp_path / "wrong")
    assert chosen["event"] == "tokenizer chosen"
    assert (differs["level"], differs["different"]) == ("warning", 1)
    logged(night, dump, out=tmp_path / "slow", tokenizer="tokenizers")
    assert label_bytes(tmp_path / "wrong") == label_bytes(tmp_path / "slow")

    found, expected = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("wrong", "slow"))
    assert found.pop("token_differences") == {"shards": 1, "texts": 1}
    assert found == expected
    sentences = read_report(tmp_path / "wrong").token_differences.sentences()  # type: ignore[union-attr]
    assert sentences[0].endswith("for 1 of the texts that were compared, in 1 shard")
    for name in ("report.md", "report.html"):
        assert all(sentence in (tmp_path / "wrong" / name).read_text() for sentence in sentences)
        assert sentences[0] not in (tmp_path / "slow" / name).read_text()
    entries = [json.loads(line) for line in (tmp_path / "wrong/ledger.jsonl").read_text().splitlines()]
    assert [entry.get("token_differences") for entry in entries] == [None, None, 1]


def test_a_rerun_keeps_what_the_report_says(night: RunNight, dump: Path, tmp_path: Path, wrong_package: None) -> None:
    logged(night, dump, out=tmp_path / "out")
    before = reports(tmp_path / "out")
    assert logged(night, dump, out=tmp_path / "out") == []
    assert reports(tmp_path / "out") == before


def test_a_tokenizer_that_does_not_exist_is_refused(night: RunNight, dump: Path) -> None:
    with pytest.raises(ConfigError, match="tokenizer"):
        night(dump, tokenizer="nanotoken")
