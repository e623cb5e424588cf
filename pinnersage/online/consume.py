"""Consume: the loop around a source: receive, take, settle.

A batch is settled when the states hold it, so whatever ends the process, what it had in hand comes
again, and taking it again changes nothing. A bad event is parked with its reason and stops nobody.
A server that is away is waited for, as long as it takes, and said once.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pinnersage import erased
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, PinnerSageError, TransientError
from pinnersage.online.feedback import Flushing
from pinnersage.online.intake import Intake
from pinnersage.online.known import KnownPins
from pinnersage.online.sources import Delivery, Refusal, Source, open_source
from pinnersage.stores import open_lake, open_states

log = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""Longest wait for events, and so for noticing that it is to stop."""
ALIVE_SECONDS = 10.0
"""Between two signs of life for a probe."""
REPORT_SECONDS = 60.0
"""Between two lines in the log that say what was done."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Between two tries of a server that is away; each is twice the one before."""


@dataclass
class Counts:
    """What a consumer did since it was started."""

    events: Counter[str] = field(default_factory=Counter)
    """By verdict: see ``intake.Verdict``. One that came twice counts twice."""
    batches: int = 0
    outages: int = 0

    def says(self) -> str:
        """Return the counts as a line."""
        parts = [f"{word} {count:,}" for word, count in sorted(self.events.items())]
        return ", ".join(parts) or "no events"


def run(
    source: Source,
    intake: Intake,
    clock: Callable[[], datetime],
    stop: Callable[[], bool],
    told: Callable[[Counts], object],
    *,
    until_empty: bool = False,
) -> Counts:
    """Consume until told to stop, after the batch in hand; return the counts.

    Parameters
    ----------
    source : Source
    intake : Intake
    clock : callable
        What time it is, with a time zone.
    stop : callable
        Whether it is to end.
    told : callable
        Called with the counts after each look at the source. What it cannot do is said in the log.
    until_empty : bool
        End also when nothing waits any more.

    Raises
    ------
    DataError, ConfigError
        Something a person must mend: what was in hand comes again.
    """
    counts, outage = Counts(), _Outage(stop)
    while not stop():
        try:
            received = source.receive(intake.settings.online.batch, WAIT_SECONDS)
            if received:
                _take(received, source, intake, clock(), counts)
            elif until_empty and not source.waiting():
                break
        except TransientError as error:
            counts.outages += outage.lasts(error)
        else:
            outage.over()
            _tell(told, counts)
    return counts


def work(
    settings: Settings,
    clock: Callable[[], datetime],
    stop: Callable[[], bool],
    told: Callable[[Counts], object],
    *,
    until_empty: bool = False,
) -> Counts:
    """Consume from the source into the states that the settings choose; see ``run``."""
    lake = open_lake(settings)
    ids = (lake.layout.user_id, lake.layout.pin_id)
    watch = erased.Watch(erased.record_of(settings))
    known = KnownPins(settings)
    with closing(open_source(settings)) as source, open_states(settings) as states:
        intake = Intake(settings, ids, states, known.among, watch.has)
        report = Every(REPORT_SECONDS, lambda counts: _report(source, counts))

        def after_each(counts: Counts) -> None:
            told(counts)
            report(counts)

        log.info("Consuming from %s.", settings.online.source)
        with Flushing(states, settings):
            counts = run(source, intake, clock, stop, after_each, until_empty=until_empty)
        log.info("Ended: %s.", counts.says())
    return counts


def touch(alive: Path) -> None:
    """Make a file as old as now: a probe looks how old it is."""
    try:
        alive.touch()
    except OSError as error:
        raise ConfigError(
            f"{alive} cannot be touched: {error.strerror}. Probes of this consumer will fail. "
            "Name a file of its own."
        ) from error


def _tell(told: Callable[[Counts], object], counts: Counts) -> None:
    try:
        told(counts)
    except PinnerSageError as error:
        log.warning("%s", error)


def _report(source: Source, counts: Counts) -> None:
    log.info("%s; %s wait.", counts.says(), f"{source.waiting():,}")


def _take(
    received: list[Delivery], source: Source, intake: Intake, now: datetime, counts: Counts
) -> None:
    verdicts = intake.take([delivery.data for delivery in received], now)
    pairs = zip(received, verdicts, strict=True)
    refused = [
        Refusal(one, verdict.word, verdict.says) for one, verdict in pairs if verdict.refused
    ]
    source.settle(received, refused)
    counts.events.update(verdict.word for verdict in verdicts)
    counts.batches += 1


class _Outage:
    """Something is away: it is said once, and waited for longer each time."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop, self._pause = stop, 0.0

    def lasts(self, error: TransientError) -> bool:
        """Wait, unless it is to stop; return whether the outage is a new one."""
        new = not self._pause
        if new:
            log.warning("%s It is tried again until it answers.", error)
        self._pause = min(max(2 * self._pause, SHORTEST_PAUSE), LONGEST_PAUSE)
        left = self._pause
        while left > 0 and not self._stop():
            time.sleep(min(left, SHORTEST_PAUSE))
            left -= SHORTEST_PAUSE
        return new

    def over(self) -> None:
        """Say that it is over, if there was one."""
        if self._pause:
            log.warning("It answers again.")
        self._pause = 0.0


class Every:
    """Something that is done now and then beside the loop, and never stops it.

    Parameters
    ----------
    seconds : float
        Least time from one to the next; the first comes after as long.
    does : callable
        What is done with the counts.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        seconds: float,
        does: Callable[[Counts], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._does, self._clock = seconds, does, clock
        self._done = clock()

    def __call__(self, counts: Counts) -> None:
        """Do it if it is due."""
        if self._clock() - self._done >= self._seconds:
            self.now(counts)

    def now(self, counts: Counts) -> None:
        """Do it; what fails is said, and tried again when it is due next."""
        self._done = self._clock()
        _tell(self._does, counts)
