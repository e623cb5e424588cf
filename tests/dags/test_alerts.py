"""Alerts: one for each task that failed for good, on every channel, with nothing secret in it."""

import gzip
import json
import shutil
import socketserver
import threading
import urllib.parse
from contextlib import contextmanager
from datetime import date
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT
from worlds import DAY as LIVE

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

DAY = date(2020, 1, 5)
PASSWORD = "s3cr@t/100%"  # noqa: S105 (it guards nothing)

SOME_FAIL = """
from datetime import timedelta
from airflow.sdk import dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from pinnersage_dags import DEFAULTS, START

@dag(schedule=None, start_date=START, default_args=DEFAULTS | {"retry_delay": timedelta(0)})
def some_fail():
    @task(retries=1)
    def succeeds_later():
        from pinnersage.errors import TransientError
        if get_current_context()["ti"].try_number < 2:
            raise TransientError("away for a moment")

    @task(retries=1)
    def never_succeeds():
        raise ValueError("first line\\n<b>try after try</b>")

    @task(map_index_template="bucket {{ task.op_kwargs['bucket'] }}")
    def cluster(bucket):
        if bucket == 1:
            from airflow.sdk import Connection
            password = Connection.get("a_store").password
            raise AirflowFailException(f"DataError: bucket 1 is damaged, {password} said so.")

    @task
    def after(): ...

    succeeds_later()
    never_succeeds() >> after()
    cluster.expand(bucket=[0, 1, 2])

some_fail()
"""


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    def __init__(self):
        self.posted = []
        super().__init__(("127.0.0.1", 0), self.Handler)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            is_json = self.headers["Content-Type"] == "application/json"
            self.server.posted.append((self.path, json.loads(body) if is_json else body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_): ...


class Mailbox(socketserver.ThreadingTCPServer):
    """As much of an SMTP server as a client needs to leave a message."""

    def __init__(self):
        self.messages = []
        super().__init__(("127.0.0.1", 0), self.Handler)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.say("220 mailbox")
            for line in self.rfile:
                match line.strip().upper()[:4]:
                    case b"DATA":
                        self.say("354 go on")
                        text = b"".join(iter(self.rfile.readline, b".\r\n"))
                        message = message_from_bytes(text, policy=policy.default)
                        self.server.messages.append(message)
                        self.say("250 kept")
                    case b"QUIT":
                        self.say("221 bye")
                        return
                    case _:
                        self.say("250 fine")

        def say(self, text):
            self.wfile.write(text.encode() + b"\r\n")


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def webhook():
    with running(Webhook()) as server:
        yield server


@pytest.fixture
def mailbox():
    with running(Mailbox()) as server:
        yield server


def tell(world, mailbox, webhook_url):
    """Settings and connections as an operator gives them."""
    settings = world.home / "pinnersage.toml"
    if not settings.is_file():
        settings.write_text("")
    smtp = {
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": mailbox.server_address[1],
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "ps@example.org"},
    }
    world.variables |= {
        "PINNERSAGE__ALERTS__CHANNELS": '["webhook", "email", "log"]',
        "PINNERSAGE__ALERTS__EMAIL_TO": '["oncall@example.org"]',
        "AIRFLOW__API__BASE_URL": "https://airflow.example.org/",
        "AIRFLOW_CONN_PINNERSAGE_WEBHOOK": json.dumps({"conn_type": "http", "host": webhook_url}),
        "AIRFLOW_CONN_PINNERSAGE_EMAIL": json.dumps(smtp),
        "AIRFLOW_CONN_A_STORE": json.dumps(
            {"conn_type": "generic", "host": "store", "password": PASSWORD}
        ),
    }


@pytest.mark.slow
def test_one_alert_for_each_task_that_failed_for_good(world, webhook, mailbox):
    port = webhook.server_address[1]
    tell(world, mailbox, f"http://127.0.0.1:{port}/services/T0/B0/x1y2z3")
    folder = world.home / "dags"
    shutil.copytree(ROOT / "dags", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "some_fail.py").write_text(SOME_FAIL)
    world.variables["AIRFLOW__CORE__DAGS_FOLDER"] = str(folder)

    done = world.dags_test("some_fail", DAY, check=False)

    assert done.returncode == 1
    alerts = {facts["task"].partition(" ")[0]: facts for _, facts in webhook.posted}
    assert sorted(alerts) == ["cluster", "never_succeeds"]
    assert len(webhook.posted) == len(mailbox.messages) == 2
    assert {path for path, _ in webhook.posted} == {"/services/T0/B0/x1y2z3"}

    failed = alerts["never_succeeds"]
    assert (failed["dag"], failed["day"]) == ("some_fail", "2020-01-05")
    assert failed["error"] == "ValueError: <b>try after try</b>"
    base = "https://airflow.example.org/dags/some_fail/runs/"
    assert failed["log_url"].startswith(base)
    assert "/tasks/never_succeeds?try_number=2" in failed["log_url"]
    assert failed["run_url"].startswith(base)
    assert "clear the task" in failed["do"]

    bucket = alerts["cluster"]
    assert bucket["task"] == "cluster (bucket 1)"
    assert "bucket 1 is damaged, *** said so." in bucket["error"]
    assert "/tasks/cluster/mapped/1" in bucket["log_url"]

    mails = {mail["Subject"]: mail.get_body(("html",)).get_content() for mail in mailbox.messages}
    mail = mails["[pinnersage] some_fail 2020-01-05: never_succeeds failed"]
    assert "&lt;b&gt;try after try" in mail
    assert {mail["To"] for mail in mailbox.messages} == {"oncall@example.org"}
    assert {mail["From"] for mail in mailbox.messages} == {"ps@example.org"}

    log = (world.airflow_home / "test-run.log").read_text()
    assert log.count("ALERT some_fail 2020-01-05: ") == 2
    everything = json.dumps(webhook.posted) + "".join(map(str, mailbox.messages))
    assert PASSWORD not in everything


