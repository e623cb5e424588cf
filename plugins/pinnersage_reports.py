"""Reports in Airflow's UI: a page of all days, a tab on each run, a link on each task.

Wiring only. Every Airflow process imports this file, also each worker: what serves the pages
(``pinnersage_pages``, and through it FastAPI and the library) is imported when the API server asks.
"""

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

ROOT = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
"""Empty, unless Airflow is served below a path."""


class PinnersageReports(AirflowPlugin):
    """The pages of ``pinnersage_pages``, and where the UI shows them."""

    name = "pinnersage_reports"
    external_views = [  # noqa: RUF012 (Airflow's way)
        {
            "name": "Quality",
            "href": f"{ROOT}/pinnersage/days",
            "destination": "nav",
            "url_route": "quality",
        },
        {
            "name": "Quality report",
            "href": f"{ROOT}/pinnersage/run?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "quality-report",
        },
    ]

    @property
    def fastapi_apps(self) -> list[Any]:
        """What the API server mounts."""
        from pinnersage_pages import make_app

        return [{"app": make_app(), "url_prefix": "/pinnersage", "name": "pinnersage"}]

    @property
    def operator_extra_links(self) -> list[Any]:
        """What the API server shows on a task."""
        from pinnersage_pages import make_link

        return [make_link(ROOT)]
