"""Recorded: the table ``metrics``, a day's numbers as rows.

Made from the day's evaluation and from nothing else, so that page and table say the same. A day of
which nothing could be measured has a partition without rows; its report says why.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pinnersage import queries
from pinnersage.config import Settings, fingerprint
from pinnersage.evaluate.policies import BUDGETS, Budget
from pinnersage.evaluate.released import budget_of
from pinnersage.evaluate.results import Estimate, EvaluationReport
from pinnersage.extract import window_manifests
from pinnersage.release import Release
from pinnersage.schema import METRICS
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.lake import DataFile, Lake, Manifest, broken_file
from pinnersage.survey import PARALLEL
from pinnersage.version import __version__

OF_USERS = ("vectors", "interest entropy")
COVERAGE, AGE = "coverage", "age of medoids, days"
ALONE = (*OF_USERS, AGE)
"""Measures of a model's vectors, whatever policy and budget ask them."""


class Metric(NamedTuple):
    """What one row is about."""

    model: str
    metric: str


class Day(NamedTuple):
    """A day's metrics."""

    day: date
    release: int | None
    in_force: str
    """The model and policy that readers were given; empty where nothing was measured."""
    budget: Budget
    """At which they were given it."""
    cases: int
    nothing: str
    """Why nothing was measured."""
    found: dict[Metric, Estimate]


def write(
    day: date,
    found: EvaluationReport | None,
    release: Release | None,
    nothing: str,
    settings: Settings,
) -> Manifest:
    """Write a day's partition; without rows where there is no report, and ``nothing`` says why."""
    lake = open_lake(settings)
    rows = pa.Table.from_pylist(rows_of(found) if found else [], schema=METRICS.arrow())
    files: tuple[DataFile, ...] = ()
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        con.register("metrics", rows)
        total = queries.values_hash(rows.schema)
        hashed = queries.scalar(con, f"SELECT {total} FROM metrics")  # noqa: S608 (our columns)
        if rows.num_rows:
            files = (lake.add_table(rows, METRICS.name, work, day=day),)
    return lake.commit(
        Manifest(
            table=METRICS.name,
            partition={"day": day.isoformat()},
            files=files,
            rows=rows.num_rows,
            content_hash=queries.hash_text(hashed),
            settings_hash=fingerprint(settings.evaluation, settings.retrieval, settings.model),
            code_version=__version__,
            reads=read_by(lake, day, release, settings) if found and release else (),
            report={
                "release": release.number if release else None,
                "in_force": in_force(found) if found else "",
                "budget": budget_of(settings.retrieval),
                "cases": found.n_cases if found else 0,
                "nothing": nothing,
                "evaluation": found.version if found else "",
            },
        )
    )


def rows_of(found: EvaluationReport) -> list[dict[str, Any]]:
    """Return a day's rows, in their order: each number of the tables, and each lift, once."""
    rows = dict[Metric, dict[str, Any]]()
    for table, budget in zip(found.tables, BUDGETS, strict=True):
        for row in table.rows:
            for measure, value in row.values.items():
                model = row.model if measure in ALONE else named(row.model, row.policy)
                key = Metric(model, at_budget(measure, budget))
                told = {key: value}
                if row.model != table.base and (lift := row.lifts.get(measure)):
                    told[key._replace(metric=f"lift of {key.metric}")] = lift
                n = table.n_targets.get(measure.rpartition(", ")[2], table.n_cases)
                rows |= {
                    at: {**at._asdict(), **one.model_dump(), "n": n} for at, one in told.items()
                }
    return [rows[key] for key in sorted(rows)]


def at_budget(measure: str, budget: Budget) -> str:
    """Return what a measure at a budget is called in the table."""
    return measure if measure in ALONE else f"{measure}, {budget}"


def named(model: str, policy: str) -> str:
    """Return what a model with a policy is called in the table."""
    return ", ".join(filter(None, (model, policy)))


def in_force(found: EvaluationReport) -> str:
    """Return the model and policy that readers were given."""
    return next(named(row.model, row.policy) for row in found.tables[0].rows if row.chosen)


def read_by(lake: Lake, day: date, release: Release, settings: Settings) -> tuple[str, ...]:
    """Return references of what a day's metrics were made from."""
    of, longer = release.medoids, settings.model.window_days + 1
    vectors = embeddings.named(lake, release.embeddings).ref
    actions = window_manifests(lake, day, settings.with_model(window_days=longer))
    return (f"medoids/day={of.day}@{of.manifest}", vectors, *(one.ref for one in actions))


def read(settings: Settings, *, longest: int) -> list[Day]:
    """Return the metrics of the newest days that have any, the newest first."""
    lake = open_lake(settings)
    days = lake.days(METRICS.name)[: -longest - 1 : -1]
    with ThreadPoolExecutor(PARALLEL) as pool:
        found = pool.map(lambda day: lake.current(METRICS.name, day=day), days)
        return list(pool.map(lambda one: _day_of(lake, one), [one for one in found if one]))


def _day_of(lake: Lake, manifest: Manifest) -> Day:
    rows: list[dict[str, Any]] = []
    for path in lake.paths(manifest):
        with broken_file(Path(path)):
            rows += pq.ParquetFile(path).read().to_pylist()
    said = manifest.report
    return Day(
        day=date.fromisoformat(manifest.partition["day"]),
        release=said["release"],
        in_force=said["in_force"],
        budget=said["budget"],
        cases=said["cases"],
        nothing=said["nothing"],
        found={
            Metric(row["model"], row["metric"]): Estimate(
                value=row["value"], low=row["low"], high=row["high"]
            )
            for row in rows
        },
    )
