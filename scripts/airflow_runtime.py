"""Airflow on this machine: prepare it, start it, stop it, run one day by hand.

    python scripts/airflow_runtime.py prepare            secrets, database, pools; once
    python scripts/airflow_runtime.py up [--port N]      start in the background, wait for health
    python scripts/airflow_runtime.py down | status
    python scripts/airflow_runtime.py test-run DAG DAY   one run in this terminal, without servers
    python scripts/airflow_runtime.py worker [ARGS...]   run tasks of CeleryExecutor, until stopped
    python scripts/airflow_runtime.py airflow ARGS...    any Airflow command, in this environment

Everything lives under ``$PINNERSAGE_HOME/airflow`` (default ``.demo/home`` in the checkout).
``up`` starts the components, and ``pinnersage serve`` beside them, in a session of their own.
Airflow moves each task into a process group of its own, so ``down`` ends what belongs to the
session, not only to one group.
"""

import argparse
import ast
import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
AIRFLOW = Path(sys.executable).with_name("airflow")
PINNERSAGE = Path(sys.executable).with_name("pinnersage")
SERVICE = "PINNERSAGE_UP_SERVICE"
"""Tells the components the service's port."""

CORES = os.cpu_count() or 1
# Several machines together have more cores than this one: the variable says how many.
SLOTS = int(os.environ.get("PINNERSAGE_COMPUTE_SLOTS") or CORES)
POOLS = {
    "pinnersage_compute": (SLOTS, "Tasks that fill a core; a slot a core of all machines"),
    "pinnersage_publish": (1, "Writes to the stores and moves of the live release: one at a time"),
}
# Two more tasks than fill a core may be starting, publishing or waiting meanwhile.
LIMITS = ("AIRFLOW__CORE__PARALLELISM", "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG")
# The log servers are left out since they listen on every address, and the API server reads the
# same disk. No triggerer: nothing here defers (a task that waits for a person needs none).
COMPONENTS = (["api-server"], ["scheduler", "--skip-serve-logs"], ["dag-processor"])
WORKER = (
    *("celery", "worker", "--skip-serve-logs"),
    *("--queues", "compute,publish,default", "--concurrency", str(CORES)),
)
# What Airflow's own code warns of at every start, on a machine without graphviz.
QUIET = (
    "ignore::DeprecationWarning,"
    "ignore::UserWarning:airflow.cli.commands.dag_command,"
    "ignore::UserWarning:fastapi.testclient"
)
DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
HEALTHY = ("metadatabase", "scheduler", "dag_processor")

# What `airflow dags test` prints of interest.
STARTS = re.compile(r"\[DAG TEST\] starting task_id=(?P<task>\S+) map_index=(?:-1|(?P<index>\d+))")
RETURNS = re.compile(r"Done\. Returned value was: (?P<report>.*?)(?: \[airflow\.task.*)?$")
FAILS = re.compile(r"[\w.]+(?:Error|Exception): ")

# Runs inside Airflow's interpreter: starting its command line once costs seconds. A pool keeps
# the size that a person gave it: one that is neither ours of now nor ours of last time.
MIGRATE = """
import json, sys
from airflow.models.pool import Pool
from airflow.utils.db import initdb
initdb()
pools, before = map(json.loads, sys.argv[1:])
for name, (slots, description) in pools.items():
    pool = Pool.get_pool(name)
    if pool is None or pool.slots == before.get(name, [None])[0]:
        Pool.create_or_update_pool(name, slots, description, include_deferred=False)
"""


def environment() -> dict[str, str]:
    """Variables that every Airflow process needs; the caller's own win for single settings."""
    home = Path(os.environ.get("PINNERSAGE_HOME") or ROOT / ".demo" / "home").resolve()
    return (
        dict.fromkeys(LIMITS, str(SLOTS + 2))
        | os.environ
        | {
            "PINNERSAGE_ROOT": str(ROOT),
            "PINNERSAGE_HOME": str(home),
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
            "PATH": f"{AIRFLOW.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS") or QUIET,
        }
    )


# --- prepare ---------------------------------------------------------------------------------


