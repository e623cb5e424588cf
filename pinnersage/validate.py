"""Validate: the expectations that a day's medoids must meet to be published.

Reads the day's buckets and, anew, the staged actions they came from; writes the report and, if
nothing failed, ``medoids/day=…``: the manifest of the whole day, which ``publish`` asks for. A
failed rule ends in a ``DataError`` that names rows, and nothing is published. What the day is
compared with (days before it) is in the report alone: the manifest depends on the day only.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from pydantic import BaseModel, ConfigDict

from pinnersage import extract, pages, queries
from pinnersage.config import CheckConfig, Settings, medoids_fingerprint
from pinnersage.errors import DataError
from pinnersage.quality import (
    LARGEST,
    Outcome,
    QualityReport,
    Rule,
    add_up,
    judge,
    not_judged,
)
from pinnersage.schema import MEDOIDS
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.lake import Lake, Manifest
from pinnersage.version import __version__

FRAME_ROWS = 250_000
"""Medoids in one data frame: buckets are put together up to it."""

MEDOID_RULES = (
    Rule("user, rank: one row each", ("user_id", "rank")),
    Rule("user, medoid: one row each", ("user_id", "pin_id")),
    Rule("rank counts 0, 1, 2 … within a user", ("rank_follows",)),
    Rule("importance is finite and above 0", ("importance",), least=0, most=LARGEST, strict=True),
    Rule("importance descends with rank", ("descends",)),
    Rule("importance is at most one an action", ("importance_is_possible",)),
    Rule("n_actions is at least 1", ("n_actions",), least=1, most=LARGEST),
    Rule("offset is a squared distance of unit vectors", ("offset",), least=0, most=4),
    Rule("cohesion is a cosine", ("cohesion",), least=-1, most=1),
    Rule("medoid is one of the user's own actions of the window", ("is_own_pin",)),
    Rule("actions of a cluster lie in the window", ("in_window",)),
)


class ValidateReport(BaseModel):
    """What the checks found."""

    model_config = ConfigDict(frozen=True)

    day: date
    passed: int
    warned: list[str]
    measures: dict[str, float | int | str | None]
    content_hash: str
    version: str
    page: str


def run(day: date, settings: Settings) -> ValidateReport:
    """Judge ``day``; commit it whole when nothing failed, else retire what passed earlier."""
    lake = open_lake(settings)
    buckets = bucket_manifests(lake, day, settings)
    facts, outcomes = audit(lake, day, buckets, settings)
    measures, histograms = facts
    report = QualityReport(
        day=day,
        outcomes=[
            *input_outcomes(lake, day, buckets),
            *outcomes,
            *day_outcomes(lake, day, measures, histograms, settings.checks),
        ],
        measures=measures,
        histograms=histograms,
        made_from=[manifest.ref for manifest in buckets],
    )
    page = pages.write_quality(report, settings.home / "reports")
    if report.failed:
        lake.retire("medoids", day=day)
        raise DataError(failure_message(report, page))
    manifest = lake.commit(day_manifest(day, buckets, measures, histograms, settings))
    return ValidateReport(
        day=day,
        passed=sum(outcome.status == "passed" for outcome in report.outcomes),
        warned=[f"{outcome.rule}: {outcome.observed}" for outcome in report.warned],
        measures=measures,
        content_hash=manifest.content_hash,
        version=manifest.version,
        page=str(page),
    )


def bucket_manifests(lake: Lake, day: date, settings: Settings) -> list[Manifest]:
    """Return the manifest of every bucket; all must come from the same inputs and settings."""
    staged = [manifest.ref for manifest in extract.window_manifests(lake, day, settings)]
    vectors = embeddings.valid_at(lake, "embeddings", day)
    found = []
    for bucket in range(lake.layout.n_buckets):
        again = f"pinnersage cluster --day {day} --bucket {bucket}"
        manifest = lake.require("medoids", again, day=day, bucket=bucket)
        if manifest.settings_hash != medoids_fingerprint(settings):
            raise DataError(
                f"{day}, bucket {bucket} was clustered with other settings than those in force. "
                f"Run: {again}"
            )
        if list(manifest.reads) != [vectors.ref, *staged]:
            raise DataError(
                f"{day}, bucket {bucket} was clustered from other versions of actions or "
                f"embeddings than the current ones. Run: {again}"
            )
        found.append(manifest)
    return found


def audit(
    lake: Lake, day: date, buckets: list[Manifest], settings: Settings
) -> tuple[tuple[dict[str, Any], dict[str, dict[str, int]]], list[Outcome]]:
    """Judge every row of the day; return its measures, histograms and outcomes."""
    table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", day))
    outcomes: list[Outcome] = []
    checks = settings.checks
    user_rules = (
        Rule("actions in a user's clusters are the actions of the window", ("sums_agree",)),
        Rule("importance of a user's clusters is that of the actions", ("importance_agrees",)),
        Rule("first and last action of a user's clusters are the actions'", ("times_agree",)),
        Rule("clusters of a user", ("n_clusters",), least=1, most=checks.max_clusters_per_user),
    )
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        try:
            counts: Counter[str] = Counter()
            for medoids, users in frames(con, lake, day, buckets, settings, table, counts):
                outcomes += judge(
                    medoids, MEDOID_RULES, table="medoids", shown=("user_id", "rank", "pin_id")
                )
                shown = (
                    "user_id", "n_actions_acted", "n_actions_clustered",
                    "importance_acted", "importance_clustered",
                )  # fmt: skip
                outcomes += judge(users, user_rules, table="users", shown=shown)
            measured = measures_of(con, lake, buckets, counts)
        except duckdb.Error as error:
            raise queries.translate(error, f"validate {day}") from error
    return measured, add_up(outcomes)


def frames(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    day: date,
    buckets: list[Manifest],
    settings: Settings,
    table: embeddings.Embeddings,
    counts: Counter[str],
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield medoids and users of some buckets at a time, beside what they must agree with.

    Adds to ``counts`` how many actions of the window are kept, and left out by reason.
    """
    held: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    for bucket, manifest in enumerate(buckets):
        counts.update(extract.label(con, lake, day, bucket, settings, table))
        medoids_view(con, lake, [manifest])
        span = {k: v for k, v in extract.window(day, settings).items() if k in {"start", "end"}}
        decay = {"end": span["end"], "decay_per_day": settings.model.decay_per_day}
        medoids = con.sql(queries.text("medoids/audit"), params=span).df()
        users = con.sql(queries.text("medoids/users"), params=decay).df()
        held.append((medoids, users))
        if sum(len(frame) for frame, _ in held) >= FRAME_ROWS or bucket == len(buckets) - 1:
            yield (
                pd.concat([frame for frame, _ in held], ignore_index=True),
                pd.concat([frame for _, frame in held], ignore_index=True),
            )
            held = []


