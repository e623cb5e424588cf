"""Compare: a day's sums against limits, and against the days before it.

What a day is compared with is for its report alone: no manifest depends on it, so days computed in
any order are the same (decision 11). What is not there to compare with is not judged, and seen.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from statistics import median
from typing import Any, NamedTuple

import duckdb
import pandas as pd

from pinnersage.config import CheckConfig
from pinnersage.online_against_batch import Compared
from pinnersage.quality import Outcome, Rule, judge, not_judged, rows_of
from pinnersage.stores.lake import Lake, Manifest

COVERAGE = "users against the last passed day"
ACTING = "users who acted, against the same weekday before"
EMPTY = "a bucket with users is not suddenly empty"
CLUSTERS = "clusters per user on average"
UNKNOWN = "share of interests in pins without an embedding"
AGE = "age of the embeddings"
ONLINE = "online agrees with batch"
WEEKS = 4
"""Weeks back whose same weekday says how many users a day should have."""
MIN_WEEKS = 3


COMPARED = (
    "user_coverage", "acting_share", "embeddings_age_days", "drift of ", "online_", "sliding_",
)  # fmt: skip
"""How the measures begin that depend on other days, or on when embeddings became valid."""


class Day(NamedTuple):
    """What is known of a day once its rows are judged."""

    day: date
    measures: Mapping[str, Any]
    histograms: Mapping[str, Mapping[str, int]]
    users: Sequence[int]
    """Users with medoids, by bucket."""
    embeddings_from: date
    """First day that its embeddings are valid for."""


class Comparison(NamedTuple):
    """Rules about a day, and what they look at; ``unjudged`` lack what they compare with."""

    rules: Sequence[Rule] = ()
    compared: Mapping[str, float] = {}
    unjudged: Sequence[Outcome] = ()


def run(
    con: duckdb.DuckDBPyConnection, lake: Lake, day: Day, checks: CheckConfig
) -> tuple[list[Outcome], dict[str, float]]:
    """Return what came of every rule about the day, and what it was compared with, as measures."""
    passed = passed_before(lake, day.day, checks.drift_days)
    before = passed[0] if passed else None
    parts = [
        limits(checks),
        age(day, checks),
        coverage(day, before, checks),
        acting(lake, day.day, checks),
        *drifts(passed, day, checks),
    ]
    compared = {name: value for part in parts for name, value in part.compared.items()}
    frame = pd.DataFrame([{**day.measures, **compared}])
    outcomes = judge(frame, [rule for part in parts for rule in part.rules], table="day")
    outcomes += [outcome for part in parts for outcome in part.unjudged]
    return [*outcomes, *empty_buckets(con, lake, day, before, checks)], compared


def passed_before(lake: Lake, day: date, n_days: int) -> list[Manifest]:
    """Return the days among the ``n_days`` before that passed, the newest first.

    A day that failed is not among them: else a fault of two days would be its own measure.
    """
    earlier = (lake.current("medoids", day=day - timedelta(days=n + 1)) for n in range(n_days))
    return [manifest for manifest in earlier if manifest is not None]


def own(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measures that depend on the day alone."""
    return {name: value for name, value in measures.items() if not name.startswith(COMPARED)}


def limits(checks: CheckConfig) -> Comparison:
    """Return the rules that need no other day."""
    most, unknown = checks.max_mean_clusters_per_user, checks.max_unknown_pin_share
    return Comparison(
        [
            Rule("users with clusters", ("n_users",), least=1),
            Rule(CLUSTERS, ("mean_clusters",), most=most),
            Rule(UNKNOWN, ("unknown_pin_share",), most=unknown, runbook="missing embeddings"),
        ]
    )


def age(day: Day, checks: CheckConfig) -> Comparison:
    """Judge how long ago the embeddings became valid, where there is a limit."""
    most = checks.max_embeddings_age_days
    rule = Rule(AGE, ("embeddings_age_days",), most=most, unit=" days", runbook="stale embeddings")
    days = float((day.day - day.embeddings_from).days)
    return Comparison([rule] if most else [], {"embeddings_age_days": days})


def coverage(day: Day, before: Manifest | None, checks: CheckConfig) -> Comparison:
    """Judge the users of the day against those of the last day that passed."""
    rule = Rule(
        COVERAGE, ("user_coverage",), least=checks.min_user_coverage, runbook="user coverage"
    )
    users = before.report["measures"]["n_users"] - before.erased if before else 0
    if not users:
        why = f"none of the {checks.drift_days} days before passed"
        return Comparison(unjudged=[not_judged(rule, table="day", why=why)])
    share = day.measures["n_users"] / users
    return Comparison([rule], {"user_coverage": share})


def acting(lake: Lake, day: date, checks: CheckConfig) -> Comparison:
    """Judge the users in the day's own events against the same weekday of the weeks before.

    Windows of neighbouring days share nearly all their days, so a day that arrived by half hardly
    shows in its medoids. What chance explains, three standard deviations, is taken off the limit.
    """
    rule = Rule(ACTING, ("acting_share",), least=checks.min_acting_share, runbook="user coverage")
    if not checks.min_acting_share:
        return Comparison()
    weeks = (lake.current("actions", day=day - timedelta(weeks=n + 1)) for n in range(WEEKS))
    known = [acted(manifest) for manifest in weeks if manifest is not None]
    staged = lake.require("actions", f"pinnersage stage --day {day}", day=day)
    if len(known) < MIN_WEEKS:
        why = f"{len(known)} of {WEEKS} weekdays before are staged, {MIN_WEEKS} are needed"
        return Comparison(unjudged=[not_judged(rule, table="day", why=why)])
    usual = median(known)
    if not usual:
        return Comparison(compared={"acting_share": 1.0})
    chance = 3 * math.sqrt(checks.min_acting_share / usual)
    least = round(max(0.0, checks.min_acting_share - chance), 3)
    rule = Rule(ACTING, ("acting_share",), least=least, runbook="user coverage")
    return Comparison([rule], {"acting_share": acted(staged) / usual})


