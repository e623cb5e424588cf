"""Doctor: is everything in a home folder where it should be, and if not, what to do."""

import shutil
from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from pinnersage import erased, retrieve, source
from pinnersage.config import Settings
from pinnersage.errors import PinnerSageError
from pinnersage.online import redis_source
from pinnersage.release import Releases
from pinnersage.stores import open_lake

LOW_DISK_BYTES = 2 * 1024**3


class Finding(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    what: str
    good: bool
    says: str


def run(settings: Settings) -> list[Finding]:
    """Look at settings, source, lake, stores and the live release; change nothing."""
    found = [Finding(what="settings", good=True, says=str(settings.home / "pinnersage.toml"))]
    found.append(raw(settings))
    free = shutil.disk_usage(settings.home).free
    found.append(Finding(what="disk", good=free > LOW_DISK_BYTES, says=f"{free / 1e9:.1f} GB free"))
    found.append(lake(settings))
    found.append(live(settings))
    return [*found, *erasing(settings), *streams(settings)]


def erasing(settings: Settings) -> list[Finding]:
    """Look for orders to erase a user that are not done; nothing to say where there is none."""
    try:
        orders = erased.read(settings).orders
    except PinnerSageError as error:
        return [Finding(what="erasing", good=False, says=str(error))]
    left = sum(order.done is None for order in orders)
    says = f"{len(orders):,} users erased"
    if left:
        says = f"{left:,} orders are not done: give them again. See runbook: erasure not done"
    return [Finding(what="erasing", good=not left, says=says)] if orders else []


def streams(settings: Settings) -> list[Finding]:
    """Look whether somebody takes the events that wait in Redis Streams, where those are used."""
    if settings.online.source != "redis":
        return []
    try:
        found = redis_source.standing(settings)
    except PinnerSageError as error:
        return [Finding(what="events", good=False, says=str(error))]
    good = bool(found.consumers or not found.waiting)
    says = f"{found.waiting:,} wait, {found.consumers:,} consumers, {found.dead:,} dead letters"
    says += "" if good else ": start one: pinnersage consume. See runbook: events wait"
    says += f". {found.beyond}" if found.beyond else ""
    return [Finding(what="events", good=good and not found.beyond, says=says)]


def raw(settings: Settings) -> Finding:
    """Look for the files of raw actions."""
    try:
        files = source.files(settings.source)
    except PinnerSageError as error:
        return Finding(what="source", good=False, says=str(error))
    says = f"{len(files):,} files" if files else f"no file at {settings.source.actions}"
    return Finding(what="source", good=bool(files), says=says)


def lake(settings: Settings) -> Finding:
    """Look at the staged days and at gaps among them."""
    try:
        tables = open_lake(settings)
        layout = tables.layout
    except PinnerSageError as error:
        return Finding(what="lake", good=False, says=str(error))
    if layout.n_buckets != settings.lake.n_buckets:
        says = f"made with {layout.n_buckets} buckets, settings say {settings.lake.n_buckets}"
        return Finding(what="lake", good=False, says=says)
    days = tables.days("actions")
    if not days:
        return Finding(what="lake", good=True, says="no day is staged yet")
    span = [days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)]
    gaps = sorted(set(span) - set(days))
    says = f"{len(days)} days staged, {days[0]} to {days[-1]}"
    if gaps:
        says += f"; {len(gaps)} missing between, the first {gaps[0]}: pinnersage stage --day …"
    return Finding(what="lake", good=not gaps, says=says)


def live(settings: Settings) -> Finding:
    """Open the live release as a reader would."""
    try:
        release = Releases(settings).live()
        if release is None:
            return Finding(what="live release", good=False, says="none yet: pinnersage run --day …")
        with retrieve.open_live(settings) as reader:
            users = len(reader.profiles)
            index = f"{len(reader.index):,} pins" if reader.index else "no index yet"
    except PinnerSageError as error:
        return Finding(what="live release", good=False, says=str(error))
    says = f"release {release.number}: {release.medoids.day}, {users:,} users, {index}"
    return Finding(what="live release", good=release.index is not None, says=says)