def prepare(env: dict[str, str]) -> None:
    """Make secrets, passwords, database and pools, each once; two callers wait for each other."""
    home = Path(env["AIRFLOW_HOME"])
    os.umask(0o077)
    (home / "secrets").mkdir(parents=True, exist_ok=True)
    with locked(home / "prepare.lock"):
        make_secrets(home / "secrets")
        wanted = {
            "airflow": version("apache-airflow-core"),
            "database": hashlib.sha256(env.get(DATABASE, "").encode()).hexdigest(),
            "pools": POOLS,
        }
        stamp, text = home / "prepared.json", json.dumps(wanted, indent=1)
        there = DATABASE in env or (home / "airflow.db").exists()
        if there and stamp.exists() and stamp.read_text() == text:
            return
        print("Airflow: preparing its database (once, some seconds)", flush=True)
        before = json.loads(stamp.read_text())["pools"] if stamp.exists() else {}
        log = home / "prepare.log"
        with log.open("w") as out:
            child = [sys.executable, "-c", MIGRATE, json.dumps(POOLS), json.dumps(before)]
            done = subprocess.run(child, env=env, stdout=out, stderr=out, check=False)
        if done.returncode:
            raise SystemExit(f"Airflow's database could not be prepared. Log: {log}\n{tail(log)}")
        stamp.write_text(text)


def make_secrets(folder: Path) -> None:
    """Make what is not there yet; a secret that is there stays."""
    keep(folder / "jwt_secret", lambda: secrets.token_urlsafe(48))
    keep(folder / "api_secret_key", lambda: secrets.token_urlsafe(48))
    keep(folder / "fernet_key", lambda: base64.urlsafe_b64encode(os.urandom(32)).decode())
    users = {user: secrets.token_urlsafe(16) for user in ("admin", "viewer")}
    keep(folder / "passwords.json", lambda: json.dumps(users) + "\n")


def keep(path: Path, make: Callable[[], str]) -> None:
    """Write what ``make`` returns, unless the file is there."""
    if not path.exists():
        path.write_text(make())


# --- up and down -----------------------------------------------------------------------------


def up(env: dict[str, str], port: int | None, service: int | None, patience: float) -> None:
    """Start the components, wait until all are healthy, and say where everything is."""
    prepare(env)
    home = Path(env["AIRFLOW_HOME"])
    with locked(home / "up.lock"):
        record = running(home)
        if record is None:
            record = start(env, port, service)
        await_health(home, record, patience)
    print(f"Airflow is up:  http://127.0.0.1:{record['port']}")
    print(f"  log in as     admin or viewer; passwords in {home}/secrets/passwords.json")
    print(f"  log           {record['log']}")
    if env.get("AIRFLOW__CORE__EXECUTOR") == "CeleryExecutor":
        print("  workers       on each machine: scripts/airflow_runtime.py worker")
    if record.get("service"):
        print(f"Service is up:  http://127.0.0.1:{record['service']}")
        print(f"  log in with   the key in {home}/secrets/service_key")
    print("  stop          make down")


