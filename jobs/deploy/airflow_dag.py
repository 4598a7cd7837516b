"""One night as an Airflow DAG (Airflow 3): label, then verify what was written.

A retry goes on where the last attempt stopped, with the same `--date`, so retries may run over midnight.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="specter_batch",
    description="Label tonight's papers",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # a second run on one output would be turned away by its lock
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
) as dag:
    classify = BashOperator(
        task_id="classify",
        bash_command=(
            "specter-batch classify '/data/papers/date={date}' '/data/nights/{date}' --date {{ ds }} "
            "--bundle /data/bundle --previous '/data/nights/{yesterday}' --max-psi-previous 0.1"
        ),
    )
    verify = BashOperator(task_id="verify", bash_command="specter-batch verify /data/nights/{{ ds }}")
    classify >> verify
