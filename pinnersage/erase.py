"""Erase: a user is gone from lake, stores and reports, and does not come back.

The order is recorded first (``erased``): from then on no reader says anything of the user. Then
what there is of them is removed (``scrub``), and last the record says that this is done. A crash
leaves an order that is not done; giving it again does the rest, and once more changes nothing.

A step that was running when the order was given may have read the user's rows before they went.
So each step ends by looking at the record again (``settled``): if there is a new order, it removes
from its own output whom it concerns, and begins again.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from pinnersage import erased, parallel, parked, scrub
from pinnersage.config import Settings
from pinnersage.erased import RECORD, Erased, Erasure
from pinnersage.errors import ChecksError, DataError, RefusedError, TransientError
from pinnersage.schema import LOGS
from pinnersage.stores import open_keyvalue, open_lake, open_states, open_storage, watched
from pinnersage.stores.keyvalue import KeyValueStore
from pinnersage.stores.packing import key_of
from pinnersage.takedown import canonical_id

LOG_NAMES = frozenset(table.name for table in LOGS)
TABLES = ("actions", "medoids", "parity", *sorted(LOG_NAMES))
"""Tables whose rows are users'."""
AGAIN = 5
"""Times that a step begins again: each is a user who was erased while it ran."""
LOCK = "erase"
OURS = ("lake", "reports")
"""Folders of the home in which a killed writer may leave a file that names a user."""

Done = TypeVar("Done")
Change = Callable[[Erased], Erased]


class EraseReport(BaseModel):
    """What an order to erase a user came to; the user is not in it."""

    model_config = ConfigDict(frozen=True)

    by: str
    reason: str
    at: datetime
    new: bool
    """False where the order was there already: who gave it first stands."""
    done: datetime
    files: int
    """Files and manifests of the lake that had the user."""
    reports: int
    """Quality reports that named them."""
    leftovers: int
    """Unfinished files of killed writers that named them."""
    versions: list[str]
    """Key-value versions that had the user."""
    online: int
    """Whether they had an online state, and events of theirs in its journal."""

    dead_letters: int
    """Refused events of theirs that were parked in Redis."""

    @property
    def found(self) -> bool:
        """Whether there was anything of the user."""
        counts = (self.files, self.reports, self.leftovers, self.online, self.dead_letters)
        return any(counts) or bool(self.versions)


def run(
    user: str, by: str, reason: str, at: datetime, salt: str, settings: Settings
) -> EraseReport:
    """Erase a user for good; ``by`` and ``reason`` are kept.

    Parameters
    ----------
    user : str
        The id as text, as it is. It need not be known: it stays out when it comes.
    by, reason : str
        Who answers for it, and why; the id must not be in them.
    at : datetime
        When, with a time zone.
    salt : str
        Random; that of the first order is kept and used for all.
    settings : Settings
        Of the home.

    Raises
    ------
    RefusedError
        No user, no name or no reason, or what cannot be an id in this lake.
    TransientError, DataError
        A store is away, or a file cannot be read. The order stands and readers obey it; give it
        again when that is mended.
    """
    by, reason, at = by.strip(), reason.strip(), at.astimezone(UTC)
    if not user.strip() or not by or not reason:
        raise RefusedError("Erasing needs a user, a name and a reason: --by NAME --reason TEXT.")
    user = canonical_id(user, open_lake(settings).layout.user_id, "user")
    key = key_of(user)
    if any(re.search(rf"(?<!\w){re.escape(user)}(?!\w)", text) for text in (by, reason)):
        raise RefusedError("Leave the user's id out of name and reason: both stay on record.")
    before = erased.read(settings)
    given = replaced(settings, lambda record: with_order(record, user, by, reason, at, salt))
    who = {user}.intersection
    with erased.record_of(settings).locked(LOCK):
        files = scrub_lake(user, settings)
        reports = scrub.reports(open_storage(settings), who)
        leftovers = scrub.leftovers([settings.home / name for name in OURS], user)
        versions = open_keyvalue(settings).erase([key])
        with open_states(settings) as states:
            online = scrub.online(states, user)
            states.scrub()
        dead_letters = parked.forget(settings, who)
    digest = given.digest(user)
    record = replaced(settings, lambda record: with_done(record, digest, at))
    order = next(order for order in record.orders if order.user == digest)
    return EraseReport(
        by=order.by,
        reason=order.reason,
        at=order.at,
        new=digest not in before.users,
        done=order.done or at,
        files=files,
        reports=reports,
        leftovers=leftovers,
        versions=versions,
        online=online,
        dead_letters=dead_letters,
    )


