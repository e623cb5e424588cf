"""Print what each DAG file defines, as JSON, for the page that is made of it.

    python scripts/describe_dags.py

Airflow's own objects are asked, so the page says what Airflow will do. It takes some seconds and
needs no database; what Airflow writes on import goes into a folder that is thrown away.
"""

import json
import os
import runpy
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

DAGS = Path(__file__).resolve().parents[1] / "dags"


def main() -> None:
    """Import every DAG file and print its DAG."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        warnings.simplefilter("ignore")
        sys.path.insert(0, str(DAGS))
        ignored = (DAGS / ".airflowignore").read_text(encoding="utf-8").split()
        paths = sorted(path for path in DAGS.glob("*.py") if path.name not in ignored)
        found = {path.stem: described(runpy.run_path(str(path))[path.stem]()) for path in paths}
    print(json.dumps(found))


def described(dag: Any) -> dict[str, Any]:
    """Return what the page says of one DAG."""
    return {
        "text": dag.doc_md,
        "schedule": schedule(dag.timetable),
        "tasks": [task_facts(task) for task in dag.topological_sort()],
        "params": [param_facts(name, dag.params.get_param(name)) for name in dag.params],
    }


def schedule(timetable: Any) -> str:
    """Return when a DAG runs, in words."""
    if expression := getattr(timetable, "expression", None):
        return f"cron {expression}, UTC"
    if condition := getattr(timetable, "asset_condition", None):
        return f"when the asset {condition.name} is updated"
    return "by hand"


def param_facts(name: str, param: Any) -> dict[str, Any]:
    """Return what the page says of one field of the trigger form."""
    default = param.value if isinstance(param.value, bool | float | int | list | str) else None
    return {"name": name, "default": default, "says": param.description, **param.schema}


def task_facts(task: Any) -> dict[str, Any]:
    """Return what the page says of one task."""
    limit = task.execution_timeout
    return {
        "name": task.task_id,
        "mapped": task.is_mapped,
        "after": sorted(task.upstream_task_ids),
        "pool": task.pool,
        "queue": task.queue,
        "retries": task.retries,
        "minutes": round(limit.total_seconds() / 60) if limit else None,
    }


if __name__ == "__main__":
    main()