@pytest.mark.slow
def test_a_channel_that_fails_keeps_no_other_from_hearing(world, mailbox):
    tell(world, mailbox, "http://127.0.0.1:9/services/T0/B0/x1y2z3")  # nobody listens there

    done = world.dags_test("pinnersage_watch", DAY, check=False)

    assert done.returncode == 1
    (mail,) = mailbox.messages
    assert mail["Subject"].endswith("pinnersage_watch 2020-01-05: freshness failed")
    assert "Nothing is live yet" in mail.get_body(("html",)).get_content()
    log = (world.airflow_home / "test-run.log").read_text()
    assert "Alert channel webhook failed. The alert was" in log
    assert "ALERT pinnersage_watch" in log


@pytest.mark.slow
def test_a_late_release_alerts_once_and_is_measured_in_a_real_worker(
    world, finished_home, webhook, mailbox
):
    shutil.copytree(finished_home, world.home, dirs_exist_ok=True)
    tell(world, mailbox, "http://127.0.0.1:9/services/T0/B0/x1y2z3")
    collector = f"http://127.0.0.1:{webhook.server_address[1]}/v1/metrics"
    world.variables |= {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": collector,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    with world.servers() as servers:
        servers.unpause("pinnersage_watch")
        run = servers.trigger("pinnersage_watch", None)
        assert servers.wait_for_run("pinnersage_watch", run) == "failed"
        servers.until("the alert has come", lambda: list(mailbox.messages), 30)
    (mail,) = [mail for mail in mailbox.messages if quoted(run) in text_of(mail)]
    assert f"The live release is late: {LIVE} is live" in text_of(mail)

    (log,) = (world.airflow_home / "logs").rglob(f"*run_id={run}/**/attempt=*.log")
    assert "Alert channel webhook failed" in log.read_text()
    assert "x1y2z3" not in log.read_text(), "whoever knows the path may post there"

    sent = b"".join(body for path, body in webhook.posted if path == "/v1/metrics")
    for gauge in ("late", "age_hours", "users", "clusters_per_user", "recall"):
        assert f"airflow.pinnersage.live.{gauge}".encode() in sent


def text_of(mail):
    return mail.get_body(("html",)).get_content()


def quoted(run):
    return urllib.parse.quote(run)


PROGRAM = """
import json
from datetime import datetime
from types import SimpleNamespace
import pinnersage_alerts
from pinnersage_alerts import facts_of

run = SimpleNamespace(partition_key="2020-01-05", logical_date=None)
other = SimpleNamespace(
    partition_key=None, logical_date=datetime(2020, 1, 9), run_type="scheduled")
task = SimpleNamespace(dag_id="d", task_id="approve", map_index=-1, log_url="L")
dag = SimpleNamespace(task_ids=["stage", "validate"])
lost = SimpleNamespace(dag_id="d", task_id="cluster", map_index=3, log_url="L")
print(json.dumps([
    facts_of("decision", {"ti": task, "dag": dag, "dag_run": run, "run_id": "a b"}),
    facts_of("failure", {"ti": lost, "dag_run": other, "run_id": "r"}),
    sorted(pinnersage_alerts.CHANNELS),
]))
"""


@pytest.fixture(scope="module")
def said(prepared_airflow):
    return prepared_airflow.python(PROGRAM)


def test_a_day_that_waits_for_a_person_says_what_to_do(said):
    waits = said[0]
    assert waits["title"] == "d 2020-01-05: approve waits for a decision"
    assert waits["error"] == ""
    assert waits["run_url"].endswith("/dags/d/runs/a%20b")
    assert "approve or reject" in waits["text"]
    assert f"Quality report: {waits['run_url']}/plugin/quality-report" in waits["text"]


def test_a_lost_worker_is_told_without_an_error(said):
    lost = said[1]
    assert lost["title"] == "d: cluster (3) failed"
    assert "killed, out of memory, or lost" in lost["text"]
    assert "Quality report" not in lost["text"]


def test_every_channel_of_the_settings_is_there(said):
    from typing import get_args

    from pinnersage.config import AlertConfig

    permitted = get_args(get_args(AlertConfig.model_fields["channels"].annotation)[0])
    assert said[2] == sorted(permitted)


def test_alerts_work_when_another_section_is_wrong(world):
    (world.home / "pinnersage.toml").write_text(
        '[alerts]\nchannels = ["email"]\n[model]\nno_such_key = 1\n'
    )
    told = world.python(
        "import json, pinnersage_alerts as a; print(json.dumps(a.settings().channels))"
    )
    assert told == ["email"]
    (world.home / "pinnersage.toml").write_text("[alerts\n")
    told = world.python(
        "import json, pinnersage_alerts as a; print(json.dumps(a.settings().channels))"
    )
    assert told == ["log"]


def test_every_task_alerts_when_it_fails(prepared_airflow):
    told = prepared_airflow.python("""
import json
from airflow.dag_processing.dagbag import DagBag
def names(calls):
    return [type(call).__name__ for call in (calls if isinstance(calls, list) else [calls])]
print(json.dumps({f"{dag.dag_id}.{task.task_id}": names(task.on_failure_callback)
    for dag in DagBag().dags.values() for task in dag.tasks}))
""")
    assert told
    assert {task: names for task, names in told.items() if names != ["Alert"]} == {}
