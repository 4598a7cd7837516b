"""What can be known of the deployment examples without Docker, systemd, Kubernetes and Airflow running."""

import ast
import configparser
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from specter_batch.cli import build_app
from specter_batch.errors import EXIT_TRY_LATER
from specter_jobs.output.folder.store_lock import STALE_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "jobs/deploy"
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
# Exit codes after which another attempt would end the same way.
HOPELESS = {1, 2, 4}
SYSTEMD = shutil.which("systemd-analyze") or ""
needs_systemd = pytest.mark.skipif(not SYSTEMD, reason="install systemd to have its units checked")
SERVICE_BINARY = "/opt/specter-batch/bin/specter-batch"


@pytest.fixture(scope="module")
def app() -> Any:
    return typer.main.get_command(build_app())


def parsed(app: Any, arguments: list[str]) -> dict[str, Any]:
    """Parse a command line as `specter-batch` would, without running it."""
    name, *rest = arguments
    return dict(app.commands[name].make_context(name, rest).params)


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((DEPLOY / name).read_text())
    return parser


def instructions(name: str) -> list[tuple[str, str]]:
    lines = (DEPLOY / name).read_text().replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line and line[0] != "#"]


def usage_in_comments(name: str) -> list[str]:
    """Return the arguments after the image's name of the `docker run` in a Dockerfile's comment."""
    (line,) = [line for line in (DEPLOY / name).read_text().splitlines() if "docker run" in line]
    words = shlex.split(line.lstrip("# "))
    return words[next(i for i, word in enumerate(words) if word.startswith("specter-batch")) + 1 :]


def cronjob() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((DEPLOY / "cronjob.yaml").read_text()))
    assert len(documents) == 1
    return dict(documents[0])


