"""Evaluation: all of the paper's offline experiments over one stretch of days.

The days in order: what models may learn from; the cut; the *tuning days*, on which everything is
chosen; the *test days*, which are measured one after another, each taken in by the models once it
is over. Embeddings are those that were valid at the cut, so that none was made from a judged day.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pinnersage.config import Settings
from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate import (
    candidate_ranking,
    cases,
    clusterers,
    curves,
    lineup,
    metrics,
    next_action,
    paper,
    report,
    retrieval,
    tables,
    threshold,
    tuning,
    within_day,
    words,
)
from pinnersage.evaluate import log as logs
from pinnersage.evaluate.cases import Cases
from pinnersage.evaluate.histories import Model
from pinnersage.evaluate.kept import Kept, code_digest
from pinnersage.evaluate.lineup import Entry
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.metrics import Lists
from pinnersage.evaluate.models import EveryPin, Grouped, PinnerSage
from pinnersage.evaluate.policies import BUDGETS, PAPER, POLICIES, SINGLE, Budget, Policy
from pinnersage.evaluate.popular import Popular
from pinnersage.evaluate.results import Choice, Contrast, EvaluationReport, Table, Training
from pinnersage.evaluate.retrieval import Key, Protocol, Retrieval
from pinnersage.evaluate.search import Exact
from pinnersage.evaluate.tables import Frame, Measured
from pinnersage.evaluate.tuning import Tuned
from pinnersage.version import __version__

Progress = Callable[[str], None]
LIBRARIES = ("duckdb", "numba", "numpy", "scikit-learn", "scipy")
NETWORKS = ("jax", "optax")
LARGE_SHARE = 0.05
"""Candidates as a share of all pins, from which a note says that they are many."""
IMPRESSIONS = "No impressions: Table 5 ranks actions against random pins."
AFTER_THE_FACT = (
    "The best model of one vector is taken by its value on the test days; the chosen one was "
    "chosen before them. That favours the former."
)
ABOUT_RETRIEVAL: dict[Budget, str] = {
    "equal cost": "Every model reads as many neighbours; where several vectors bring the same pin, "
    "the set is smaller (section 5.3.1). Of new items, whatever the user had acted on before is "
    "left out for every model.",
    "equal candidates": "Every model gives as many candidates: what several vectors bring is made "
    "up for by their next neighbours. Of new items, whatever the user had acted on before is left "
    "out for every model.",
}

DAY = timedelta(days=1)
RANDOM_PAIRS = 1_000_000
RELEVANT = ("relevance, all", "recall, all", "relevance, new", "recall, new")
RETRIEVAL = (
    *RELEVANT,
    "relevance, repeats",
    "recall, repeats",
    "hit rate, new",
    "ndcg, new",
    "mrr, new",
    "diversity",
    "candidates",
    "searches",
    "vectors",
    "interest entropy",
)
COVERAGE = "coverage"
RANKING = tuple(
    f"{measure}, {which}"
    for which in candidate_ranking.WHICH
    for measure in ("r-precision", "reciprocal rank")
)


class Span(NamedTuple):
    """The days of an evaluation; each pair is the first and the last."""

    log: tuple[date, date]
    tuning: tuple[date, date]
    test: tuple[date, date]


def span_of(last: date, settings: Settings) -> Span:
    """Return the days of an evaluation whose last test day is ``last``."""
    asked, window = settings.evaluation, settings.model.window_days
    if asked.history_days < window:
        raise ConfigError(
            f"evaluation.history_days is {asked.history_days} (limit: at least model.window_days, "
            f"{window}): histories would be cut short. Raise it."
        )
    n_days = asked.test_days + asked.tuning_days + asked.history_days
    if n_days > last.toordinal():
        raise ConfigError(
            f"{n_days:,} days of testing, tuning and history before {last} begin before the first "
            "day there is. Ask for fewer."
        )
    test = last - DAY * (asked.test_days - 1)
    cut = test - DAY * asked.tuning_days
    return Span((cut - DAY * asked.history_days, last), (cut, test - DAY), (test, last))


def run(last: date, settings: Settings, progress: Progress) -> EvaluationReport:
    """Evaluate every model, the last test day being ``last``.

    What is measured is kept in the home's folder ``evaluation``, so that an evaluation which was
    interrupted goes on; the same input, settings and code give the same numbers.

    Raises
    ------
    DataError
        There are no embeddings from before the cut, or nobody acted on the days.
    """
    span = span_of(last, settings)
    if settings.evaluation.sequence_models:
        from pinnersage.evaluate import trained as _  # noqa: F401, PLC0415 (what is missing is said now)
    progress(f"reading {span.log[0]} to {span.log[1]}")
    log = logs.read(*span.log, span.tuning[0], settings, settings.evaluation.max_users)
    return Evaluation(log, span, settings, progress).report()


class Trained(NamedTuple):
    """Sequence models, ready to be measured."""

    singles: list[Entry]
    several: list[Entry]
    """As the embedding of clusters."""
    curves: list[Training]


class Evaluation:
    """One evaluation under way."""

    def __init__(self, log: Log, span: Span, settings: Settings, progress: Progress) -> None:
        asked = settings.evaluation
        self.log, self.span, self.settings, self.progress = log, span, settings, progress
        self.seed, self.threads = asked.seed, settings.run.threads
        self.user_ids: list[int | str] = log.user_ids.to_pylist()
        self.searcher = Exact(log.matrix)
        limit = asked.cosine_threshold
        if asked.false_match_rate:
            limit = metrics.threshold_for(
                log.matrix, asked.false_match_rate, RANDOM_PAIRS, self.seed
            )
        self.protocol = Protocol(asked.n_candidates, limit, self.seed, self.threads)
        depends = [
            log.digest,
            __version__,
            code_digest(),
            versions_of_libraries(),
            span,
            asked.model_dump(exclude={"sequence_models"}),
            settings.model.window_days,
        ]
        digest = hashlib.sha256(repr(depends).encode()).hexdigest()[:16]
        self.kept = Kept(settings.home / "evaluation" / digest, digest)
        self.tuning = self._cases(span.tuning)
        self.test = self._cases(span.test)
        self.users = self.test.histories.users

    def _cases(self, days: tuple[date, date]) -> Cases:
        """Return the cases of some days."""
        found = cases.of_days(self.log, logs.days_between(*days), self.settings.model.window_days)
        if not found.n:
            raise DataError(
                f"Nobody who acted from {days[0]} to {days[1]} had acted before, within "
                f"{self.settings.model.window_days} days. Name a later last day, or more days."
            )
        return found

    def report(self) -> EvaluationReport:
        """Choose, measure, and put together what was found."""
        tuned = self._tuned()
        trained = self._trained(tuned)
        entries = [
            *lineup.singles(self.log.matrix),
            lineup.popular(self.log, self.settings.model.window_days),
            *trained.singles,
            *lineup.several(self.log.matrix, tuned, self.seed, self.threads),
            *trained.several,
        ]
        found = {entry.name: self._measure(entry) for entry in entries}
        made = [self._next_action()]
        comparisons, contrasts = [], []
        for budget in BUDGETS:
            for policy in lineup.unique((PAPER, tuned.policy)):
                rows = self._rows(entries, found, policy, budget, tuned)
                made.append(self._retrieval_table(rows, policy, budget))
                contrasts += self._contrasts(rows, policy, budget)
            rows = self._rows(entries, found, tuned.policy, budget, tuned)
            comparisons += [
                tables.against_best_single(budget, measure, rows, self.users, self.seed)
                for measure in RELEVANT
            ]
            made.append(self._policy_table(entries[0], found, budget, tuned))
        made += self._ranking_tables(entries, tuned)
        made += self._within_day(tuned)
        last_pin, main = found[entries[0].name], found[lineup.MAIN]
        chosen = found[lineup.chosen_name(tuned)].measured[Key(tuned.policy.name, "equal cost")]
        base = last_pin.measured[Key(entries[0].policies[0].name, "equal cost")]
        self.progress("figures")
        rows = self._rows(entries, found, tuned.policy, "equal cost", tuned)
        return self._about(
            notes=[*ahead(rows), *self._notes()],
            choice=self._choice(tuned),
            sweep=tuned.sweep,
            tables=made,
            comparisons=comparisons,
            contrasts=contrasts,
            curve=curves.diversity_against_relevance(
                last_pin, main, self.test, self.log.matrix, self.seed
            ),
            groups=curves.by_activity(base, chosen, self.test, self.seed),
            timelines=curves.timelines(self.test, self.log.matrix, self.seed),
            training=trained.curves,
        )

    def _tuned(self) -> Tuned:
        """Return what the tuning days choose."""
        self.progress(f"choosing on {self.span.tuning[0]} to {self.span.tuning[1]}")
        tuner = tuning.Tuner(self.tuning, self.user_ids, self.searcher, self.protocol, self.kept)
        return tuner.choose(self.settings.evaluation.merge_thresholds)

    def _trained(self, tuned: Tuned) -> Trained:
        """Return the sequence models that are asked for, trained on days before the tests."""
        names = self.settings.evaluation.sequence_models
        if not names:
            return Trained([], [], [])
        from pinnersage.evaluate import trained  # noqa: PLC0415 (JAX, only where it is asked for)

        until_us = cases.start_us(self.span.test[0])
        return Trained(
            *trained.sequences(
                names, self.log, tuned, until_us, self.threads, self.seed, self.progress
            )
        )

    def _measure(self, entry: Entry) -> Retrieval:
        """Return what is measured of a model on the test days."""
        self.progress(f"measuring {entry.name}")
        policies = "; ".join(policy.name for policy in entry.policies)
        return self.kept(
            f"{entry.name}: {entry.about}: {policies}",
            lambda: self._run(entry),
        )

    def _run(self, entry: Entry) -> Retrieval:
        """Measure a model on the test days; what is popular is found by no cosine."""
        model = entry.fresh()
        searcher = model if isinstance(model, Popular) else self.searcher
        return retrieval.run(
            model, self.test, self.user_ids, searcher, entry.policies, self.protocol
        )

    def _rows(
        self,
        entries: Sequence[Entry],
        found: dict[str, Retrieval],
        policy: Policy,
        budget: Budget,
        tuned: Tuned,
    ) -> list[Measured]:
        """Return one row a model, those of several vectors with one policy."""
        rows = []
        for entry in entries:
            asked = entry.policies[0] if entry.single else policy
            chosen = entry.name == lineup.chosen_name(tuned) and policy == tuned.policy
            key, name = Key(asked.name, budget), "" if entry.single else asked.name
            embeds = entry.single and not isinstance(entry.model, Popular)
            rows.append(
                self._row(entry.name, name, found[entry.name], key, single=embeds, chosen=chosen)
            )
            if entry.name == lineup.MAIN:
                one, key = f"{lineup.MAIN}, one sampled", Key(lineup.ONE.name, budget)
                rows.append(self._row(one, lineup.ONE.name, found[entry.name], key, single=True))
        return rows

    def _row(
        self,
        model: str,
        policy: str,
        found: Retrieval,
        key: Key,
        *,
        single: bool = False,
        chosen: bool = False,
    ) -> Measured:
        """Return a row of what was measured of a model under one key."""
        sums = found.measured[key] | retrieval.of_users(found)
        share = found.come[key].size / len(self.log.matrix)
        return Measured(model, policy, sums, single, chosen, share)

    def _contrasts(
        self, rows: Sequence[Measured], policy: Policy, budget: Budget
    ) -> list[Contrast]:
        """Return Ward's clusters against those of other libraries (the order of Table 4)."""
        named = {row.model: row for row in rows}
        return [
            tables.contrast(
                policy.name,
                budget,
                measure,
                (named[lineup.MAIN], named[other]),
                self.users,
                self.seed,
            )
            for other in (lineup.K_MEANS, lineup.COMPLETE)
            for measure in RELEVANT
        ]

    def _retrieval_table(self, rows: Sequence[Measured], policy: Policy, budget: Budget) -> Table:
        """Return Table 4 for one policy and budget."""
        of_paper = policy == PAPER and budget == "equal cost"
        frame = Frame(
            "Table 4",
            f"Candidate retrieval, {policy.name}, {budget}",
            ABOUT_RETRIEVAL[budget] + (" This is the paper's own setting." if of_paper else ""),
            RETRIEVAL,
            {
                name: {"relevance, all": lift[0], "recall, all": lift[1]}
                for name, lift in paper.TABLE_4.items()
            }
            if of_paper
            else {},
        )
        return self._covered(frame, rows)

    def _policy_table(
        self, first: Entry, found: dict[str, Retrieval], budget: Budget, tuned: Tuned
    ) -> Table:
        """Return PinnerSage with every policy."""
        key = Key(first.policies[0].name, budget)
        rows = [self._row(first.name, "", found[first.name], key, single=True)]
        for policy in lineup.unique((*POLICIES, tuned.policy)):
            main, key = found[lineup.MAIN], Key(policy.name, budget)
            chosen = policy == tuned.policy and lineup.chosen_name(tuned) == lineup.MAIN
            rows.append(self._row(lineup.MAIN, policy.name, main, key, chosen=chosen))
        frame = Frame(
            "Policies",
            f"Which clusters are asked, and how many candidates each brings, {budget}",
            "PinnerSage's medoids, asked in different ways. " + ABOUT_RETRIEVAL[budget],
            RETRIEVAL,
        )
        return self._covered(frame, rows)

    def _covered(self, frame: Frame, rows: Sequence[Measured]) -> Table:
        """Return a table of candidates, with coverage."""
        return tables.extended(self._table(frame, rows), COVERAGE, [row.coverage for row in rows])

    def _table(self, frame: Frame, rows: Sequence[Measured]) -> Table:
        return tables.table(frame, rows, self.users, n_targets(self.test), self.seed)

    def _next_action(self) -> Table:
        """Return Table 1."""
        self.progress("measuring the next action")
        window, days = self.settings.model.window_days, logs.days_between(*self.span.test)
        models: dict[str, Model] = {
            **{entry.name: entry.model for entry in lineup.singles(self.log.matrix)},
            "k-means oracle (k = 3)": Grouped(
                self.log.matrix,
                clusterers.kmeans(3, self.seed),
                "",
                embedding="centroid",
                threads=self.threads,
            ),
            "Oracle": EveryPin(self.log.matrix),
        }
        moments = next_action.of_days(
            self.log, days, window, next_action.SITTING_MINUTES, self.seed
        )
        found = next_action.accuracy(
            models, moments, self.log.matrix, self.protocol.threshold, candidate_ranking.WHICH
        )
        frame = Frame(
            "Table 1",
            "The next action: is a vector of the user near it?",
            f"Every action of a sitting (no gap above {next_action.SITTING_MINUTES} minutes) is "
            "predicted from what came before the sitting, within the window (section 3). "
            "Accuracy is the share whose cosine to the user's vector reaches the threshold. An "
            "oracle picks its vector after it has seen the action. " + counted(moments.left_out),
            [f"accuracy, {which}" for which in candidate_ranking.WHICH],
            {name: {"accuracy, all": lift} for name, lift in paper.TABLE_1.items()},
        )
        rows = [
            Measured(name, "", {f"accuracy, {which}": sums for which, sums in by_kind.items()})
            for name, by_kind in found.items()
        ]
        kinds: dict[str, int] = {
            which: int(metrics.counted(moments.targets.new, which).sum())
            for which in candidate_ranking.WHICH
        }
        return tables.table(frame, rows, moments.histories.users, kinds, self.seed)

    def _ranking_tables(self, entries: Sequence[Entry], tuned: Tuned) -> list[Table]:
        """Return Table 5 with the paper's three sampled vectors, and with the chosen policy."""
        against = candidate_ranking.others(
            self.test, len(self.log.pin_ids), self.user_ids, self.seed
        )
        made = []
        for policy in lineup.unique((PAPER, tuned.policy)):
            rows = []
            for entry in entries:
                if isinstance(entry.model, Popular):
                    continue  # no vector to rank by
                self.progress(f"ranking by {entry.name}, {policy.name}")
                rows.append(self._ranked(entry, entry.name, policy, against))
                if entry.name == lineup.MAIN:
                    one = self._ranked(entry, f"{lineup.MAIN}, one sampled", lineup.ONE, against)
                    rows.append(one)
            of_paper = policy == PAPER
            frame = Frame(
                "Table 5",
                f"Candidate ranking, {policy.name}",
                "The actions of a user's day among 20 other pins each, by the largest cosine to "
                "any vector that is asked (section 5.3.2). The log has no impressions: all others "
                "are random pins.",
                RANKING,
                {
                    name: {"r-precision, all": lift[0], "reciprocal rank, all": lift[1]}
                    for name, lift in paper.TABLE_5.items()
                }
                if of_paper
                else {},
            )
            made.append(self._table(frame, rows))
        return made

    def _ranked(self, entry: Entry, name: str, policy: Policy, against: Lists) -> Measured:
        """Return one row of Table 5."""
        asked = entry.policies[0] if entry.single else policy
        model = entry.fresh()
        ranked = candidate_ranking.ranks(
            model, self.test, against, self.log.matrix, asked, self.user_ids, self.protocol
        )
        sums = candidate_ranking.measured(ranked, self.test.targets.new)
        return Measured(name, "" if entry.single else asked.name, sums, entry.single)

    def _within_day(self, tuned: Tuned) -> list[Table]:
        """Return what online updates are worth later on the same day; nothing where none is."""
        days, n_latest = logs.days_between(*self.span.test), self.settings.online.max_actions
        moments = within_day.of_days(self.log, days, self.settings.model.window_days)
        if not moments.n:
            return []
        plain = PinnerSage(
            self.log.matrix,
            tuned.merge_threshold,
            tuned.decay_per_day,
            threads=self.threads,
            name="Batch alone",
        )
        online = within_day.Online(plain, self.log, n_latest)
        models: list[tuple[Model, Policy]] = [
            (plain, tuned.policy),
            (within_day.LatestPin(self.log), SINGLE),
            (online, tuned.policy),
        ]
        protocol = self.protocol._replace(budgets=("equal candidates",))
        known, found = f"{tuned.merge_threshold}: {tuned.decay_per_day}", {}
        for model, policy in models:
            self.progress(f"measuring within the day: {model.name}")
            run = partial(
                retrieval.run, model, moments, self.user_ids, self.searcher, (policy,), protocol
            )
            measured = self.kept(
                f"within the day: {model.name}: {known}: {policy.name}: {n_latest}", run
            )
            found[model.name] = measured.measured[Key(policy.name, "equal candidates")]
        return [within_day.table(found, moments, tuned.policy.name, n_latest, self.seed)]

    def _choice(self, tuned: Tuned) -> Choice:
        """Return what was chosen, with the rule that needs no future beside it."""
        known = cases.before(
            self.log,
            np.arange(len(self.user_ids)),
            cases.start_us(self.span.tuning[0]),
            self.settings.model.window_days,
        )
        able = threshold.sample(known, 1, self.seed).offsets.size > 1  # someone has two pins
        rule = (
            threshold.choose(known, self.log.matrix, seed=self.seed, threads=self.threads)
            if able
            else None
        )
        return Choice(
            merge_threshold=tuned.merge_threshold,
            decay_per_day=tuned.decay_per_day,
            policy=tuned.policy.name,
            criterion=f"{tuning.CRITERION}, equal cost",
            tried=tuned.tried,
            by_rule=rule.merge_threshold if rule else None,
        )

    def _about(self, **found: Any) -> EvaluationReport:
        """Return the report: what was found, and on what."""
        asked, matrix = self.settings.evaluation, self.log.matrix
        made = EvaluationReport(
            title=f"Evaluation, {self.span.test[0]} to {self.span.test[1]}",
            code_version=__version__,
            libraries=versions_of_libraries(NETWORKS if asked.sequence_models else ()),
            inputs=self.log.digest,
            embeddings=self.log.embeddings,
            n_pins=len(matrix),
            dimensions=matrix.shape[1],
            first_day=self.span.log[0],
            tuning_days=self.span.tuning,
            test_days=self.span.test,
            seed=self.seed,
            n_candidates=asked.n_candidates,
            cosine_threshold=self.protocol.threshold,
            false_match_rate=metrics.false_match_rate(
                matrix, self.protocol.threshold, RANDOM_PAIRS, self.seed
            ),
            settings={
                "evaluation": asked.model_dump(mode="json"),
                "model": self.settings.model.model_dump(mode="json"),
            },
            n_users=np.unique(self.users).size,
            n_actions=self.log.rows.size,
            n_cases=self.test.n,
            n_targets=n_targets(self.test),
            left_out=in_words(self.log.left_out) | self.test.left_out,
            **found,
        )
        return report.stamped(made)

    def _notes(self) -> list[str]:
        """Return what a reader must know."""
        notes = [IMPRESSIONS, AFTER_THE_FACT]
        share = self.settings.evaluation.n_candidates / len(self.log.matrix)
        if share > LARGE_SHARE:
            notes.append(
                f"{self.settings.evaluation.n_candidates} candidates are {min(share, 1):.0%} of "
                f"all {len(self.log.matrix):,} pins: more a ranking than a retrieval. Set "
                "evaluation.n_candidates lower."
            )
        if not self.settings.evaluation.sequence_models:
            notes.append("Sequence models were not asked for (evaluation.sequence_models).")
        return notes


