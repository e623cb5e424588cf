"""Online against batch: what ``parity`` found of a day, as the lake keeps it and pages show it.

The sums are in the manifest of ``parity/day=…``; who is behind them is in its rows alone, so that
erasing a user reaches everything that names them.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pinnersage.schema import PARITY
from pinnersage.stores.lake import Lake, Manifest, broken_file

WORST = 10
"""Users whose medoids are kept beside each other."""
FIGURES = ("n_actions", "n_new", "identical", "stored_kept", "jaccard", "cosine")
"""Columns of the table that a person is shown of a user."""


class Frozen(BaseModel):
    """A part of what was found."""

    model_config = ConfigDict(frozen=True)


class Agreement(Frozen):
    """How well two results agree, over some users; null where there are none."""

    users: int
    identical: float | None = None
    """Share of the users whose actions are parted the same."""
    jaccard: float | None = None
    """Mean share of medoids that both have, of those that either has."""
    cosine: float | None = None
    """Mean cosine of medoids to the nearest of the other side, both ways, by importance."""


class Summary(Frozen):
    """What was found of a day, in sums."""

    bucket: int | None = None
    max_actions: int | None = None
    """``online.max_actions`` that online had of each user."""
    not_measured: str = ""
    """Why, where nothing was measured."""
    all_users: Agreement = Agreement(users=0)
    up_to_max_actions: Agreement = Agreement(users=0)
    """Users all of whose actions of the day online had."""
    with_more: Agreement = Agreement(users=0)
    """Users whose earlier actions of the day were pushed out: they cannot be identical."""
    stored_kept: Agreement = Agreement(users=0)
    """Of those up to it, users whose older actions the batch parts as their stored clusters do.
    Online never parts those anew: of the others it cannot equal a batch."""
    sliding: Agreement = Agreement(users=0)
    """Batch with the window's first day still in it, against batch without: not online's doing."""
    left_out: dict[str, int] = {}
    """Users of the bucket who acted and were not compared, by reason."""


class Medoid(Frozen):
    """One medoid, with its importance on either side; null where that side has not got it."""

    pin_id: str
    online: float | None
    batch: float | None


class User(Frozen):
    """One user, compared."""

    user_id: str
    n_actions: int
    n_new: int
    identical: bool
    stored_kept: bool
    jaccard: float
    cosine: float
    medoids: list[Medoid]
    """Of both sides, the most important first."""


class Compared(Frozen):
    """A day's sums, and the users who agree least, the worst first."""

    summary: Summary
    worst: list[User] = []


def of_day(lake: Lake, day: date) -> Compared:
    """Return what is kept of a day; where that is nothing, the summary says why."""
    made = lake.current(PARITY.name, day=day)
    staged = lake.current("actions", day=day)
    again = f"measure it: pinnersage parity --day {day}"
    if made is None:
        return Compared(summary=Summary(not_measured=f"it was not measured; {again}"))
    if staged and staged.ref not in made.reads:
        return Compared(summary=Summary(not_measured=f"the day was staged again since; {again}"))
    return read(lake, made)


def read(lake: Lake, manifest: Manifest) -> Compared:
    """Return what a manifest keeps."""
    rows: list[dict[str, Any]] = []
    for path in lake.paths(manifest):
        with broken_file(Path(path)):
            rows += pq.ParquetFile(path).read().to_pylist()
    summary = Summary.model_validate(manifest.report)
    kept = [row for row in rows if row["online_medoids"] is not None]
    ordered = worst_first(kept, summary.max_actions or 0)
    return Compared(summary=summary, worst=[user_of(row) for row in ordered])


def worst_first(rows: Iterable[dict[str, Any]], max_actions: int) -> list[dict[str, Any]]:
    """Return rows in the order of what to look at: first those that online alone made differ."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        whole = row["n_new"] <= max_actions
        own = whole and row["stored_kept"] and not row["identical"]
        return not own, row["cosine"], row["jaccard"], row["user_id"]

    return sorted(rows, key=key)


def user_of(row: dict[str, Any]) -> User:
    """Return a row of the table with both sides' medoids beside each other."""
    online, batch = (
        dict(zip(row[f"{side}_medoids"], row[f"{side}_importance"], strict=True))
        for side in ("online", "batch")
    )
    pins = sorted(
        {**online, **batch}, key=lambda pin: (-max(batch.get(pin, 0), online.get(pin, 0)), pin)
    )
    return User(
        user_id=str(row["user_id"]),
        medoids=[
            Medoid(pin_id=str(pin), online=online.get(pin), batch=batch.get(pin)) for pin in pins
        ],
        **{name: row[name] for name in FIGURES},
    )