def start(env: dict[str, str], port: int | None, service: int | None) -> dict[str, Any]:
    """Start the components in a session of their own; returns and leaves its record."""
    home = Path(env["AIRFLOW_HOME"])
    port = port or free_port()
    service = (service or free_port(8100, 8199)) if may_serve(env) else 0
    log = home / "up.log"
    env = env | {
        SERVICE: str(service),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        # Where people open it: alerts link there.
        "AIRFLOW__API__BASE_URL": env.get("AIRFLOW__API__BASE_URL") or f"http://127.0.0.1:{port}",
    }
    with log.open("w") as out:
        leader = subprocess.Popen(
            [sys.executable, __file__, "components"],
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    started = process(leader.pid)["started"]
    record = {
        "pid": leader.pid,
        "started": started,
        "boot": boot(),
        "port": port,
        "service": service,
        "log": str(log),
    }
    (home / "up.json").write_text(json.dumps(record))
    return record


def may_serve(env: dict[str, str]) -> bool:
    """Tell whether there is what can be served, and see to a key for whoever reads the secrets.

    Whoever has no settings yet has nothing to serve: ``pinnersage init`` makes them.
    """
    home, secret = Path(env["PINNERSAGE_HOME"]), Path(env["AIRFLOW_HOME"]) / "secrets/service_key"
    if not (home / "pinnersage.toml").is_file():
        return False
    if not secret.exists():
        command = [str(PINNERSAGE), "add-key", f"make-up-{secrets.token_hex(3)}"]
        made = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if made.returncode:
            raise SystemExit(made.stderr.strip())
        secret.write_text(made.stdout.strip() + "\n")
    return True


def components() -> None:
    """Run the components until told to stop, or until one of them ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    children = {name[0]: subprocess.Popen([AIRFLOW, *name]) for name in COMPONENTS}
    port = os.environ.get(SERVICE, "0")
    if port != "0":
        children["serve"] = subprocess.Popen([PINNERSAGE, "serve", "--port", port])
    try:
        while all(child.poll() is None for child in children.values()):
            time.sleep(0.5)
        ended = {name: child.returncode for name, child in children.items() if child.poll()}
        print(f"A component ended, so all stop: {ended}", flush=True)
    finally:
        for child in children.values():
            child.terminate()
        for child in children.values():
            child.wait()


def await_health(home: Path, record: dict[str, Any], patience: float) -> None:
    """Return when all components are healthy; say why if they will not be."""
    until = time.monotonic() + patience
    while not healthy(record["port"]):
        if running(home) is None:
            raise SystemExit(f"Airflow ended while starting:\n{tail(Path(record['log']))}")
        if time.monotonic() > until:
            raise SystemExit(f"Airflow is not healthy after {patience:.0f} s. Log: {record['log']}")
        time.sleep(0.5)


def healthy(port: int) -> bool:
    """Tell whether the API server answers and reports every component healthy."""
    url = f"http://127.0.0.1:{port}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            report = json.load(answer)
    except (OSError, urllib.error.URLError, ValueError):
        return False
    return all(report[part]["status"] == "healthy" for part in HEALTHY)


def down(env: dict[str, str]) -> None:
    """End the session that ``up`` started, and nothing else."""
    home = Path(env["AIRFLOW_HOME"])
    record = recorded(home)
    members = session(record) if record else []
    if not members:
        print("Airflow is not running.")
    else:
        # The leader asks its components to end. The scheduler would wait for running tasks, so
        # what is left is asked too, then ended; Airflow tries those tasks again after `up`.
        finish(record, signal.SIGTERM, members[:1], 10)
        finish(record, signal.SIGTERM, session(record), 5)
        finish(record, signal.SIGKILL, session(record), 5)
        left = session(record)
        if left:
            raise SystemExit(f"Airflow: processes {left} do not end.")
        print(f"Airflow is down ({len(members)} processes ended).")
    (home / "up.json").unlink(missing_ok=True)


def finish(record: dict[str, Any], how: signal.Signals, pids: list[int], patience: float) -> None:
    """Signal ``pids`` and wait until the session is empty, or patience ends."""
    for pid in pids:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            continue
    until = time.monotonic() + patience
    while pids and session(record) and time.monotonic() < until:
        time.sleep(0.1)


def status(env: dict[str, str]) -> None:
    """Print whether it runs and where; exit code 1 if it does not."""
    home = Path(env["AIRFLOW_HOME"])
    record = running(home)
    if record is None:
        raise SystemExit("Airflow is not running.")
    state = "healthy" if healthy(record["port"]) else "not healthy"
    print(f"Airflow is running, {state}: http://127.0.0.1:{record['port']}  (log {record['log']})")
    if record.get("service"):
        print(f"The service is at http://127.0.0.1:{record['service']}")


# --- commands --------------------------------------------------------------------------------


def become(env: dict[str, str], command: str, *args: str) -> None:
    """Become an Airflow command, or a Celery worker for all queues with a task a core.

    What is said last wins, so ``args`` may give a worker other queues or another concurrency. A
    worker prepares nothing: that is the work of the machine with the scheduler.
    """
    if command == "worker":
        args = (*WORKER, *args)
    else:
        prepare(env)
    os.execve(AIRFLOW, [str(AIRFLOW), *args], env)  # noqa: S606 (no shell is wanted)


def test_run(env: dict[str, str], dag: str, day: str) -> None:
    """Run one day in this terminal: a line a task and its report; all the rest into a log."""
    prepare(env)
    log = Path(env["AIRFLOW_HOME"]) / "test-run.log"
    print(f"Airflow runs {dag} for {day}; log {log}", flush=True)
    began, task, error = time.monotonic(), "", ""
    command = [AIRFLOW, "dags", "test", dag, day]
    with (
        log.open("w") as out,
        subprocess.Popen(
            command,
            env=env | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child,
    ):
        for line in child.stdout or ():
            out.write(line)
            if starts := STARTS.search(line):
                task = starts["task"] + (f"[{starts['index']}]" if starts["index"] else "")
            elif (returns := RETURNS.search(line)) and returns["report"] != "None":
                print(f"  {task:12} {brief(returns['report'])}", flush=True)
            elif FAILS.match(line):
                error = line
    if child.returncode:
        raise SystemExit(f"  {task:12} failed: {error or 'see the log'}")
    print(f"Done in {time.monotonic() - began:.0f} s.")


def brief(report: str) -> str:
    """A task's report in a line: its counts and words; the log has all of it."""
    try:
        facts = ast.literal_eval(report)
    except (ValueError, SyntaxError):
        return report
    if not isinstance(facts, dict):
        return report
    shown = []
    for name, value in facts.items():
        if isinstance(value, dict | list) or name in {"day", "version", "content_hash", "page"}:
            continue
        number = isinstance(value, int) and not isinstance(value, bool)
        shown.append(f"{name.replace('_', ' ')} {f'{value:,}' if number else value}")
    return ", ".join(shown)


# --- whose processes -------------------------------------------------------------------------


def recorded(home: Path) -> dict[str, Any] | None:
    """Record that ``up`` left, whether or not it is true still."""
    path = home / "up.json"
    return json.loads(path.read_text()) if path.exists() else None


def running(home: Path) -> dict[str, Any] | None:
    """Record of the session that ``up`` started, if its leader is alive."""
    record = recorded(home)
    return record if record and record["pid"] in session(record) else None


def session(record: dict[str, Any]) -> list[int]:
    """Processes of the recorded session, its leader first.

    A process id is used again after its process has ended, but never while a session of that
    number has members. So a leader that started at another time means that ours is all gone.
    """
    leader = process(record["pid"])
    if record["boot"] != boot() or (leader and leader["started"] != record["started"]):
        return []
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = [pid for pid in pids if process(pid).get("session") == record["pid"]]
    return sorted(found, key=lambda pid: (pid != record["pid"], pid))


def process(pid: int) -> dict[str, int]:
    """Session and start time (in ticks since boot) of a live process; empty if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return {} if fields[0] in "ZX" else {"session": int(fields[3]), "started": int(fields[19])}


def boot() -> str:
    """Identity of this boot: process ids and start times mean nothing after it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# --- small things ----------------------------------------------------------------------------


def free_port(first: int = 8080, last: int = 8099) -> int:
    """First port of the range that nothing listens on."""
    for port in range(first, last + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"No free port between {first} and {last}; name one (--port, --service-port).")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of ``path``; waits for whoever has it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tail(path: Path, lines: int = 20) -> str:
    """Last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def main() -> None:
    """Read the command and do it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("prepare", "down", "status", "components"):
        commands.add_parser(name)
    starting = commands.add_parser("up")
    starting.add_argument("--port", type=int, help="default: the first free one from 8080")
    starting.add_argument("--service-port", type=int, help="default: the first free one from 8100")
    starting.add_argument("--patience", type=float, default=180, help="seconds to wait for health")
    testing = commands.add_parser("test-run")
    testing.add_argument("dag")
    testing.add_argument("day", help="such as 2020-01-05: the day that is computed")
    for name in ("airflow", "worker"):
        # No option of ours: what begins with a hyphen is handed on.
        handing_on = commands.add_parser(name, add_help=False, prefix_chars="+")
        handing_on.add_argument("args", nargs=argparse.REMAINDER)
    args = parser.parse_args()

    env = environment()
    match args.command:
        case "prepare":
            prepare(env)
        case "up":
            up(env, args.port, args.service_port, args.patience)
        case "components":
            components()
        case "down":
            down(env)
        case "status":
            status(env)
        case "test-run":
            test_run(env, args.dag, args.day)
        case "airflow" | "worker" as command:
            become(env, command, *args.args)


if __name__ == "__main__":
    main()