def versions_of_libraries(more: Sequence[str] = ()) -> dict[str, str]:
    """Return what numbers come from, beside our own code."""
    return {name: importlib.metadata.version(name) for name in (*LIBRARIES, *more)}


def ahead(rows: Sequence[Measured]) -> list[str]:
    """Return a note where what is popular does better than the chosen model."""
    plain = next(row for row in rows if row.model == Popular.name)
    chosen = next(row for row in rows if row.chosen)
    values = {
        measure: (chosen.sums[measure].value or 0.0, plain.sums[measure].value or 0.0)
        for measure in RELEVANT
    }
    better = [
        f"{words.measure_name(measure)} ({theirs:.3f} against {ours:.3f})"
        for measure, (ours, theirs) in values.items()
        if theirs > ours
    ]
    note = (
        f"{Popular.name}, the same for everybody, are ahead of the chosen model at equal cost in "
    )
    return [f"{note}{', '.join(better)}."] if better else []


def n_targets(found: Cases) -> dict[str, int]:
    """Return action pins by kind."""
    new = int(found.targets.new.sum())
    return {"all": found.targets.rows.size, "new": new, "repeats": found.targets.rows.size - new}


def in_words(left_out: dict[str, int]) -> dict[str, int]:
    """Return what the extraction left out, by reasons as people read them."""
    return {reason.replace("_", " "): n for reason, n in left_out.items()}


def counted(left_out: dict[str, int]) -> str:
    """Return what was left out, in words."""
    parts = [f"{n:,} {reason}" for reason, n in left_out.items() if n]
    return f"Left out: {', '.join(parts)}." if parts else ""
