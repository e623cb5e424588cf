"""Inbox: events that are posted, each judged alone; taken into the states, or handed on.

Where ``online.source`` is ``http`` an event that was not refused is safe in the state of its user
when the answer comes, and the next question sees it. Else it lies where consumers receive it, and
they see to the rest. To post again what may have been taken is right: an event counts once.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, cast

from fastapi import APIRouter, Depends, Request, Response

from pinnersage.config import Settings
from pinnersage.online import events, known
from pinnersage.online.events import Event, NotTakenError
from pinnersage.online.intake import Intake, Verdict
from pinnersage.online.sources import Sender
from pinnersage.schema import IdType
from pinnersage.serve import answers, metrics
from pinnersage.serve.access import sends
from pinnersage.serve.live import Live
from pinnersage.serve.routes import as_json, now_of
from pinnersage.stores import open_lake

HANDED_ON = "handed_on"
"""Verdict of an event that consumers will judge."""

router = APIRouter(prefix="/v1", tags=["events"], dependencies=[Depends(sends)])


class Inbox:
    """Takes posted events; threads may share it.

    Parameters
    ----------
    settings : Settings
    following : Live
        Whose release says which pins are known, and whose states the events go into.
    sender : Sender or None
        Where events are put for consumers; None: they are taken at once.
    """

    def __init__(self, settings: Settings, following: Live, sender: Sender | None) -> None:
        self.settings, self.following, self.sender = settings, following, sender
        self.erased = following.context.erased

    @cached_property
    def ids(self) -> tuple[IdType, IdType]:
        """Types of the lake's user and pin ids."""
        layout = open_lake(self.settings).layout
        return layout.user_id, layout.pin_id

    def put(self, given: Sequence[bytes], now: datetime) -> list[Verdict]:
        """Take events, each as JSON, or hand them on; return a verdict for each, in their order.

        Raises
        ------
        TransientError
            What the events go into is away or full; post them again.
        """
        if self.sender is not None:
            return self._handed_on(given, now, self.sender)
        states = self.following.context.latest.states()
        return Intake(self.settings, self.ids, states, self._known, self.erased.has).take(
            given, now
        )

    def _known(self, pins: Collection[str]) -> Collection[str]:
        """See ``known.KnownPins``; here the release that answers has them at hand."""
        if self.following.release is None:
            return pins
        with self.following.reader() as reader:
            return known.with_row(list(pins), reader.embeddings)

    def _handed_on(self, given: Sequence[bytes], now: datetime, sender: Sender) -> list[Verdict]:
        verdicts, good = [], []
        for data in given:
            try:
                good.append((str(self._event(data, now).user_id), data))
            except NotTakenError as error:
                verdicts.append(Verdict(error.reason, str(error)))
            else:
                verdicts.append(Verdict(HANDED_ON))
        if good:
            sender.send(good)
        return verdicts

    def _event(self, data: bytes, now: datetime) -> Event:
        """Return an event that is worth handing on, or refuse it."""
        event = events.parsed(data, *self.ids)
        events.check_time(event, now, self.settings.online)
        if self.erased.has(event.user_id):
            raise NotTakenError("erased_user")
        return event


@router.post(
    "/events",
    response_model=answers.EventsTaken,
    responses=answers.problems(400, 403, 408, 413, 422)
    | {202: {"model": answers.EventsTaken, "description": "Handed on; consumers take them."}},
)
def post_events(asked: answers.Events, request: Request) -> Response:
    """Take what users did or were shown, each event judged alone; one that was refused says why."""
    inbox = cast("Inbox", request.app.state.inbox)
    given = [as_bytes(event) for event in asked.events]
    verdicts = inbox.put(given, now_of(request))
    counts = Counter(verdict.word for verdict in verdicts)
    for word, n in counts.items():
        metrics.EVENTS.labels(word).inc(n)
    refused = [
        {"position": position, "reason": verdict.word, "says": verdict.says}
        for position, verdict in enumerate(verdicts)
        if verdict.refused
    ]
    taken: dict[str, Any] = {"verdicts": dict(sorted(counts.items())), "refused": refused}
    return as_json(taken, 200 if inbox.sender is None else 202)


def as_bytes(event: Any) -> bytes:
    """Return one of the posted events by itself, as JSON."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="surrogatepass")  # what is no text is refused as malformed
