"""Analyse: an experiment's arms by what their users did after they were first shown something.

Volume and propensity are those of the paper's Table 3 (section 5.2), which names them without a
formula. Both count interest actions (``source.interest_actions``: repins and clicks) from a user's
first exposure in the days asked for to their end, on any pin:

    volume      interest actions per exposed user. Where arms have equal shares its lift is that of
                the arm's sum of actions, "overall engagement volume".
    propensity  share of exposed users with one or more interest actions.

Everybody who was exposed counts, those too who did nothing, and in the arm that they were in. The
log is believed only where its arms have the users that their shares promise; see ``problems_of``.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import duckdb
from pydantic import BaseModel, ConfigDict

from pinnersage import queries
from pinnersage.config import CONTROL, Settings
from pinnersage.errors import ConfigError, DataError
from pinnersage.experiment import statistics
from pinnersage.experiment.statistics import Sums
from pinnersage.extract import end_of, start_of
from pinnersage.schema import ACTIONS, EXPOSURES, Table
from pinnersage.stores import open_lake
from pinnersage.stores.lake import Lake

RATIO_P = 0.001
"""Below it, the arms' users are not those that their shares promise."""
CHANGED = (
    "shares or arms were changed under the same name. Begin again under another name, or ask for "
    "the days before or after the change."
)
FEWEST = 30
"""Users of an arm who acted: with fewer the interval does not hold."""


