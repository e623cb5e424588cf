"""Running: an experiment while it runs: which arm a user is in, and what they were shown.

    with Running(settings) as experiment:
        member = experiment.member(user)
        made = reader.recommend(user, wishes=wishes(member))
        if member and made:
            experiment.shown(member, made, shown_at)

Whoever recommends never waits for the lake: exposures gather in memory, and a thread writes them
every ``SECONDS``, or as soon as ``BATCH`` of them wait. What cannot be written waits for the next
time; when ``MOST`` wait, those that come are lost. What is lost is counted and logged: it leaves
users out of the analysis, in all arms alike. A process that is killed loses what it had gathered.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Self

import pyarrow as pa

from pinnersage.config import Arm, Settings
from pinnersage.errors import RefusedError
from pinnersage.experiment import assign, exposures
from pinnersage.experiment.exposures import Exposure
from pinnersage.retrieve import Recommendation, Wishes
from pinnersage.stores import open_lake
from pinnersage.takedown import canonical_id

log = logging.getLogger(__name__)

RUNBOOK = "See runbook: exposures not written."
SECONDS = 30.0
BATCH = 2_000
MOST = 10_000
"""Exposures that wait at most: 50 to 100 MB of 400 candidates each."""


@dataclass(frozen=True)
class Popular:
    """What a user of whom nothing is known is recommended."""

    release: int
    draw: int
    pin_ids: list[int | str]
    medoids: tuple[()] = ()

    @property
    def brought_by(self) -> list[int]:
        """No medoid brought any of them."""
        return [exposures.POPULAR] * len(self.pin_ids)


def nobody(_n: int) -> None:
    """Tell nobody."""


class Member(NamedTuple):
    """A user who takes part."""

    user_id: int | str
    """As the lake has it."""
    arm: Arm


class Running:
    """The experiment that the settings name, running in this process; threads may share it.

    Parameters
    ----------
    settings : Settings
        With an experiment.
    written, lost : callable
        Told how many exposures went into the lake, and how many will not.
    seconds : float
        Between two writes.
    """

    def __init__(
        self,
        settings: Settings,
        written: Callable[[int], None] = nobody,
        lost: Callable[[int], None] = nobody,
        seconds: float = SECONDS,
    ) -> None:
        self.config = settings.experiment
        self._settings, self._written, self._lost = settings, written, lost
        layout = open_lake(settings).layout
        self._user_type, self._pin_type = layout.user_id, pa.type_for_alias(layout.pin_id)
        self._waiting: list[Exposure] = []
        self._over = 0
        """Lost for want of room since the last write; the log is told once a write."""
        self._guard, self._writing = threading.Lock(), threading.Lock()
        self._seconds, self._wake, self._end = seconds, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="write-exposures", daemon=True)

    def member(self, user_id: int | str) -> Member | None:
        """Return a user and their arm; None for one in no arm, or what cannot be a user's id."""
        try:
            text = canonical_id(str(user_id), self._user_type, "user")
        except RefusedError:
            return None
        arm = assign.arm_of(self.config, text)
        own = int(text) if self._user_type == "int64" else text
        return None if arm is None else Member(own, arm)

    def shown(self, who: Member, made: Recommendation | Popular, shown_at: datetime) -> None:
        """Note what a user was shown; it is written later, by another thread."""
        arm = who.arm
        self._note(
            Exposure(
                shown_at, self.config.name, who.user_id, arm.name, arm.share, made.release,
                made.draw, made.medoids, pa.array(made.pin_ids, self._pin_type),
                pa.array(made.brought_by, pa.int32()),
            )
        )  # fmt: skip

    def _note(self, one: Exposure) -> None:
        with self._guard:
            fits = len(self._waiting) < MOST
            if fits:
                self._waiting.append(one)
            if len(self._waiting) == BATCH:  # at more, a write has failed: the clock tries again
                self._wake.set()
            self._over += not fits
        if not fits:
            self._lost(1)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits; what cannot be written now is lost, counted and logged."""
        self._end.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.flush()
        with self._guard:
            left, self._waiting = len(self._waiting), []
            over, self._over = self._over, 0
        if left:
            self._lost(left)
            log.error("%s exposures are lost: they could not be written. %s", left + over, RUNBOOK)

    def flush(self) -> None:
        """Write what waits now; if that fails it waits on."""
        with self._writing:
            with self._guard:
                batch, self._waiting = self._waiting, []
                over, self._over = self._over, 0
            if over:
                log.error("%s exposures are lost: %s waited already. %s", over, MOST, RUNBOOK)
            if not batch:
                return
            try:
                self._written(exposures.append(batch, self._settings))
            except Exception:
                # Whatever it is, recommendations go on, this thread lives, and the log is told.
                log.exception("%s exposures cannot be written now. %s", len(batch), RUNBOOK)
                with self._guard:
                    self._waiting = batch + self._waiting
                    too_many = len(self._waiting) - MOST
                    del self._waiting[MOST:]
                    self._over += max(0, too_many)
                self._lost(max(0, too_many))

    def _write(self) -> None:
        while not self._end.is_set():
            self._wake.wait(self._seconds)
            self._wake.clear()
            self.flush()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def wishes(who: Member | None) -> Wishes:
    """Return what a user's arm wants otherwise than the settings say."""
    return Wishes(allocation=who.arm.allocation, n_medoids=who.arm.n_medoids) if who else Wishes()