def acted(staged: Manifest) -> int:
    """Return how many users acted on a staged day, but for those who were erased since."""
    users: int = staged.report["users"]
    return users - staged.erased


def drifts(passed: Sequence[Manifest], day: Day, checks: CheckConfig) -> list[Comparison]:
    """Judge each histogram against those of the passed days before, put together."""
    found = []
    for name, counts in day.histograms.items():
        column = f"drift of {name}"
        rule = Rule(column, (column,), most=checks.max_drift_psi, unit=" PSI", runbook="drift")
        if len(passed) < checks.min_drift_days:
            why = (
                f"{len(passed)} of the {checks.drift_days} days before passed, "
                f"{checks.min_drift_days} are needed"
            )
            found.append(Comparison(unjudged=[not_judged(rule, table="day", why=why)]))
            continue
        pooled: dict[str, int] = {}
        for manifest in passed:
            for bin_, n in manifest.report["histograms"][name].items():
                pooled[bin_] = pooled.get(bin_, 0) + n
        found.append(Comparison([rule], {column: drift(counts, pooled)}))
    return found


def online(found: Compared, checks: CheckConfig) -> tuple[list[Outcome], dict[str, float | None]]:
    """Judge how often users' online results equal a batch; return that, and the measures.

    Judged are users whose stored clusters the batch keeps: where it parts older actions anew, that
    is Ward's doing and depends on the data. What chance explains, three standard deviations, is
    taken off the limit. It warns and never fails: medoids that passed are right, whatever online
    makes of them.
    """
    summary, column = found.summary, "online_identical_of_kept"
    least, n = checks.min_online_agreement, summary.stored_kept.users
    if n:
        least = round(max(0.0, least - 3 * math.sqrt(least * (1 - least) / n)), 3)
    rule = Rule(
        ONLINE, (column,), "warn", least=least, unit=" of the users", runbook="online against batch"
    )
    if summary.not_measured:
        return [not_judged(rule, table="parity", why=summary.not_measured)], {}
    measures: dict[str, float | None] = {"online_users": summary.all_users.users}
    for name, agreement in (("online", summary.all_users), ("sliding", summary.sliding)):
        told = agreement.model_dump(include={"identical", "jaccard", "cosine"})
        measures |= {f"{name}_{measure}": value for measure, value in told.items()}
    if not n:
        why = f"a batch keeps the stored clusters of none of {summary.all_users.users} users"
        return [not_judged(rule, table="parity", why=why)], measures
    measures |= {column: summary.stored_kept.identical, "online_stored_kept": n}
    (outcome,) = judge(pd.DataFrame([measures]), [rule], table="parity")
    if outcome.status == "warned":
        worst = pd.DataFrame([user.model_dump(exclude={"medoids"}) for user in found.worst])
        outcome = outcome.model_copy(update={"examples": rows_of(worst)})
    return [outcome], measures


def empty_buckets(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    day: Day,
    before: Manifest | None,
    checks: CheckConfig,
) -> list[Outcome]:
    """Judge the buckets: one in which many users vanish at once has lost its files."""
    rule = Rule(EMPTY, ("has_users",), runbook="user coverage")
    if before is None:
        why = f"none of the {checks.drift_days} days before passed"
        return [not_judged(rule, table="buckets", why=why)]
    rows = []
    for bucket, users in enumerate(day.users):
        lost = 0 if users else users_of(con, lake, before, bucket)
        has_users = lost < checks.empty_bucket_users
        rows.append({"bucket": bucket, "users_lost": lost, "has_users": has_users})
    shown = ("bucket", "users_lost")
    return judge(pd.DataFrame(rows), [rule], table="buckets", shown=shown)


def users_of(
    con: duckdb.DuckDBPyConnection, lake: Lake, manifest: Manifest, bucket: int | None = None
) -> int:
    """Return how many users a manifest's files have, all or one bucket's."""
    paths = lake.paths(manifest, bucket=bucket)
    if not paths:
        return 0
    users = con.read_parquet(paths).aggregate("count(DISTINCT user_id)").fetchall()
    return int(users[0][0])


def drift(now: Mapping[str, int], before: Mapping[str, int]) -> float:
    """Return the population stability index of two histograms, less what chance explains.

    PSI is the sum over bins of (p - q) ln(p / q), each bin given half an observation so that an
    empty one stays finite. For samples of n and m from one distribution over B bins it is about
    1/n + 1/m times a chi-square of B - 1 degrees, whose mean and three standard deviations are
    taken off: twenty users never look the same twice.
    """
    bins = sorted(set(now) | set(before))
    n, m = sum(now.values()), sum(before.values())
    if not n or not m:
        return math.inf if n != m else 0.0
    total = 0.0
    for bin_ in bins:
        p = (now.get(bin_, 0) + 0.5) / (n + 0.5 * len(bins))
        q = (before.get(bin_, 0) + 0.5) / (m + 0.5 * len(bins))
        total += (p - q) * math.log(p / q)
    degrees = len(bins) - 1
    chance = (degrees + 3 * math.sqrt(2 * degrees)) * (1 / n + 1 / m)
    return max(0.0, total - chance)