def medoids_view(con: duckdb.DuckDBPyConnection, lake: Lake, manifests: list[Manifest]) -> None:
    """Put the view ``medoids`` over the files of some manifests."""
    paths = [path for manifest in manifests for path in lake.paths(manifest)]
    con.unregister("medoids")  # an empty bucket's table would hide the next bucket's view
    if paths:
        con.read_parquet(paths, hive_partitioning=False).create_view("medoids", replace=True)
    else:
        layout = lake.layout
        con.register("medoids", MEDOIDS.arrow(layout.user_id, layout.pin_id).empty_table())


def measures_of(
    con: duckdb.DuckDBPyConnection, lake: Lake, buckets: list[Manifest], counts: Counter[str]
) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """Return the day in numbers, and its histograms."""
    medoids_view(con, lake, buckets)
    measures = queries.first(con, queries.text("medoids/measures"))
    kept, unknown = counts["kept"], counts["unknown_pin"]
    measures["n_actions"] = kept
    left_out = sorted(item for item in counts.items() if item[0] != "kept")
    measures |= {f"dropped: {reason}": count for reason, count in left_out if count}
    measures["unknown_pin_share"] = unknown / (kept + unknown) if kept + unknown else 0.0
    histograms = {
        name: {str(bin_): n for bin_, n in con.execute(queries.text(f"medoids/{sql}")).fetchall()}
        for name, sql in (
            ("clusters per user", "clusters_histogram"),
            ("importance", "importance_histogram"),
        )
    }
    return measures, histograms