class Frozen(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(frozen=True)


class ArmReport(Frozen):
    """One arm."""

    name: str
    share: float
    users: int
    """Exposed, in this arm alone."""
    expected_users: float
    """As its share has it, of the users in all arms."""
    exposures: int
    actions: int
    squares: int
    """Sum over users of the square of their actions."""
    acting: int
    """Users with one or more actions."""
    moved: int
    """Users who were in another arm or share too; nowhere counted."""

    @property
    def volume(self) -> Sums:
        """Interest actions of a user."""
        return Sums(self.users, self.actions, self.squares)

    @property
    def propensity(self) -> Sums:
        """Whether a user acted."""
        return Sums(self.users, self.acting, self.acting)


class LiftReport(Frozen):
    """One arm against the control in one measure."""

    arm: str
    measure: str
    control: float
    value: float
    lift: float
    low: float | None
    high: float | None
    p: float

    @property
    def says(self) -> str:
        """What may be said of it, in a word or two; without bounds the test alone decides."""
        if self.low is None or self.high is None:
            shown = self.p < 1 - statistics.LEVEL
        else:
            shown = not self.low <= 0 <= self.high
        if not shown:
            return "no difference shown"
        return "higher" if self.lift > 0 else "lower"


class ExperimentReport(Frozen):
    """What came of an experiment."""

    experiment: str
    first_day: date
    last_day: date
    interest_actions: tuple[str, ...]
    arms: tuple[ArmReport, ...]
    """The control first."""
    ratio_p: float | None
    """Of the arms' users against their shares; None where there are none."""
    problems: tuple[str, ...]
    """Why nothing may be said; empty where something may."""
    lifts: tuple[LiftReport, ...]
    """None where there are problems."""


def run(first: date, last: date, settings: Settings, name: str = "") -> ExperimentReport:
    """Return what came of an experiment from its first day to its last, both included.

    Parameters
    ----------
    first, last : date
        Days of exposures and of actions, UTC. Actions of all of them must be staged.
    settings : Settings
        Of the home.
    name : str
        Of the experiment; empty: the one in the settings.

    Raises
    ------
    ConfigError
        No experiment is named, or the days are none.
    DataError
        A day's actions are not staged, or nothing was logged of the experiment.
    """
    name = name or settings.experiment.name
    if not name:
        raise ConfigError("No experiment is set (experiment.name). Name one: --name NAME.")
    if last < first:
        raise ConfigError(f"The last day, {last}, is before the first, {first}.")
    lake = open_lake(settings)
    rows = sums(lake, first, last, name, settings)
    if not rows:
        raise DataError(
            f"Nothing was logged of the experiment {name} from {first} to {last}. Days with "
            f"exposures: {', '.join(map(str, lake.log_days(EXPOSURES.name))) or 'none'}."
        )
    several = max([row.pop("n_shares") for row in rows]) > 1
    found = arms(rows, name, settings)
    users, shares = [arm.users for arm in found], [arm.share for arm in found]
    ratio_p = statistics.ratio_p(users, shares) if len(found) > 1 and any(users) else None
    problems = problems_of(found, ratio_p, several_shares=several)
    return ExperimentReport(
        experiment=name,
        first_day=first,
        last_day=last,
        interest_actions=settings.source.interest_actions,
        arms=found,
        ratio_p=ratio_p,
        problems=problems,
        lifts=() if problems else lifts(found),
    )


def sums(
    lake: Lake, first: date, last: date, name: str, settings: Settings
) -> list[dict[str, Any]]:
    """Return a row an arm that has users in the log, with sums over them."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    parameters = {
        "experiment": name,
        "start": start_of(first),
        "end": end_of(last),
        "interest_actions": list(settings.source.interest_actions),
    }
    manifests = [lake.require("actions", f"pinnersage stage --day {day}", day=day) for day in days]
    logged = [path for day in days for path in lake.log_paths(EXPOSURES.name, day)]
    with (
        lake.workspace() as work,
        queries.connect(work / "spill", settings.run) as con,
    ):
        try:
            view(con, "actions", lake.paths(*manifests), ACTIONS, lake)
            view(con, "exposures", logged, EXPOSURES, lake)
            made = queries.text("exposures/users")
            con.execute(f"CREATE TEMP TABLE exposed_users AS {made}", parameters)
            found = con.sql(queries.text("exposures/arms"))
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error as error:
            raise queries.translate(error, f"experiment {name}") from error


def view(
    con: duckdb.DuckDBPyConnection, name: str, paths: Sequence[str], table: Table, lake: Lake
) -> None:
    """Put files, or an empty table, behind a table's name."""
    if paths:
        con.read_parquet(list(paths), hive_partitioning=False).create_view(name)
    else:
        layout = lake.layout
        con.register(name, table.arrow(layout.user_id, layout.pin_id).empty_table())


def arms(rows: list[dict[str, Any]], name: str, settings: Settings) -> tuple[ArmReport, ...]:
    """Return the arms, the control first; those of the settings too of which nothing was logged."""
    logged = {row["arm"] for row in rows}
    if settings.experiment.name == name:
        nothing = dict.fromkeys(("users", "exposures", "actions", "squares", "acting", "moved"), 0)
        rows = rows + [
            {"arm": arm.name, "share": arm.share} | nothing
            for arm in settings.experiment.arms
            if arm.name not in logged
        ]
    users, shares = sum(row["users"] for row in rows), sum(row["share"] for row in rows)
    found = [
        ArmReport(
            name=row.pop("arm"),
            expected_users=users * row["share"] / shares,
            **{key: value if key == "share" else int(value) for key, value in row.items()},
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda arm: (arm.name != CONTROL, arm.name)))


def problems_of(
    found: Sequence[ArmReport], ratio_p: float | None, *, several_shares: bool
) -> tuple[str, ...]:
    """Return why the arms cannot be compared; empty where they can."""
    problems = []
    names = [arm.name for arm in found]
    if CONTROL not in names or len(names) < 2:  # noqa: PLR2004
        problems.append(
            f"Logged are the arms {', '.join(names)}: no control, or nothing beside it."
        )
    if moved := sum(arm.moved for arm in found):
        problems.append(f"{moved:,} users were shown more than one arm: {CHANGED}")
    if several_shares:
        problems.append(f"An arm's share was changed: {CHANGED}")
    if ratio_p is not None and ratio_p < RATIO_P:
        counts = ", ".join(
            f"{arm.name} {arm.users:,} (expected {arm.expected_users:,.0f})" for arm in found
        )
        problems.append(
            f"The arms do not have the users that their shares promise: {counts}; by chance in "
            f"{ratio_p:.2g} of cases (limit {RATIO_P}). Something else decides who is exposed or "
            "logged. See runbook: arms out of ratio."
        )
    problems += [
        f"{arm.name}: {arm.acting:,} users acted (at least {FEWEST} are needed). Wait for more."
        for arm in found
        if arm.acting < FEWEST
    ]
    return tuple(problems)


def lifts(found: Sequence[ArmReport]) -> tuple[LiftReport, ...]:
    """Return each arm's lifts over the control, which comes first."""
    control, *others = found
    compared = []
    for arm in others:
        for measure in ("volume", "propensity"):
            own, base = getattr(arm, measure), getattr(control, measure)
            made = statistics.lift(own, base)
            compared.append(
                LiftReport(
                    arm=arm.name,
                    measure=measure,
                    control=base.mean,
                    value=own.mean,
                    **made._asdict(),
                )
            )
    return tuple(compared)
