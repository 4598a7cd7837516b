"""What a night is asked to do, from TOML and flags."""

import datetime
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from specter_batch.errors import UsageError
from specter_batch.model.manifest import Precision
from specter_batch.papers.columns import PaperColumns
from specter_batch.settings import Settings
from specter_batch.storage.location import LocalPath, Location, PathOrUrl, PathTextOrUrl, located
from specter_batch.storage.redaction import without_credentials
from specter_batch.storage.url_path import UrlPath
from specter_jobs.dumps.names import FormatName
from specter_jobs.plan.limits import GateLimits
from specter_jobs.plan.workload import parse_max_fresh

# How many days back `--previous "nights/{yesterday}"` looks for a night that succeeded.
PREVIOUS_DAYS = 30
# The settings in which placeholders are replaced; all of them are paths.
_PATHS = ("dump", "out", "bundle", "reuse", "previous", "metrics_file")


# More than any cluster has: beyond it a typing error would fill the memory before anything starts.
MAX_WORKERS = 10_000


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


class NightConfig(Settings):
    """Settings of a nightly run.

    In every path `{date}` stands for the night's date and `{yesterday}` for the day before. Other braces are refused,
    unless they are part of the name of a file or folder that is there.
    The input, output, bundle and earlier nights may be URLs of a store (`s3://`, `gs://`, `az://`, `hf://` …).

    Attributes:
        date: Of the night. When not given it is the date that is the name of `out` (`nights/2026-11-25`) if no path has
            a placeholder, else today in UTC. It is fixed at the start, midnight does not change it.
        dump: Parquet file, folder or glob of papers.
        out: Folder for labels, rejects, reports and the ledger.
        bundle: Model bundle.
        format: Of a public dump that is not parquet yet; it is ingested into `ingested/` of the output first.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, or `cuda:all` for a worker on every card.
        precision: Run this graph instead of the device's own choice.
        engine: `local` for this machine, `ray` for a cluster.
        ray_address: Of a running Ray cluster; one of this machine's own is started when None.
        workers: Worker processes on CPUs, each with its own session: on one machine one shares its memory best and is
            the default; on a Ray cluster as many as there is room for. With CUDA there is one on each card.
        threads: Papers that a worker labels at once on a CPU; when None the usable cores, shared by its workers.
        shard_rows: Rows of a shard. A kill costs at most the shard it hits; a smaller shard costs more files.
        language: `en` rejects papers that are not English; `any` takes all and asks nobody.
        missing_abstract: `reject` the paper, or label it by `title_only`.
        min_characters: Reject a paper whose title and abstract together have fewer; 0 takes all. Characters, for words
            are not parted by spaces in every language.
        probabilities: Write the probabilities of all labels too.
        max_failed_shards: Stop when more shards than this have failed.
        replace: Replace the finished labels of another night in the output folder, when the new ones are complete.
        reuse: Output folders of earlier nights; a text labelled there by the same model is not labelled again.
        delimiter: With `format = "csv"`: the character between values; found by the header when None.
        quote: With `format = "csv"`: the character around values, or `none`; found out when None.
        escape: With `format = "csv"`: the character that makes a quote plain text, or `none`; found out when None.
        encoding: With `format = "csv"` or `"jsonl"`: the encoding of the text; found out when None.
        previous: Output folder of an earlier night to compare with. With `{yesterday}` in it, the last night that
            succeeded is taken, up to `PREVIOUS_DAYS` days back.
        require_previous: Fail the gates that compare with an earlier night when there is none. Otherwise these gates
            do not apply to such a night, as to the first one.
        max_fresh: Stop before labelling if more papers than this have to be labelled afresh: a number of papers as an
            integer, or a share of all papers as a float or text such as `10%`. No limit when None.
        metrics_file: Prometheus text file, for node_exporter's textfile collector.
        gates: Limits that the night must keep.
    """

    arguments: ClassVar[frozenset[str]] = frozenset({"dump", "out"})

    # Declared first because the paths below need the date.
    date: datetime.date = Field(default_factory=_today, validate_default=True, ge=datetime.date(1970, 1, 1))
    dump: PathTextOrUrl
    out: PathOrUrl
    bundle: PathOrUrl
    format: FormatName | None = None
    device: str = "auto"
    precision: Precision | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    workers: int | None = Field(default=None, ge=1, le=MAX_WORKERS)
    threads: int | None = Field(default=None, ge=1, le=MAX_WORKERS)
    shard_rows: int = Field(default=5000, ge=1)
    language: Literal["en", "any"] = "en"
    missing_abstract: Literal["reject", "title_only"] = "reject"
    min_characters: int = Field(default=0, ge=0)
    probabilities: bool = False
    max_failed_shards: int = Field(default=100, ge=0)
    replace: bool = False
    reuse: tuple[PathOrUrl, ...] = ()
    paper_id_column: str | None = None
    title_column: str | None = None
    abstract_column: str | None = None
    label_column: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    previous: PathOrUrl | None = None
    require_previous: bool = False
    max_fresh: Annotated[
        Annotated[int, Field(ge=0, strict=True)] | Annotated[float, Field(ge=0, le=1)] | None,
        BeforeValidator(parse_max_fresh),
    ] = None
    metrics_file: LocalPath | None = None
    gates: GateLimits = GateLimits()

    # `previous` as it was given, with its placeholders.
    _previous_template: str | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _date_of_the_folder(cls, values: Any) -> Any:
        """Take the date from the name of OUT, unless one is given or placeholders stand for today."""
        if not isinstance(values, Mapping) or values.get("date") is not None:
            return values
        placeholders = any("{" in str(values.get(name) or "") for name in _PATHS)
        named = _date_named(str(values.get("out") or "").rstrip("/").rpartition("/")[2])
        return values if placeholders or named is None else {**values, "date": named}

    @model_validator(mode="wrap")
    @classmethod
    def _keep_the_template(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        config = handler(values)
        if isinstance(values, Mapping) and isinstance(values.get("previous"), (str, Path)):
            config._previous_template = str(values["previous"])
        return config

    def previous_nights(self) -> list[Location]:
        """Return the places where `previous` may be, the nearest night first; one place if it has no `{yesterday}`."""
        if self.previous is None:
            return []
        template = self._previous_template
        if template is None or "{yesterday}" not in template:
            return [self.previous]
        dates = (self.date - datetime.timedelta(days=days) for days in range(PREVIOUS_DAYS))
        return [located(_dated(template, date, setting="previous")) for date in dates]

    @field_validator(*_PATHS, mode="before")
    @classmethod
    def _put_in_the_date(cls, value: Any, info: ValidationInfo) -> Any:
        date = info.data.get("date")
        return value if date is None else _dated(value, date, setting=str(info.field_name))

    def with_absolute_paths(self) -> Self:
        """Return the same settings for processes that run in another folder."""

        def absolute(place: Any) -> Any:
            return place if isinstance(place, UrlPath) else type(place)(Path(place).absolute())

        return self.model_copy(update={name: absolute(getattr(self, name)) for name in ("dump", "out", "bundle")})

    @property
    def columns(self) -> PaperColumns:
        """The input's column names."""
        return PaperColumns(
            paper_id=self.paper_id_column,
            title=self.title_column,
            abstract=self.abstract_column,
            label=self.label_column,
        )


def _date_named(name: str) -> datetime.date | None:
    """Return the date that a folder is named by; None if its name is no date of the form YYYY-MM-DD."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", name, flags=re.ASCII) is None:
        return None
    try:
        date = datetime.date.fromisoformat(name)
    except ValueError:
        return None
    return date if date.year >= 1970 else None


def _dated(value: Any, date: datetime.date, *, setting: str) -> Any:
    """Replace the placeholders in a path, or in each path of a list; a value of another type is left for validation.

    Raises:
        UsageError: The path has a placeholder that does not exist.
    """
    if isinstance(value, (list, tuple)):
        return [_dated(item, date, setting=setting) for item in value]
    if not isinstance(value, (str, Path)):
        return value
    option = setting.upper() if setting in NightConfig.arguments else f"--{setting.replace('_', '-')}"
    text = str(value)
    yesterday = date - datetime.timedelta(days=1)
    dated = text.replace("{date}", date.isoformat()).replace("{yesterday}", yesterday.isoformat())
    unknown = re.search(r"\{[^{}]*\}?|\}", dated)
    if unknown and not _is_a_name(dated, is_output=setting in ("out", "metrics_file")):
        raise UsageError(
            f"{option} {without_credentials(text)}: there is no placeholder {unknown.group()}; in a path only {{date}} "
            "and {yesterday} are replaced, as in nights/{date}, and other braces only name what is there already"
        )
    return dated


def _is_a_name(path: str, *, is_output: bool) -> bool:
    """Say whether the braces in a local path belong to the name of a file or folder that is there."""
    last = max(path.rfind("{"), path.rfind("}"))
    named, _, below = path[last:].partition("/")
    return (bool(below) or not is_output) and os.path.lexists(path[:last] + named)
