"""Run: uvicorn with our settings; one process, or several that share a port.

It stops on SIGTERM or SIGINT: no new request, then as long as ``service.stop_seconds`` for those
under way.
"""

import os
import signal
import threading
import time
from contextlib import ExitStack
from typing import Any

import uvicorn

from pinnersage.config import Settings
from pinnersage.stores.disk import aside

SUPERVISOR = "PINNERSAGE_SERVE_SUPERVISOR"
"""Where workers find the process that started them."""
FACTORY = "pinnersage.serve.app:from_environment"
LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {name: {"level": "INFO"} for name in ("pinnersage", "uvicorn", "uvicorn.error")},
}


def run(settings: Settings) -> None:
    """Serve until told to stop."""
    service = settings.service
    os.environ["PINNERSAGE_HOME"] = str(settings.home)  # workers read it, and the settings there
    with ExitStack() as opened:
        if service.workers > 1:
            # Of this process alone; what one that was killed left is swept by the next.
            counted = opened.enter_context(aside(settings.home / "service"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counted.path)
            os.environ[SUPERVISOR] = str(os.getpid())
        uvicorn.run(
            FACTORY,
            factory=True,
            host=service.host,
            port=service.port,
            workers=service.workers,
            access_log=False,  # it would write users' ids
            log_config=LOG,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=service.stop_seconds,
        )


def end_with_supervisor() -> None:
    """Stop this worker when the process that started it is killed: it would hold the port."""
    supervisor = os.environ.get(SUPERVISOR, "")
    if supervisor:
        threading.Thread(target=_end_after, args=(int(supervisor),), daemon=True).start()


def _end_after(supervisor: int) -> None:
    while os.getppid() == supervisor:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
