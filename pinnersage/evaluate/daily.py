"""Daily: yesterday's release, measured on what users did today, beside models that cost nothing.

Of each user who acted on the day, what had been released for the day before is asked by the policy
in force, and by the paper's; the last pin and a decayed average are asked the same questions, at
equal cost and at equal candidates. Nothing is computed again and nothing is chosen: the numbers are
of what readers were given. They go into the table ``metrics`` and on a page.
"""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pinnersage import erase
from pinnersage.config import Settings
from pinnersage.evaluate import (
    cases,
    lifts,
    metrics,
    recorded,
    released,
    report,
    retrieval,
    tables,
    trend,
    words,
)
from pinnersage.evaluate import log as logs
from pinnersage.evaluate.cases import DAY_US, Cases
from pinnersage.evaluate.evaluation import (
    ABOUT_RETRIEVAL,
    LIBRARIES,
    RANDOM_PAIRS,
    RELEVANT,
    in_words,
    n_targets,
)
from pinnersage.evaluate.histories import Model
from pinnersage.evaluate.lineup import unique
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.models import DecayAverage, LastPin
from pinnersage.evaluate.policies import BUDGETS, PAPER, SINGLE, Budget, Policy
from pinnersage.evaluate.recorded import AGE, COVERAGE, OF_USERS
from pinnersage.evaluate.released import Medoids, Released
from pinnersage.evaluate.results import Comparison, Estimate, EvaluationReport, Table
from pinnersage.evaluate.retrieval import Key, Protocol, Retrieval
from pinnersage.evaluate.search import Exact, Searcher
from pinnersage.evaluate.tables import Frame, Measured
from pinnersage.extract import end_of
from pinnersage.release import Release
from pinnersage.stores import embeddings, open_lake, open_storage
from pinnersage.version import __version__

DECAY = 0.01
"""Of the decayed average, as in the paper's tables."""
ALL = Policy("all", share="weight")
"""All medoids, in proportion to importance: what beat the paper's policy offline."""
WITHOUT = "users without released medoids"
OF_LISTS = (
    *RELEVANT,
    "relevance, repeats",
    "recall, repeats",
    "diversity",
    "candidates",
    "searches",
)
ABOUT = (
    "Of yesterday's release, on what users did today. New is what a user had not acted on within "
    "the window before. "
)
OWN_NEIGHBOUR = (
    "A medoid may be its own candidate here, where the service leaves it out: on all pins and on "
    "repeats readers were given one pin less of that kind, and another in its place. On new pins "
    "it is left out here too, since its user had acted on it within the window."
)


class NothingToMeasureError(Exception):
    """A day of which nothing can be measured, and why; the day has not failed."""


class DailyReport(BaseModel):
    """What an evaluation of a day's release found, in short."""

    model_config = ConfigDict(frozen=True)

    day: date
    release: int | None
    """Whose medoids of the day before were measured."""
    cases: int
    """Users who acted on the day and had medoids."""
    left_out: dict[str, int]
    lifts: dict[str, str]
    """Over the last pin, with 95 % intervals, of the policy in force at the service's budget."""
    nothing: str = ""
    """Why nothing was measured, where nothing was."""
    version: str
    """Of the partition of ``metrics``."""
    page: str
    trend: str


def run(day: date, settings: Settings) -> DailyReport:
    """Measure the release of the day before on ``day``; write the day's metrics and the pages.

    A day on which nobody with medoids acted, or before which nothing was released, has a partition
    without rows that says so: a holiday is no failure. What was found of it before is withdrawn.

    Raises
    ------
    DataError
        ``day`` is not staged, or what was released is gone.
    """
    release = released.release_of(day - timedelta(days=1), settings)

    def once() -> tuple[EvaluationReport | None, str]:
        try:
            return measure(day, release, settings), ""
        except NothingToMeasureError as error:
            return None, str(error)

    found, nothing = erase.settled(once, settings, lambda _who: None)
    manifest = recorded.write(day, found, release, nothing, settings)
    storage, page = open_storage(settings), ""
    if found:
        page = report.write(found, storage, report.DAILY)
    else:
        report.withdraw(day, storage, report.DAILY)
    return DailyReport(
        day=day,
        release=release.number if release else None,
        cases=found.n_cases if found else 0,
        left_out={why: n for why, n in found.left_out.items() if n} if found else {},
        lifts=in_short(found, released.budget_of(settings.retrieval)) if found else {},
        nothing=nothing,
        version=manifest.version,
        page=page,
        trend=trend.write(settings),
    )


