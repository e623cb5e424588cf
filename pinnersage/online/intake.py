"""Intake: events into the states of their users, whatever brought them.

Each event ends in one verdict: ``kept`` (an interest; also one that newer ones push out at once),
``not_interest`` (known, and of no use here), or a reason of ``events.REASONS``. What a call has
taken is safe when it returns; taking it again changes nothing but the journal, whose readers count
an event once.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from prometheus_client import Counter

from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.online import events, state
from pinnersage.online.events import Event, NotTakenError
from pinnersage.online.state import Action
from pinnersage.parked import users_in
from pinnersage.schema import IdType
from pinnersage.stores.packing import key_of
from pinnersage.stores.states import States

log = logging.getLogger(__name__)

DAMAGED = Counter(
    "pinnersage_online_damaged_states", "Reads of an online state that was damaged, so empty."
)

_said = threading.Event()
"""Whether this process said that a state was damaged."""

Known = Callable[[Collection[str]], Collection[str]]
"""Those of some pins, as text, that have an embedding in the live release."""
Erased = Callable[[str], bool]
"""Whether a user is erased."""


class Verdict(NamedTuple):
    """What became of one event."""

    word: str
    """``kept``, ``not_interest`` or one of ``events.REASONS``."""
    says: str = ""
    """Why it was refused; empty when it was not."""

    @property
    def refused(self) -> bool:
        """Whether the event was refused."""
        return self.word in events.REASONS


_ERASED = Verdict("erased_user", events.REASONS["erased_user"])


class Intake:
    """Takes events into the states of one home.

    Parameters
    ----------
    settings : Settings
    ids : tuple of IdType
        Types of the lake's user and pin ids.
    states : States
    known : callable
        See ``Known``.
    erased : callable
        See ``Erased``.
    """

    def __init__(
        self,
        settings: Settings,
        ids: tuple[IdType, IdType],
        states: States,
        known: Known,
        erased: Erased,
    ) -> None:
        self.settings, self.ids, self.states = settings, ids, states
        self.known, self.erased = known, erased

    def take(self, given: Sequence[bytes], now: datetime) -> list[Verdict]:
        """Take events, each as JSON; return a verdict for each, in their order.

        Raises
        ------
        TransientError
            The store is away; nothing of the call was taken, and taking it again is right.
        """
        found = [self._parsed(data, now) for data in given]
        pins = {one.pin_id for one in found if isinstance(one, Event)}
        known = set(self.known(sorted(map(str, pins)))) if pins else set()
        verdicts = [one if isinstance(one, Verdict) else self._verdict(one, known) for one in found]
        self._keep(
            [
                (one, verdict)
                for one, verdict in zip(found, verdicts, strict=True)
                if isinstance(one, Event) and not verdict.refused
            ]
        )
        return verdicts

    def _parsed(self, data: bytes, now: datetime) -> Event | Verdict:
        try:
            event = events.parsed(data, *self.ids)
            events.check_time(event, now, self.settings.online)
        except NotTakenError as error:
            # What is refused is parked, but nothing of a user who is erased.
            if any(self.erased(user) for user in users_in(data)):
                return _ERASED
            return Verdict(error.reason, str(error))
        return event

    def _verdict(self, event: Event, known: set[str]) -> Verdict:
        if self.erased(str(event.user_id)):
            return _ERASED
        if event.pin_id not in known:
            return Verdict("unknown_pin", events.REASONS["unknown_pin"])
        interest = events.is_interest(event, self.settings.source.interest_actions)
        return Verdict("kept" if interest else "not_interest")

    def _keep(self, taken: Sequence[tuple[Event, Verdict]]) -> None:
        """Merge what was taken into the states, and add feedback to the journal."""
        of_user: dict[bytes, list[Action]] = defaultdict(list)
        for event, verdict in taken:
            if verdict.word == "kept":
                action = Action(event.acted_us, str(event.pin_id), state.event_of(event.name))
                of_user[key_of(str(event.user_id))].append(action)
        journal = [
            event.model_copy(update={"event_id": event.name}).model_dump_json().encode()
            for event, _ in taken
            if event.release is not None
        ]
        most = self.settings.online.max_actions

        def change(values: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
            return {
                key: state.pack(state.merged(unpacked(value), of_user[key], most))
                for key, value in values.items()
            }

        if of_user or journal:
            self.states.change(sorted(of_user), change, journal)


def unpacked(value: bytes | None) -> state.State:
    """Return the state of a stored value; that of a user without one is empty.

    One that is damaged counts as empty, so that it stops neither a stream nor an answer: it is
    counted, and said once in a process. What comes next of its user replaces it.
    """
    if value is None:
        return ()
    try:
        return state.unpack(value)
    except DataError as error:
        DAMAGED.inc()
        if not _said.is_set():
            _said.set()
            # No traceback: it would say no more.
            log.error("%s It counts as empty; others like it are only counted.", error)  # noqa: TRY400
        return ()
