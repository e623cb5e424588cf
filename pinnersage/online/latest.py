"""Latest: users' states as readers need them, whatever is wrong with the store.

What users did today makes an answer better; it must not take one away. A store that does not answer
costs a reader what was done since the release, never the answer: it is counted and logged, and for
``PAUSE`` seconds it is not asked again. A state that is damaged counts as empty (``intake``).
"""

import logging
import threading
import time
from collections.abc import Callable

from pinnersage.errors import PinnerSageError
from pinnersage.online.intake import unpacked
from pinnersage.online.state import State
from pinnersage.stores.packing import key_of
from pinnersage.stores.states import States

log = logging.getLogger(__name__)

RUNBOOK = "See runbook: online states away."
PAUSE = 5.0
"""Seconds that a store which did not answer is left alone."""


class Latest:
    """The latest actions of the users of one home; threads may share it.

    Parameters
    ----------
    open_states : callable
        Opens the store; called at the first question, and again after it failed.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self, open_states: Callable[[], States], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.failures = 0
        """Times that the store did not answer."""
        self._open, self._clock = open_states, clock
        self._states: States | None = None
        self._guard = threading.Lock()
        self._paused_until: float | None = None
        """When the store may be asked again; None while it answers."""
        self._said = float("-inf")

    def of(self, user_id: int | str) -> State | None:
        """Return a user's state; None while the store does not answer."""
        key = key_of(user_id)
        if not self._may_ask():
            return None
        try:
            (value,) = self.states().get_many([key])
        except PinnerSageError as error:
            self._failed(error)
            return None
        self._paused_until = None
        return unpacked(value)

    def _may_ask(self) -> bool:
        """Tell whether the store may be asked: when a pause ends, by one thread alone."""
        with self._guard:
            now = self._clock()
            if self._paused_until is None:
                return True
            due = now >= self._paused_until
            if due:
                self._paused_until = now + PAUSE
            return due

    def _failed(self, error: PinnerSageError) -> None:
        """Leave the store alone for a while; said and counted once a pause."""
        with self._guard:
            new = self._clock() >= self._said + PAUSE
            self._paused_until = self._clock() + PAUSE
            if new:
                self._said = self._clock()
                self.failures += 1
        if new:
            log.warning("Answers know nothing of today: %s %s", error, RUNBOOK)

    def states(self) -> States:
        """Return the store, open.

        Raises
        ------
        TransientError
            It is away.
        """
        with self._guard:
            if self._states is None:
                self._states = self._open()
            return self._states

    def close(self) -> None:
        """Let go of the store."""
        with self._guard:
            states, self._states = self._states, None
        if states is not None:
            states.close()