def measure(day: date, release: Release | None, settings: Settings) -> EvaluationReport:
    """Return what a release of the day before is worth on ``day``; nothing is written.

    Read are the staged actions of the day and of the window before it, of users who acted on the
    day; of these at most ``evaluation.max_users``, where that is not 0.

    Raises
    ------
    NothingToMeasureError
        Nothing was released for the day before, or nobody with medoids acted.
    DataError
        ``day`` is not staged, or what was released is gone.
    """
    if release is None:
        before = day - timedelta(days=1)
        raise NothingToMeasureError(f"no release of the medoids of {before} was ever live")
    table = embeddings.named(open_lake(settings), release.embeddings)
    first = day - timedelta(days=settings.model.window_days)
    most = settings.evaluation.max_users
    log = logs.of_staged(first, day, table, settings, most, since=day)
    if not log.rows.size:
        raise NothingToMeasureError(f"nobody acted on {day} on a pin with an embedding")
    medoids = released.medoids_of(release, log, settings)
    left_out = log.left_out | {WITHOUT: len(log.user_ids) - len(medoids.user_ids)}
    known = pc.index_in(medoids.user_ids, value_set=log.user_ids).to_numpy()
    log = log.of(known.astype(np.intp))  # its user number i has the i-th medoids
    of_day = cases.of_days(log, [day], settings.model.window_days)
    if not of_day.n:
        raise NothingToMeasureError(f"nobody for whom medoids were released acted on {day}")
    log = log._replace(left_out=left_out)
    with released.searcher(release, log.matrix, settings) as searcher:
        return Day(release, log, of_day, medoids, searcher, settings).report()


class Row(NamedTuple):
    """A model with its policies, measured."""

    model: Model
    policies: tuple[Policy, ...]
    found: Retrieval