def dag_commands() -> Iterator[list[str]]:
    for node in ast.walk(ast.parse((DEPLOY / "airflow_dag.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "command":
            yield list(ast.literal_eval(node.value))


# systemd


def test_the_service_runs_a_valid_command_line(app: Any) -> None:
    binary, *arguments = shlex.split(unit("specter-batch.service")["Service"]["ExecStart"])
    assert binary == SERVICE_BINARY
    given = parsed(app, arguments)
    assert (given["dump"], given["out"]) == ("/data/papers/date={date}", "/data/nights/{date}")


def test_the_service_may_write_where_its_command_line_writes(app: Any) -> None:
    service = unit("specter-batch.service")["Service"]
    given = parsed(app, shlex.split(service["ExecStart"])[1:])
    writable = [Path(path) for path in service["ReadWritePaths"].split()]
    for path in (Path(given["out"]), Path(given["metrics_file"])):
        assert any(path.is_relative_to(folder) for folder in writable), path


def test_the_service_is_not_restarted_for_what_would_end_the_same_way() -> None:
    service = unit("specter-batch.service")["Service"]
    assert service["Restart"] == "on-failure"
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == HOPELESS
    assert service["RestartSec"] == "5min"  # longer than the lock of a killed job is held
    assert STALE_SECONDS < 300


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    text = (DEPLOY / "specter-batch.service").read_text()
    (tmp_path / "specter-batch.service").write_text(text.replace(SERVICE_BINARY, str(shutil.which("true"))))
    shutil.copy(DEPLOY / "specter-batch.timer", tmp_path)
    units = [str(tmp_path / name) for name in ("specter-batch.service", "specter-batch.timer")]
    done = subprocess.run([SYSTEMD, "verify", *units], capture_output=True, text=True, check=False)
    # It warns of unknown settings and still returns 0. Other units of the machine are not ours.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "specter-batch" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_the_timer_starts_every_night_by_the_clock_of_the_date() -> None:
    when = unit("specter-batch.timer")["Timer"]["OnCalendar"]
    assert when.endswith(" UTC")
    done = subprocess.run([SYSTEMD, "calendar", "--iterations=2", when], capture_output=True, text=True, check=True)
    assert len(re.findall(r"\d{4}-\d\d-\d\d 02:00:00 UTC", done.stdout)) >= 2


# Kubernetes


def test_the_cronjob_runs_a_valid_command_line(app: Any) -> None:
    (container,) = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    given = parsed(app, container["args"])
    mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
    for path in [Path(given[name]) for name in ("dump", "out", "bundle", "metrics_file")]:
        assert any(path.is_relative_to(mount) for mount in mounts), path


def test_the_cronjob_has_the_shape_of_one() -> None:
    job = cronjob()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert re.fullmatch(r"\d+ \d+ \* \* \*", job["spec"]["schedule"])
    assert (job["spec"]["timeZone"], job["spec"]["concurrencyPolicy"]) == ("Etc/UTC", "Forbid")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_the_cronjob_does_not_try_again_what_would_end_the_same_way() -> None:
    spec = cronjob()["spec"]["jobTemplate"]["spec"]
    pod = spec["template"]["spec"]
    rule = spec["podFailurePolicy"]["rules"][0]
    assert (rule["action"], set(rule["onExitCodes"]["values"])) == ("FailJob", HOPELESS)
    later = spec["podFailurePolicy"]["rules"][1]
    assert (later["action"], later["onExitCodes"]["values"]) == ("Ignore", [EXIT_TRY_LATER])
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it


def test_the_pod_runs_as_the_user_of_the_image() -> None:
    security = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["securityContext"]
    (user,) = [value for name, value in instructions("Dockerfile") if name == "USER"]
    assert (security["runAsNonRoot"], str(security["runAsUser"])) == (True, user)


# Ray


def test_the_ray_job_runs_a_valid_command_line_on_its_cluster(app: Any) -> None:
    spec = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())["spec"]
    binary, *arguments = shlex.split(spec["entrypoint"])
    given = parsed(app, arguments)
    assert (binary, given["engine"], given["ray_address"]) == ("specter-batch", "ray", "auto")
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert groups[0]["rayStartParams"] == {"num-cpus": "0"}
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
        for path in (Path(given["dump"]), Path(given["out"]), Path(given["bundle"])):
            assert any(path.is_relative_to(mount) for mount in mounts), path
        assert pod["securityContext"]["runAsUser"] == 10001
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text()


def test_the_ray_job_has_the_shape_of_one() -> None:
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert job["spec"]["shutdownAfterJobFinishes"]
    assert job["spec"]["backoffLimit"] > 0


def test_the_ray_cluster_runs_a_valid_command_line(app: Any) -> None:
    text = (DEPLOY / "ray-cluster.yaml").read_text()
    (command,) = re.findall(r'specter-batch classify[^"]*', text)
    given = parsed(app, shlex.split(command.replace("\n#", " "))[1:])
    assert (given["engine"], given["ray_address"]) == ("ray", "auto")
    cluster = yaml.safe_load(text)
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert cluster["available_node_types"]["head"]["resources"] == {"CPU": 0}
    (extras,) = re.findall(r"specter-batch\[([a-z0-9,]+)\]", " ".join(cluster["setup_commands"]))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


# Airflow


def test_the_dag_compiles_and_labels_before_it_verifies() -> None:
    tree = ast.parse((DEPLOY / "airflow_dag.py").read_text())
    compile(tree, "airflow_dag.py", "exec")
    assert "classify >> verify" in ast.unparse(tree)


def test_the_dag_runs_valid_command_lines_of_one_night(app: Any) -> None:
    commands = [[word.replace("{{ ds }}", "2026-11-22") for word in command] for command in dag_commands()]
    assert [words[:2] for words in commands] == [["specter-batch", "classify"], ["specter-batch", "verify"]]
    labelled, verified = (parsed(app, words[1:]) for words in commands)
    assert labelled["date"] == "2026-11-22"
    assert labelled["out"].replace("{date}", labelled["date"]) == verified["out"]


class StandInDag:
    """Airflow's DAG, as far as a file that declares one needs it."""

    def __init__(self, **_: Any) -> None: ...
    def __enter__(self) -> "StandInDag":
        return self

    def __exit__(self, *_: object) -> None: ...


class StandInOperator:
    """Airflow's base of operators, as far as a subclass needs it."""

    def __init__(self, *, task_id: str) -> None:
        self.task_id = task_id

    def __rshift__(self, other: "StandInOperator") -> "StandInOperator":
        return other


@pytest.mark.parametrize(
    ("code", "ends_as"), [(0, None), (1, "fail"), (2, "fail"), (4, "fail"), (3, "try"), (75, "try")]
)
def test_the_dag_retries_what_a_retry_can_fix(monkeypatch: pytest.MonkeyPatch, code: int, ends_as: str | None) -> None:
    exceptions, sdk = types.ModuleType("airflow.exceptions"), types.ModuleType("airflow.sdk")
    errors = {
        "AirflowException": type("TryAgain", (Exception,), {}),
        "AirflowFailException": type("End", (Exception,), {}),
    }
    vars(exceptions).update(errors)
    vars(sdk).update(DAG=StandInDag, BaseOperator=StandInOperator)
    for name, module in {
        "airflow": types.ModuleType("airflow"),
        exceptions.__name__: exceptions,
        sdk.__name__: sdk,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    dag = runpy.run_path(str(DEPLOY / "airflow_dag.py"))
    assert set(dag["NO_RETRY"]) == HOPELESS
    task = dag["SpecterBatchOperator"](task_id="t", command=[sys.executable, "-c", f"raise SystemExit({code})"])
    if ends_as is None:
        task.execute({})
        return
    with pytest.raises(errors["AirflowFailException" if ends_as == "fail" else "AirflowException"]):
        task.execute({})


# Docker


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_starts_the_command_as_a_plain_user(name: str) -> None:
    found = instructions(name)
    stage = found[max(i for i, (instruction, _) in enumerate(found) if instruction == "FROM") :]
    last = dict(stage)
    assert json.loads(last["ENTRYPOINT"]) == ["specter-batch"]
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert int(last["USER"]) > 0
    users = [i for i, (instruction, _) in enumerate(stage) if instruction == "USER"]
    assert [value for instruction, value in stage[users[-1] :] if instruction == "RUN"] == []


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_copies_what_is_there_and_installs_with_the_tested_versions(name: str) -> None:
    found = instructions(name)
    sources = [value.split()[0] for instruction, value in found if instruction == "COPY" and "--from" not in value]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source not in ignored
    installs = [value for instruction, value in found if instruction == "RUN" and "pip install" in value]
    assert len(installs) == 1
    assert "--constraint /tmp/constraints.txt" in installs[0]


def test_the_images_install_extras_that_exist() -> None:
    extras = {
        name: re.findall(r"\[([a-z,]+)\]", (DEPLOY / name).read_text().partition("ENTRYPOINT")[0])
        for name in DOCKERFILES
    }
    assert extras == {"Dockerfile": ["fast"], "Dockerfile.cuda": ["cuda,fast"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cuda", "fast"} <= project["optional-dependencies"].keys()


@pytest.mark.parametrize(("name", "device"), [("Dockerfile", None), ("Dockerfile.cuda", "cuda")])
def test_the_usage_in_a_dockerfile_is_a_valid_command_line(app: Any, name: str, device: str | None) -> None:
    assert parsed(app, usage_in_comments(name))["device"] == device


def test_a_wrong_flag_in_an_example_would_be_noticed(app: Any) -> None:
    # Of click's own or of the copy in typer, by version.
    with pytest.raises(Exception, match="No such option: --max-pssi"):
        parsed(app, ["classify", "in", "out", "--max-pssi", "1"])


def test_what_the_images_need_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {path.split("/")[0] for path in (*packages["packages"], *packages["force-include"])}
    assert not {*needed, "pyproject.toml", "README.md", "LICENSE", "constraints.txt"} & set(ignored)


# What stays out of the repository and of the image


def test_outputs_of_the_shown_commands_stay_out_of_the_repository_and_of_the_image() -> None:
    outputs = ("nights", "dumps", "metrics", "scidocs", "bench", "site")
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert [name for name in outputs if f"/{name}/" not in ignored] == []
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    assert [name for name in outputs if name not in left_out] == []