def with_order(record: Erased, user: str, by: str, reason: str, at: datetime, salt: str) -> Erased:
    """Return the record with an order in it, itself if it is there already."""
    if not record.salt:
        record = record.model_copy(update={"salt": salt})
    if record.among([user]):
        return record
    order = Erasure(user=record.digest(user), by=by, reason=reason, at=at)
    return Erased(salt=record.salt, orders=(*record.orders, order))


def with_done(record: Erased, digest: str, at: datetime) -> Erased:
    """Return the record with an order done, itself if it was done before."""
    orders = tuple(
        order.model_copy(update={"done": at}) if order.user == digest and not order.done else order
        for order in record.orders
    )
    return record if orders == record.orders else Erased(salt=record.salt, orders=orders)


def replaced(settings: Settings, change: Change) -> Erased:
    """Replace the record by what ``change`` makes of it; return it as it is then."""
    return watched.replaced(erased.record_of(settings), RECORD, erased.parsed, change)


def scrub_lake(user: str, settings: Settings) -> int:
    """Remove a user from every day of every table that has users; how many files were changed."""
    lake = open_lake(settings)
    bucket = lake.layout.bucket_of(user)
    folders = [
        f"{table}/{name}"
        for table in TABLES
        for name in lake.storage.names(table)
        if name.startswith("day=")
    ]
    with lake.workspace():  # what dead steps left unfinished goes, whether there is a day or not
        pass

    def one(folder: str) -> int:
        own = None if folder.partition("/")[0] in LOG_NAMES else bucket  # a log has no buckets
        return scrub.partition(lake, folder, {user}.intersection, settings, own)

    changed = sum(parallel.in_order(one, folders, settings.run.threads))
    for table in TABLES:
        lake.storage.forget(table)
    return changed


def settled(
    step: Callable[[], Done],
    settings: Settings,
    scrub_own: Callable[[scrub.Who], object],
    *,
    attempts: int = AGAIN,
) -> Done:
    """Do a step, and again where a user was ordered to be erased while it ran.

    Parameters
    ----------
    step : callable
        Reads the record for itself where it meets users.
    scrub_own : callable
        Removes users from what the step writes, whoever wrote it.
    attempts : int
        1 for a step that cannot begin again, such as one that is handed its rows once.

    Raises
    ------
    TransientError
        Users were erased during each attempt.
    """
    before, said = erased.read(settings), ""
    for _ in range(attempts):
        try:
            done = step()
        except DataError as error:
            now = erased.read(settings)
            # A file that it was reading may have been replaced; then it does not fail so again.
            replaced = now != before or (now.under_way and str(error) != said)
            if now.users == before.users and (isinstance(error, ChecksError) or not replaced):
                raise
            said = str(error)
        else:
            now = erased.read(settings)
            if now.users == before.users:
                return done
        with erased.record_of(settings).locked(LOCK):
            scrub_own(now.among)
        before = now
    raise TransientError("Users are being erased at this moment. Run the step again.")


def own_days(
    table: str, days: Sequence[object], settings: Settings
) -> Callable[[scrub.Who], object]:
    """Return what removes users from the days of a table, and from the reports of these days."""

    def scrub_own(who: scrub.Who) -> None:
        lake, storage = open_lake(settings), open_storage(settings)
        for day in days:
            scrub.partition(lake, f"{table}/day={day}", who, settings)
            scrub.reports(storage, who, f"{scrub.REPORTS}/day={day}")

    return scrub_own


def from_version(store: KeyValueStore, version: str, who: scrub.Who) -> list[str]:
    """Remove users from a key-value version whose ids nobody has told us; versions that had one."""
    with store.open(version) as reader:
        gone = who(key.decode() for key, _ in reader.items())
    return store.erase([user.encode() for user in gone]) if gone else []