class Day:
    """A day with its cases, under measurement."""

    def __init__(
        self,
        release: Release,
        log: Log,
        of_day: Cases,
        medoids: Medoids,
        searcher: Searcher,
        settings: Settings,
    ) -> None:
        asked = settings.evaluation
        self.release, self.log, self.cases, self.medoids = release, log, of_day, medoids
        self.searcher, self.settings = searcher, settings
        self.seed, self.users = asked.seed, of_day.histories.users
        limit = asked.cosine_threshold
        if asked.false_match_rate:
            limit = metrics.threshold_for(
                log.matrix, asked.false_match_rate, RANDOM_PAIRS, self.seed
            )
        self.protocol = Protocol(asked.n_candidates, limit, self.seed, settings.run.threads)
        self.policy = released.policy_of(settings.retrieval)
        self.budget = released.budget_of(settings.retrieval)

    def report(self) -> EvaluationReport:
        """Measure every model and put together what was found."""
        several = unique((self.policy, PAPER, ALL))
        made: list[tuple[Model, tuple[Policy, ...]]] = [
            (LastPin(self.log.matrix), (SINGLE,)),
            (DecayAverage(self.log.matrix, DECAY), (SINGLE,)),
            (Released(self.log.matrix, self.medoids), several),
        ]
        rows = [Row(model, policies, self._measure(model, policies)) for model, policies in made]
        found, comparisons = [], []
        for budget in BUDGETS:
            measured = self._measured(rows, budget)
            found.append(self._table(rows, measured, budget))
            comparisons += self._compared(measured, budget)
        return self._about(tables=found, comparisons=comparisons)

    def _measure(self, model: Model, policies: Sequence[Policy]) -> Retrieval:
        ids = self.log.user_ids.to_pylist()
        return retrieval.run(model, self.cases, ids, self.searcher, policies, self.protocol)

    def _measured(self, rows: Sequence[Row], budget: Budget) -> list[Measured]:
        """Return a table's rows: each model with each of its policies."""
        return [
            Measured(
                row.model.name,
                "" if policy == SINGLE else policy.name,
                row.found.measured[Key(policy.name, budget)] | retrieval.of_users(row.found),
                single=policy == SINGLE,
                chosen=policy == self.policy,
            )
            for row in rows
            for policy in row.policies
        ]

    def _table(self, rows: Sequence[Row], measured: Sequence[Measured], budget: Budget) -> Table:
        """Return a budget's table, with what is no share of anything: coverage and age."""
        name = f"Release {self.release.number}"
        about = ABOUT + ABOUT_RETRIEVAL[budget]
        title = f"Medoids of {self.release.medoids.day}, {budget}"
        title += ", as readers were given them" if budget == self.budget else ""
        frame = Frame(name, title, about, (*OF_LISTS, *OF_USERS))
        table = tables.table(frame, measured, self.users, n_targets(self.cases), self.seed)
        came = [row.found.come[Key(p.name, budget)] for row in rows for p in row.policies]
        age = tables.estimate(lifts.values({"": self._ages()}, self.users, seed=self.seed)[""])
        more = [
            {COVERAGE: Estimate(value=rows_of.size / len(self.log.matrix))}
            | ({} if one.single else {AGE: age})
            for one, rows_of in zip(measured, came, strict=True)
        ]
        whole = [
            row.model_copy(update={"values": row.values | extra})
            for row, extra in zip(table.rows, more, strict=True)
        ]
        return table.model_copy(
            update={"measures": [*table.measures, COVERAGE, AGE], "rows": whole}
        )

    def _ages(self) -> Sums:
        """Return the age of each user's medoids at the start of the day, summed, and how many."""
        now = self.cases.histories.now_us
        offsets = self.medoids.offsets
        ends = np.concatenate([[0], np.cumsum(self.medoids.last_us / DAY_US)])
        counts = np.diff(offsets)[self.users].astype(np.float64)
        newest = (ends[offsets[1:]] - ends[offsets[:-1]])[self.users]
        return Sums(counts * (now / DAY_US) - newest, counts)

    def _compared(self, measured: Sequence[Measured], budget: Budget) -> list[Comparison]:
        return [
            tables.against_best_single(budget, measure, measured, self.users, self.seed)
            for measure in RELEVANT
        ]

    def _about(self, **found: Any) -> EvaluationReport:
        asked, day = self.settings.evaluation, self.cases.days[0]
        matrix, index = self.log.matrix, self.release.index
        how = "Search was exact: the release has no index, or the store no longer has it."
        if index and not isinstance(self.searcher, Exact):
            how = f"The index {index.version} was searched."
        named = (
            f"Measured are the medoids of {self.release.medoids.day} as release "
            f"{self.release.number} named them, manifest {self.release.medoids.manifest}. {how}"
        )
        return report.stamped(
            EvaluationReport(
                title=f"Release {self.release.number} on {day}",
                code_version=__version__,
                libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
                inputs=self._inputs(),
                embeddings=self.log.embeddings,
                n_pins=len(matrix),
                dimensions=matrix.shape[1],
                first_day=day - timedelta(days=self.settings.model.window_days),
                tuning_days=None,
                test_days=(day, day),
                seed=self.seed,
                n_candidates=asked.n_candidates,
                cosine_threshold=self.protocol.threshold,
                false_match_rate=metrics.false_match_rate(
                    matrix, self.protocol.threshold, RANDOM_PAIRS, self.seed
                ),
                settings={
                    name: getattr(self.settings, name).model_dump(mode="json")
                    for name in ("evaluation", "model", "retrieval")
                },
                n_users=np.unique(self.users).size,
                n_actions=self.log.rows.size,
                n_cases=self.cases.n,
                n_targets=n_targets(self.cases),
                left_out=in_words(self.log.left_out) | self.cases.left_out,
                notes=[named, *self._late(), OWN_NEIGHBOUR],
                **found,
            )
        )

    def _late(self) -> list[str]:
        """Return a note where the release was not live on the day."""
        day, at = self.cases.days[0], released.went_live(self.release, self.settings)
        if at < end_of(day):
            return []
        late = f"Release {self.release.number} went live on {at:%Y-%m-%d at %H:%M} UTC, after {day}"
        return [
            f"{late}: readers were not given it on the day. It is measured as if released in time."
        ]

    def _inputs(self) -> str:
        """Return a hash of who did what when, and of what was released."""
        text = f"{self.log.digest}/{self.release.model_dump_json()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def in_short(found: EvaluationReport, budget: Budget) -> dict[str, str]:
    """Return the lifts of the policy in force over the last pin, at a budget, in words."""
    chosen = next(row for row in found.tables[BUDGETS.index(budget)].rows if row.chosen)
    return {measure: words.lift(chosen.lifts.get(measure)) for measure in RELEVANT}
