"""Feedback: impressions and what came of them, from the states' journal to the lake.

    feedback/day=2026-08-06/data/<content>.parquet

An event that names the release that showed its pin is added to the journal together with the
state that it changes (``intake``). From there it goes to the table ``feedback``, a log, and only
then out of the journal: killed anywhere, nothing is lost. A row may be there twice: after a kill,
where an event came twice, or where two processes wrote at once. So whoever reads counts a user's
event id once. A user who was ordered to be erased is left out.

Importance from feedback needs, for each user and medoid, how often its pins were shown and how
often something came of it: ``by_medoid``. ``evaluate.feedback`` guesses from the log of actions
which medoid was picked; here engagements say it, and impressions which others were passed over.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Self

import pyarrow as pa
from pydantic import ValidationError

from pinnersage import erase, erased, queries
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.online.events import Event
from pinnersage.schema import FEEDBACK
from pinnersage.stores import open_lake
from pinnersage.stores.lake import Lake
from pinnersage.stores.states import States

log = logging.getLogger(__name__)

SECONDS = 60.0
"""For so long events wait in the journal, where each takes room."""
IMPRESSION = "impression"
"""The action of an event that says that a pin was shown; any other came of that."""
PART = 20_000
"""Events that are written together; a file a day each."""


def flush(states: States, settings: Settings) -> int:
    """Move what the journal holds to the lake; return how many events left it.

    Processes of one machine wait for each other; those of several leave rows twice at worst.

    Raises
    ------
    TransientError
        Store or lake is away or full. What is left in the journal goes next time.
    DataError
        An entry is no event, or lake or record of erased users cannot be read.
    """
    if not states.oldest(1):
        return 0
    moved = 0
    with open_lake(settings).storage.locked(FEEDBACK.name):
        while entries := states.oldest(PART):
            append([event_of(*entry) for entry in entries], settings)
            states.remove([entry for entry, _ in entries])
            moved += len(entries)
    return moved


class Flushing:
    """Flushes now and then while it is open, and when it is closed, on a thread of its own.

    What fails is said and tried again: it never stops whoever takes events in.
    """

    def __init__(self, states: States, settings: Settings, seconds: float = SECONDS) -> None:
        self._states, self._settings, self._seconds = states, settings, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flush-feedback", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Flush once more, and end."""
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.close()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._stop.wait(self._seconds)
            try:
                flush(self._states, self._settings)
            except Exception:
                log.exception("Feedback waits in the journal. See runbook: feedback not written.")


def event_of(entry: bytes, data: bytes) -> Event:
    """Return the event of an entry of the journal."""
    try:
        return Event.model_validate_json(data)
    except ValidationError as error:
        raise DataError(
            f"Entry {entry.hex()} of the online journal is no event: {error.errors()[0]['msg']}. "
            "Nothing after it goes to the lake. See runbook: damaged online state."
        ) from error


def append(given: Sequence[Event], settings: Settings) -> int:
    """Add events to the lake, a file a day; return how many rows, without erased users'."""
    lake = open_lake(settings)
    days = sorted({day_of(event) for event in given})

    def step() -> int:
        gone = erased.read(settings).among({str(event.user_id) for event in given})
        kept = [event for event in given if str(event.user_id) not in gone]
        with lake.workspace() as work:
            for day in days:
                rows = table_of([event for event in kept if day_of(event) == day], lake)
                if rows.num_rows:
                    lake.add_table(rows, FEEDBACK.name, work, day=day)
        return len(kept)

    return erase.settled(step, settings, erase.own_days(FEEDBACK.name, days, settings))


def day_of(event: Event) -> date:
    """Return the day of an event, UTC."""
    return event.acted_at.astimezone(UTC).date()


def table_of(given: Sequence[Event], lake: Lake) -> pa.Table:
    """Return events as rows in the table's order."""
    schema = FEEDBACK.arrow(lake.layout.user_id, lake.layout.pin_id)
    ordered = sorted(given, key=lambda event: (event.acted_us, str(event.user_id), event.name))
    ids = {"user_id", "pin_id", "medoid"}
    columns = []
    for field in schema:
        values = [getattr(event, field.name) for event in ordered]
        if field.name in ids:  # text, as ``canonical_id`` has it
            texts = [None if value is None else str(value) for value in values]
            columns.append(pa.array(texts, pa.string()).cast(field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=schema)


def by_medoid(first: date, last: date, settings: Settings) -> pa.Table:
    """Return how often each medoid's pins were shown to its user, and engaged with.

    Parameters
    ----------
    first, last : date
        Days of the events, UTC, both included.
    settings : Settings
        Of the home. An engagement is an event of ``source.interest_actions``.

    Returns
    -------
    pyarrow.Table
        ``user_id, medoid, n_impressions, n_engagements``, by user and medoid.
    """
    lake = open_lake(settings)
    days = [day for day in lake.log_days(FEEDBACK.name) if first <= day <= last]
    paths = [path for day in days for path in lake.log_paths(FEEDBACK.name, day)]
    start = datetime.combine(first, time(), UTC)
    parameters = {
        "start": start,
        "end": start + timedelta(days=(last - first).days + 1),
        "impression": IMPRESSION,
        "interest_actions": list(settings.source.interest_actions),
    }
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        empty = FEEDBACK.arrow(lake.layout.user_id, lake.layout.pin_id).empty_table()
        con.register("feedback", con.read_parquet(paths) if paths else empty)
        return con.sql(queries.text("feedback/by_medoid"), params=parameters).to_arrow_table()
