"""The ledger lists the shards that are done, with their content, bundle and settings. Entries are written last."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict

from specter_batch.metrics.expected_sums import ExpectedSums
from specter_batch.storage.location import Location, in_parallel
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.label_form import LabelForm
from specter_jobs.output.labelled_shard import Gaps, ShardSums
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import LEDGER_FILE, LEDGER_FOLDER, OutputFile
from specter_jobs.plan.decisions import DeduplicatedShard


class Ledger:
    """The record in an output folder.

    Args:
        out: The output folder.
        binding: Hash of model and settings, for new entries.
        bindings: Entries of other bindings than these do not count, and neither do entries whose sums do not add up.
        model: Hash of bundle, device kind and graph. A later night can reuse these labels if its hash is the same.
        form: Columns of the label files.
    """

    def __init__(
        self, out: OutputFolder, *, binding: str, bindings: Collection[str], model: str, form: LabelForm
    ) -> None:
        self._out = out
        self._model = model
        self._binding = binding
        self._form = form
        ours = (entry for entry in read_entries(out) if entry.binding in bindings)
        self._entries = {entry.shard: entry for entry in ours if entry.adds_up}
        self._intact = self._checked(self._entries.values())

    def finished(self, deduplicated: DeduplicatedShard) -> LedgerEntry | None:
        """Return the shard's entry if it was done for this content and its files are there, else None."""
        entry = self._done(deduplicated)
        return entry if entry is not None and entry.form == self._form.hash(deduplicated.kept_hash) else None

    def outdated(self, deduplicated: DeduplicatedShard) -> LedgerEntry | None:
        """Return the shard's entry if only the columns of its label file differ from those of this night, else None."""
        entry = self._done(deduplicated)
        return entry if entry is not None and entry.form != self._form.hash(deduplicated.kept_hash) else None

    def _done(self, deduplicated: DeduplicatedShard) -> LedgerEntry | None:
        entry = self._entries.get(deduplicated.shard.name)
        if entry is None or entry.content != deduplicated.content:
            return None
        return entry if all(file.name in self._intact for file in entry.files) else None

    def commit(
        self, deduplicated: DeduplicatedShard, sums: ShardSums, *, labels: OutputFile, rejects: OutputFile | None
    ) -> LedgerEntry:
        """Write the entry of a shard whose files are complete."""
        shard = deduplicated.shard
        entry = LedgerEntry(
            shard=shard.name,
            file=shard.file.name,
            start=shard.start,
            rows=shard.rows,
            content=deduplicated.content,
            binding=self._binding,
            form=self._form.hash(deduplicated.kept_hash),
            model=self._model,
            reused=sums.reused,
            without_margin=sums.gaps.without_margin,
            without_logits=sums.gaps.without_logits,
            labels=labels,
            rejects=rejects,
            rejects_by_reason=dict(sums.rejects_by_reason),
            scores=sums.scores.as_json(),
            unknown_labels=sums.unknown_labels,
            language_undecided=sums.undecided,
            label_papers=sums.label_papers.tolist(),
            bin_papers=sums.bin_papers.tolist(),
            score_sum=sums.score_sum,
            expected=sums.expected,
            title_only=sums.title_only,
            audit=sums.audit,
            token_differences=sums.token_differences,
            seconds=round(sums.seconds, 3),
            model_seconds=round(sums.model_seconds, 3),
        )
        self._add(entry)
        return entry

    def commit_rewritten(
        self,
        former: LedgerEntry,
        deduplicated: DeduplicatedShard,
        *,
        labels: OutputFile,
        expected: ExpectedSums | None,
        gaps: Gaps,
    ) -> LedgerEntry:
        """Write the entry of a shard whose labels are in another file now, and remove the former file.

        The new file has another name than the former one. Whenever the job is killed, the newest entry therefore
        describes a file that is there.
        """
        form = self._form.hash(deduplicated.kept_hash)
        sums = {"expected": expected, **asdict(gaps)}
        entry = former.model_copy(update={"labels": labels, "form": form, "binding": self._binding, **sums})
        self._add(entry)
        self._out.remove_files([former.labels.name])
        return entry

    def _add(self, entry: LedgerEntry) -> None:
        self._out.add_entry(LEDGER_FILE, entry.shard, entry)
        self._entries[entry.shard] = entry
        self._intact |= {file.name for file in entry.files}

    def label_file(self, shard_name: str) -> Location | None:
        """Return the label file of a shard that is done under this binding, else None."""
        entry = self._entries.get(shard_name)
        if entry is None or entry.labels.name not in self._intact:
            return None
        return self._out / entry.labels.name

    def damaged(self, entries: Sequence[LedgerEntry]) -> dict[str, str]:
        """Read the files of these entries again. Return the shards whose files are gone or changed -> reason.

        Another program may damage files while the night runs, or before. The next run labels a damaged shard again.
        """
        intact = self._checked(entries)
        return {
            entry.shard: f"{file.name}: was removed or changed after it was written; run the same command again"
            for entry in entries
            for file in entry.files
            if file.name not in intact
        }

    def _checked(self, entries: Iterable[LedgerEntry]) -> set[str]:
        """Return the names of the files that still have the SHA-256 in their entry."""
        files = [file for entry in entries for file in entry.files]
        there = self._out.sizes() if files else {}
        candidates = [file for file in files if there.get(file.name) == file.size]
        intact = in_parallel(self._out.is_intact, candidates)
        return {file.name for file, good in zip(candidates, intact, strict=True) if good}

    def remove_strangers(self, entries: Sequence[LedgerEntry], *, keep: Sequence[OutputFile]) -> None:
        """Remove output files that belong to none of these entries, for example after a kill or with another bundle.

        Args:
            entries: The entries of the night.
            keep: More files of the night.

        In a store the entries are then joined to one file, which the next night reads in one request.
        """
        known = {file.name for entry in entries for file in entry.files} | {file.name for file in keep}
        strangers = [name for name in self._out.sizes() if name not in known]
        ours = [name for name in strangers if name.endswith((".parquet", ".partial"))]
        self._out.remove_files(ours)
        self._out.fold(LEDGER_FILE, entries)


def read_entries(out: OutputFolder) -> list[LedgerEntry]:
    """Return the readable entries of a night, later ones last. A half-written entry is left out."""
    return out.entries(LEDGER_FILE, LedgerEntry)


def has_ledger(names: set[str]) -> bool:
    """Return whether these are the names in a night's output folder."""
    return not names.isdisjoint({LEDGER_FILE, LEDGER_FOLDER})
