"""One night as an Airflow DAG (Airflow 3): label the papers, then verify the output.

A retry resumes where the last attempt stopped, with the same `--date`, so retries may run past midnight. Only failures
that a retry can fix are retried: a wrong setting (exit code 1 or 2) or a failed gate (4) ends the task at once.
"""

import subprocess
from datetime import datetime, timedelta

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import DAG, BaseOperator

NO_RETRY = (1, 2, 4)


class SpecterBatchOperator(BaseOperator):
    """Runs a `specter-batch` command and raises the exception that lets Airflow retry it only if that can help.

    Args:
        command: The command line, as a list of words.
    """

    template_fields = ("command",)

    def __init__(self, *, command, **arguments):
        super().__init__(**arguments)
        self.command = command
        self.process = None

    def execute(self, context):  # noqa: ARG002 - Airflow passes it
        """Run the command to its end."""
        self.process = subprocess.Popen(self.command)
        code = self.process.wait()
        if code in NO_RETRY:
            raise AirflowFailException(f"exit code {code}: a retry would fail in the same way")
        if code:
            raise AirflowException(f"exit code {code}: a retry processes only what is left")

    def on_kill(self):
        """Stop the command; finished shards are kept."""
        if self.process is not None:
            self.process.terminate()


with DAG(
    dag_id="specter_batch",
    description="Label tonight's papers",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # a second run on the same output would fail, because the output is locked
    # The delay is longer than the two minutes that a lock in a store remains after its job was killed.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
) as dag:
    classify = SpecterBatchOperator(
        task_id="classify",
        command=[
            "specter-batch",
            "classify",
            "/data/papers/date={date}",
            "/data/nights/{date}",
            "--date={{ ds }}",
            "--bundle=/data/bundle",
            "--previous=/data/nights/{yesterday}",
            "--reuse=/data/nights/{yesterday}",
            "--max-psi-previous=0.1",
        ],
    )
    verify = SpecterBatchOperator(task_id="verify", command=["specter-batch", "verify", "/data/nights/{{ ds }}"])
    classify >> verify
