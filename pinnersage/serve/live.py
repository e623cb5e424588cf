"""Live: the release that answers, changed under way without a request that notices.

A thread looks at the pointer every ``SECONDS``. A new release is opened beside the old one and
searched once, so that nobody waits for its pages; then it takes over. Requests that have begun end
with the reader they began with, which is closed after the last of them. A release that cannot be
opened leaves the one before it in service, and readiness and metrics say so.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pinnersage import retrieve
from pinnersage.config import Settings
from pinnersage.errors import TransientError
from pinnersage.online.current import warm
from pinnersage.release import Release, Releases
from pinnersage.retrieve import Context, Reader
from pinnersage.serve import metrics

log = logging.getLogger(__name__)

SECONDS = 1.0


class Lease:
    """A reader and how many requests use it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.users = 0
        self.over = False
        """Whether another has taken its place."""


class Live:
    """The live release of a home, open.

    Parameters
    ----------
    settings : Settings
        Of the home.
    context : Context
        What its readers have in common.
    seconds : float
        Between two looks at the pointer.
    """

    def __init__(self, settings: Settings, context: Context, seconds: float = SECONDS) -> None:
        self.settings, self.context = settings, context
        self.problem = ""
        """Why the release that is live is not the one that answers; empty when it is."""
        self._lease: Lease | None = None
        self._guard = threading.Lock()
        self._seconds, self._end = seconds, threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-release", daemon=True)

    def start(self) -> None:
        """Open what is live, then follow the pointer."""
        self._look()
        self._thread.start()

    def close(self) -> None:
        """Stop following; the reader closes when the last request has ended."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._take_over(None)

    @property
    def release(self) -> Release | None:
        """The release that answers; None while there is none."""
        lease = self._lease
        return lease.reader.release if lease else None

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Yield the live release's reader, the same one until the end.

        Raises
        ------
        TransientError
            Nothing is live yet.
        """
        with self._guard:
            lease = self._lease
            if lease is None:
                raise TransientError("Nothing is live yet. Try again later.")
            lease.users += 1
        try:
            yield lease.reader
        finally:
            with self._guard:
                lease.users -= 1
                last = lease.over and not lease.users
            if last:
                lease.reader.close()

    def _follow(self) -> None:
        while not self._end.wait(self._seconds):
            self._look()

    def _look(self) -> None:
        """Let the release that is live now take over, if it is another one."""
        metrics.neighbours(self.context.neighbours.counts)
        metrics.states(self.context.latest)
        try:
            release = Releases(self.settings).live()
            if release is not None and release != self.release:
                self._take_over(Lease(warmed(release, self.settings, self.context)))
                metrics.release(release)
                log.info("Release %s (%s) answers.", release.number, release.medoids.day)
            self.problem = "" if release else "nothing is live yet"
        except Exception as error:
            # Whatever it is, the release before answers, this thread lives, and both are told.
            if str(error) != self.problem:
                log.exception("The live release cannot be opened; the one before it answers.")
            self.problem = str(error) or type(error).__name__
            metrics.failed_to_open()

    def _take_over(self, lease: Lease | None) -> None:
        with self._guard:
            old, self._lease = self._lease, lease
            if old is None:
                return
            old.over = True
            unused = not old.users
        if unused:
            old.reader.close()


def warmed(release: Release, settings: Settings, context: Context) -> Reader:
    """Open a release, search and update once, so that no request waits for pages or for code."""
    reader = retrieve.open_release(release, settings, context)
    with ExitStack() as opened:
        opened.enter_context(reader)
        if reader.index is not None:
            for pin in reader.popular()[:1]:
                reader.similar(pin)
        warm(reader.embeddings)
        opened.pop_all()
    return reader
