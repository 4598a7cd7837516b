"""Find the earlier night to compare with: the last one that succeeded."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specter_batch.errors import ConfigError, UsageError
from specter_batch.logs import log
from specter_batch.storage.location import Location
from specter_batch.storage.output_claim import output_command
from specter_jobs.output.names import CLASSIFY, REPORT_FILE, SUCCESS_FILE
from specter_jobs.output.report_model.parts import PreviousReport
from specter_jobs.output.report_model.report import NightReport, read_report
from specter_jobs.plan.limits import PREVIOUS_DAYS, GateLimits
from specter_jobs.report.gates import COMPARISON_GATES


@dataclass(frozen=True, kw_only=True)
class PreviousNight:
    """The earlier night that was found for `--previous`.

    Attributes:
        asked: The place that `--previous` names.
        used: Night to compare with, or None.
        report: Report of that night, or None.
        nearest: Report of the nearest night that wrote one, whether or not it succeeded. The audit continues its
            series. Without failed nights, a night that found too many wrong labels would be forgotten.
        passed_over: Nearer nights that exist and are not used -> reason.
    """

    asked: Location
    used: Location | None = None
    report: NightReport | None = None
    nearest: NightReport | None = None
    passed_over: Mapping[str, str]

    def as_report(self) -> PreviousReport:
        """Return the part of `report.json` that names the night."""
        return PreviousReport(
            asked=str(self.asked),
            used=None if self.used is None else str(self.used),
            passed_over=self.passed_over,
        )


def find_previous(
    asked: Location | None, candidates: Sequence[Location], *, out: Location, limits: GateLimits
) -> PreviousNight | None:
    """Find the last night that succeeded and labelled papers; None without `--previous`.

    If `--previous` contains `{yesterday}`, up to `PREVIOUS_DAYS` days are searched, the nearest first. A night that
    failed a gate is never used. Otherwise the next night would be compared with the drift that the gate found.

    Args:
        asked: The place that `--previous` names.
        candidates: Places where that night may be, the nearest first.
        out: Output folder of the present night.
        limits: Limits that the present night must keep.

    Raises:
        UsageError: A gate compares with an earlier night, and `--previous` is not given.
        ConfigError: `--previous` names the output of the present night, or a night that did not succeed, or a folder
            whose report cannot be read.
    """
    if asked is None:
        compared = [name for name in COMPARISON_GATES if getattr(limits, name) is not None]
        if compared:
            raise UsageError(
                f"the gate {compared[0]} compares with an earlier night, and none is named; add "
                "--previous 'nights/{yesterday}'"
            )
        return None
    passed_over: dict[str, str] = {}
    nearest: NightReport | None = None
    for night in candidates:
        if night.resolve() == out.resolve():
            raise ConfigError(f"--previous {night}: is this night's own output; give an earlier night's")
        if not (night / SUCCESS_FILE).exists():
            if len(candidates) == 1:
                _refuse_failed(night)
            elif (night / REPORT_FILE).exists():
                passed_over[str(night)] = f"it has no {SUCCESS_FILE}: a shard or a gate failed, or it did not finish"
                try:
                    nearest = nearest or read_previous(night)
                except ConfigError as error:
                    passed_over[str(night)] += f". The audit cannot continue its series either, because of {error}"
            continue
        report = read_previous(night)
        if report is None:
            continue
        nearest = nearest or report
        if not report.papers:
            passed_over[str(night)] = "it labelled no paper"
            continue
        if passed_over:
            log("nearer nights passed over", level=logging.WARNING, previous=str(night), passed_over=passed_over)
        return PreviousNight(asked=asked, used=night, report=report, nearest=nearest, passed_over=passed_over)
    searched = len(candidates) if len(candidates) > 1 else None
    log(
        "no previous night to compare with",
        level=logging.WARNING,
        previous=str(asked),
        days_searched=searched,
        passed_over=passed_over,
    )
    return PreviousNight(asked=asked, nearest=nearest, passed_over=passed_over)


def read_previous(night: Location) -> NightReport | None:
    """Read the report of an earlier night; None if the folder has no report.

    Raises:
        ConfigError: The file is not the report of a night.
    """
    advice = "give the OUT folder of an earlier night as --previous"
    try:
        return read_report(night, advice=advice)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _refuse_failed(night: Location) -> None:
    """Refuse a night given without `{yesterday}` if it did not succeed, or if it is the output of another command."""
    command = output_command(night)
    if command not in (None, CLASSIFY):
        raise ConfigError(
            f"--previous {night}: holds the output of `specter-batch {command}`, not a night; give the OUT folder of "
            "an earlier night"
        )
    if read_previous(night) is not None:
        raise ConfigError(
            f"--previous {night}: that night did not succeed, there is no {SUCCESS_FILE} next to its {REPORT_FILE}; "
            f"name a night that did, or use {{yesterday}} in --previous, which looks {PREVIOUS_DAYS} days back for one"
        )
