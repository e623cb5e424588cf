"""Services under test: their time, their keys, and one in a process of its own."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEYS = {"ann": "a key that may ask", "shop": "a key that may send", "boss": "a key that may order"}


def bearer(name):
    """The header that shows a key."""
    return {"Authorization": f"Bearer {KEYS[name]}"}


class Running(NamedTuple):
    """A service that answers."""

    port: int
    process: subprocess.Popen
    log: Path
    seconds: float
    """From its start to its first answer of a release."""

    def get(self, path, connection=None):
        """Status and body of a question, over a connection of its own or one that stays open."""
        if connection is None:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as own:
                return self.get(path, own)
        connection.request("GET", path, headers=bearer("ann"))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@contextmanager
def running(settings, *, port=None, **environment):
    """A service in a process of its own."""
    port = port or free_port()
    wait_until_free(port)
    variables = os.environ | environment | {"PINNERSAGE_HOME": str(settings.home)}
    command = [sys.executable, "-m", "pinnersage.cli", "serve", "--port", str(port)]
    log = settings.home.parent / f"serve-{port}.log"
    with log.open("ab") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
        try:
            wait_until_ready(port, process, log)
            yield Running(port, process, log, time.monotonic() - began)
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()
                process.wait()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_free(port):
    """Return when a service that was killed has let go of a port."""
    for _ in range(100):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            try:
                connection.connect()
            except OSError:
                return
        time.sleep(0.05)
    raise AssertionError(f"somebody still listens on {port}")


def wait_until_ready(port, process, log):
    """Return when the service answers that a release is live."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise AssertionError(log.read_text())
