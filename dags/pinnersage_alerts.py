"""Alerts: who hears of a task that failed, or of a day that waits for a person.

Not a DAG file itself (.airflowignore). ``Alert`` is a notifier: as ``on_failure_callback`` it runs
after a task's last try, in the worker, or in the DAG processor when the worker itself was lost. It
tells every channel that the settings name (``[alerts]``). A channel that fails is logged as an
error, with the alert, and keeps no other channel from hearing.

A new channel is a function below, its name in ``CHANNELS``, and the same name among those that
``AlertConfig.channels`` permits in ``pinnersage/config.py``.
"""

import html
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, quote, urlsplit

from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from pinnersage.config import AlertConfig

Facts = dict[str, str]
PATIENCE_SECONDS = 10
LONGEST_ERROR = 2_000
REPORT_TAB = "quality-report"
"""Tab of a run, of plugins/pinnersage_reports.py."""

log = logging.getLogger(__name__)

TITLES = {
    "failure": "{dag} {day}: {task} failed",
    "decision": "{dag} {day}: {task} waits for a decision",
}
TO_DO = {
    "failure": "The live release is untouched. Mend what the error names, then clear the task in "
    "the run. See runbook: a day failed.",
    "decision": "Read the quality report, then approve or reject the task in the run, with your "
    "name and reason.",
}


class Alert(BaseNotifier):
    """Tells every channel of the settings.

    Parameters
    ----------
    kind : "failure" or "decision"
        What happened: a task failed, or one waits for a person.
    """

    def __init__(self, kind: Literal["failure", "decision"] = "failure") -> None:
        super().__init__()
        self.kind = kind

    def notify(self, context: Any) -> None:
        """Send; nothing that a channel does ends the callback."""
        facts = facts_of(self.kind, context)
        config = settings()
        for name in config.channels:
            try:
                CHANNELS[name](facts, config)
            except Exception:
                log.exception("Alert channel %s failed. The alert was:\n%s", name, facts["text"])


def settings() -> "AlertConfig":
    """Return the alerts' settings, also when another section is what is wrong."""
    from pinnersage import config
    from pinnersage.errors import ConfigError

    try:
        return config.load_alerts()
    except ConfigError:
        log.exception("The settings of alerts cannot be read; alerts go to this log alone.")
        return config.AlertConfig()


# --- what is said ----------------------------------------------------------------------------


def facts_of(kind: str, context: Any) -> Facts:
    """Return what an alert says, as plain text by name; ``text`` is all of it, for people."""
    from airflow.sdk.configuration import conf

    task, run = context.get("ti"), context.get("dag_run")
    dag_id = task.dag_id if task else context["dag"].dag_id
    run_id = context.get("run_id", "")
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    run_url = f"{base}/dags/{dag_id}/runs/{quote(run_id)}"
    judged = "validate" in getattr(context.get("dag"), "task_ids", ())
    facts = {
        "kind": kind,
        "dag": dag_id,
        "day": day_of(run),
        "task": task_name(task) if task else "",
        "run": run_id,
        "error": what_failed(context.get("exception")) if kind == "failure" else "",
        "run_url": run_url,
        "log_url": task.log_url if task else "",
        "report_url": f"{run_url}/plugin/{REPORT_TAB}" if judged else "",
        "do": TO_DO[kind],
    }
    facts["title"] = " ".join(TITLES[kind].format(**facts).split()).replace(" :", ":")
    lines = [facts["title"], facts["error"], facts["do"]]
    links = {"Log": "log_url", "Run": "run_url", "Quality report": "report_url"}
    lines += [f"{name}: {facts[key]}" for name, key in links.items() if facts[key]]
    facts["text"] = "\n".join(filter(None, lines))
    return facts


def day_of(run: Any) -> str:
    """Return the day that a run is about; empty for one that is about none.

    A schedule that gives no partition key, as that of pinnersage_watch, is about none.
    """
    key, date = getattr(run, "partition_key", None), getattr(run, "logical_date", None)
    by_clock = getattr(run, "run_type", "") == "scheduled"
    return key or (date.date().isoformat() if date and not by_clock else "")


def task_name(task: Any) -> str:
    """Return a task's id, with the bucket of a mapped one."""
    index = task.map_index if task.map_index is not None else -1
    named = getattr(task, "rendered_map_index", None) or (str(index) if index >= 0 else "")
    return f"{task.task_id} ({named})" if named else task.task_id


def what_failed(error: object) -> str:
    """Return what an exception says, without secrets that Airflow knows of."""
    from airflow.sdk.log import redact

    if error is None:
        return "The worker ended without an error of the task's: killed, out of memory, or lost."
    said = str(error).strip()
    if not isinstance(error, AirflowFailException | str):
        # Others' errors begin with what led there and end with what is wrong.
        said = f"{type(error).__name__}: {said.splitlines()[-1].strip() if said else ''}"
    return str(redact(said))[:LONGEST_ERROR]


# --- channels --------------------------------------------------------------------------------


def to_log(facts: Facts, config: "AlertConfig") -> None:
    """Write it into the task's log, where a collector of logs finds the word ALERT."""
    del config
    log.error("ALERT %s", facts["text"])


def to_webhook(facts: Facts, config: "AlertConfig") -> None:
    """Post it as JSON; ``text`` is what Slack, Mattermost and others show."""
    from airflow.providers.http.hooks.http import HttpHook
    from airflow.sdk import Connection
    from airflow.sdk.log import mask_secret

    host = Connection.get(config.webhook_connection).host or ""
    url = urlsplit(host)
    for secret in (url.path.strip("/"), url.query, *(v for _, v in parse_qsl(url.query))):
        if secret:
            mask_secret(secret)  # whoever knows it may post there, and errors name it
    hook = HttpHook(method="POST", http_conn_id=config.webhook_connection)
    hook.run(json=facts, extra_options={"timeout": PATIENCE_SECONDS})


def to_email(facts: Facts, config: "AlertConfig") -> None:
    """Send it to the addresses of the settings."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook(smtp_conn_id=config.email_connection) as smtp:
        smtp.send_email_smtp(
            to=list(config.email_to),
            subject=f"[pinnersage] {facts['title']}",
            html_content=f"<pre>{html.escape(facts['text'])}</pre>",
        )


CHANNELS: dict[str, Callable[[Facts, "AlertConfig"], None]] = {
    "log": to_log,
    "webhook": to_webhook,
    "email": to_email,
}