def input_outcomes(lake: Lake, day: date, buckets: list[Manifest]) -> list[Outcome]:
    """Judge what ``checks.sql`` found in the raw rows of the day and in the window's actions."""
    staged = lake.require("actions", f"pinnersage stage --day {day}", day=day)
    outcomes = []
    for table, manifests in (("raw actions", [staged]), ("window", buckets)):
        found: dict[str, dict[str, Any]] = {}
        for manifest in manifests:
            for item in manifest.report["checks"]:
                seen = found.setdefault(item["name"], item | {"n_rows": 0, "examples": []})
                seen["n_rows"] += item["n_rows"]
                seen["examples"] = (seen["examples"] + item["examples"])[: queries.EXAMPLES]
        rules = [
            Rule(
                f"none is {name}",
                (name,),
                item["severity"],
                most=0,
                unit=" rows",
                runbook="input checks",
            )
            for name, item in found.items()
        ]
        frame = pd.DataFrame([{name: item["n_rows"] for name, item in found.items()}])
        for outcome, item in zip(judge(frame, rules, table=table), found.values(), strict=True):
            outcomes.append(outcome.model_copy(update={"examples": item["examples"]}))
    return outcomes


def day_outcomes(
    lake: Lake,
    day: date,
    measures: dict[str, Any],
    histograms: Mapping[str, Mapping[str, int]],
    checks: CheckConfig,
) -> list[Outcome]:
    """Judge the day's sums against limits, the day before, and the days before that.

    What they are compared with joins ``measures``, for the report.
    """
    rules = [
        Rule("users with clusters", ("n_users",), least=1),
        Rule(
            "clusters per user on average",
            ("mean_clusters",),
            most=checks.max_mean_clusters_per_user,
        ),
        Rule(
            "share of interests in pins without an embedding",
            ("unknown_pin_share",),
            most=checks.max_unknown_pin_share,
            runbook="missing embeddings",
        ),
    ]
    unjudged = []
    coverage = Rule(
        "users against the day before",
        ("user_coverage",),
        least=checks.min_user_coverage,
        runbook="user coverage",
    )
    before = lake.current("medoids", day=day - timedelta(days=1))
    if before is None or not before.report["measures"]["n_users"]:
        unjudged.append(not_judged(coverage, table="day", why="the day before is not there"))
    else:
        measures["user_coverage"] = measures["n_users"] / before.report["measures"]["n_users"]
        rules.append(coverage)
    earlier = (
        lake.current("medoids", day=day - timedelta(days=n + 1)) for n in range(checks.drift_days)
    )
    passed = [manifest for manifest in earlier if manifest is not None]
    for name in histograms:
        column = f"drift of {name}"
        rule = Rule(column, (column,), most=checks.max_drift_psi, unit=" PSI", runbook="drift")
        if len(passed) < checks.min_drift_days:
            why = (
                f"{len(passed)} of the {checks.drift_days} days before passed, "
                f"{checks.min_drift_days} are needed"
            )
            unjudged.append(not_judged(rule, table="day", why=why))
            continue
        pooled: dict[str, int] = {}
        for manifest in passed:
            for bin_, n in manifest.report["histograms"][name].items():
                pooled[bin_] = pooled.get(bin_, 0) + n
        measures[column] = drift(histograms[name], pooled)
        rules.append(rule)
    return [*judge(pd.DataFrame([measures]), rules, table="day"), *unjudged]


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


def day_manifest(
    day: date,
    buckets: list[Manifest],
    measures: dict[str, Any],
    histograms: dict[str, dict[str, int]],
    settings: Settings,
) -> Manifest:
    """Return the manifest of the whole day: every bucket's files."""
    own = {k: v for k, v in measures.items() if not k.startswith(("drift", "user_coverage"))}
    return Manifest(
        table="medoids",
        partition={"day": day.isoformat()},
        files=tuple(file for manifest in buckets for file in manifest.files),
        rows=sum(manifest.rows for manifest in buckets),
        content_hash=queries.hash_text(sum(int(m.content_hash, 16) for m in buckets)),
        settings_hash=medoids_fingerprint(settings),
        code_version=__version__,
        reads=tuple(manifest.ref for manifest in buckets),
        report={
            "embeddings": buckets[0].report["embeddings"],
            "measures": own,
            "histograms": histograms,
        },
    )


def failure_message(report: QualityReport, page: Path) -> str:
    """Return what failed, with the first rows, in a few lines."""
    lines = [f"{report.day}: {len(report.failed)} checks failed, nothing is published."]
    for outcome in report.failed[:10]:
        rows = "; ".join(str(row) for row in outcome.examples[:3])
        lines.append(
            f"  {outcome.table}: {outcome.rule}: {outcome.observed}, expected {outcome.expected}"
            + (f". First rows: {rows}" if rows else "")
            + f". See runbook: {outcome.runbook}."
        )
    lines.append(f"Report: {page}")
    return "\n".join(lines)
