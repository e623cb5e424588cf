"""Evaluation, end to end: the same numbers every time, and nothing of them from the future."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from events import event, make, write_log, write_pins
from random_logs import N_DAYS, actions_of, drawn_log, log_of, nth, with_another_future

from pinnersage import config, init
from pinnersage.errors import DataError
from pinnersage.evaluate import evaluation, lineup, metrics, retrieval
from pinnersage.evaluate.cases import NO_PAST, start_us
from pinnersage.evaluate.evaluation import Evaluation, span_of
from pinnersage.evaluate.policies import BUDGETS
from pinnersage.evaluate.results import EvaluationReport

LAST = nth(10)
SMALL = {
    "test_days": 3,
    "tuning_days": 3,
    "history_days": 5,
    "n_candidates": 6,
    "merge_thresholds": [0.3, 1.0],
}


@pytest.fixture(autouse=True)
def _fewer_pairs(monkeypatch):
    monkeypatch.setattr(evaluation, "RANDOM_PAIRS", 20_000)


@pytest.fixture
def settings(tmp_path):
    """Settings of an empty home, with some keys of ``[evaluation]`` changed."""

    def settings(home="home", threads=1, window_days=5, **changes):
        sections = {"evaluation": SMALL | changes, "model": {"window_days": window_days}}
        return config.build(tmp_path / home, sections | {"run": {"threads": threads}})

    return settings


def of(log, settings):
    """An evaluation of a log by hand, its last test day ``LAST``."""
    return Evaluation(log, span_of(LAST, settings), settings, lambda _: None)


@pytest.fixture
def counted(monkeypatch):
    """The models that are measured, in order."""
    measured = []

    def run(model, *rest, **more):
        measured.append(model.name)
        return kept(model, *rest, **more)

    kept = retrieval.run
    monkeypatch.setattr(retrieval, "run", run)
    return measured


def test_days_follow_each_other_history_tuning_test(settings):
    span = span_of(LAST, settings())
    assert span.test == (nth(8), nth(10))
    assert span.tuning == (nth(5), nth(7))
    assert span.log == (nth(0), nth(10))
    assert (LAST - nth(0)).days < N_DAYS


# --- again ---------------------------------------------------------------------------------------


def test_a_second_run_says_the_same_and_measures_nothing(settings, counted):
    log = drawn_log(1)
    one = of(log, settings()).report()
    assert counted
    counted.clear()
    assert of(log, settings()).report() == one
    assert counted == []
    assert EvaluationReport.model_validate_json(one.model_dump_json()) == one


def test_another_home_says_the_same_with_two_threads_as_with_one(settings):
    log = drawn_log(1)
    one, two = (
        of(log, settings(home=f"{threads}", threads=threads)).report() for threads in (1, 2)
    )
    assert one == two


class Killed(BaseException):
    """Whatever ends a process."""


def test_an_interrupted_run_goes_on_where_it_was(settings, counted, monkeypatch):
    log = drawn_log(1)
    undisturbed = of(log, settings(home="undisturbed")).report()
    expected = [*counted]
    counted.clear()
    counting, at = retrieval.run, []

    def run(model, *rest, **more):
        at.append(model.name)
        if len(at) in {3, 10, 17}:
            raise Killed
        return counting(model, *rest, **more)

    monkeypatch.setattr(retrieval, "run", run)
    for _ in range(3):
        with pytest.raises(Killed):
            of(log, settings()).report()
    assert of(log, settings()).report() == undisturbed
    assert counted == expected, "each once, in the order of a run that nothing disturbs"


CHANGES = {
    "seed": 1,
    "n_candidates": 7,
    "cosine_threshold": 0.5,
    "false_match_rate": 0.1,
    "merge_thresholds": [0.3, 1.1],
    "window_days": 4,
    "max_users": 6,
}


@pytest.mark.parametrize("name", [*CHANGES, "input"])
def test_what_was_kept_is_not_taken_for_another_question(name, settings, counted):
    log = drawn_log(1)
    of(log, settings()).report()
    full = [*counted]
    counted.clear()
    if name == "input":
        log = with_another_future(log, start_us(LAST), seed=1)
    of(log, settings(**({name: CHANGES[name]} if name in CHANGES else {})))._tuned()
    assert counted[: len(SMALL["merge_thresholds"])] == full[: len(SMALL["merge_thresholds"])]
    assert len(counted) > len(SMALL["merge_thresholds"]), "measured anew"


# --- no leak -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_nothing_from_the_first_test_day_on_changes_what_is_chosen(seed, settings):
    log = drawn_log(seed)
    found = []
    for some in (log, with_another_future(log, start_us(nth(8)), seed)):
        under_way = of(some, settings())
        tuned = under_way._tuned()
        found.append((tuned, under_way._choice(tuned), under_way.protocol))
    assert found[0] == found[1]
    assert found[0][1].by_rule is not None


@pytest.mark.parametrize("day", [8, 9])
def test_nothing_after_a_test_day_changes_a_number_of_that_day(day, settings):
    log = drawn_log(3)
    after = start_us(nth(day + 1))
    other = with_another_future(log, after, seed=4)
    one, two = (of(some, settings()) for some in (log, other))
    tuned = one._tuned()
    assert tuned == two._tuned()
    n = int(np.searchsorted(one.test.day, day - 8, side="right"))
    assert 0 < n == np.searchsorted(two.test.day, day - 8, side="right")
    lists = ([*lineup.singles(some.matrix), lineup.popular(some, 5),
              *lineup.several(some.matrix, tuned, 0, 1)] for some in (log, other))  # fmt: skip
    for entry, of_other in zip(*lists, strict=True):
        here, there = one._measure(entry), two._measure(of_other)
        for key, sums in here.measured.items():
            for measure, (hits, counts) in sums.items():
                assert hits[:n].tolist() == there.measured[key][measure].hits[:n].tolist()
                assert counts[:n].tolist() == there.measured[key][measure].counts[:n].tolist()
    assert one.test.n > n
    assert log.digest != other.digest


def test_every_model_is_measured_on_the_same_cases(settings):
    report = of(drawn_log(2), settings()).report()
    for table in report.tables:
        if table.name not in {"Table 1", "Online"}:  # of their own moments
            assert (table.n_cases, table.n_users) == (report.n_cases, report.n_users)
            assert table.n_targets == report.n_targets
        base = "Batch alone" if table.name == "Online" else "Last pin"
        assert table.rows[0].model == base
        assert len({(row.model, row.policy) for row in table.rows}) == len(table.rows)


# --- what is counted -----------------------------------------------------------------------------


def test_users_without_a_past_are_counted_and_denominators_add_up(settings):
    log = drawn_log(1)
    known = log_of(
        [
            *zip(log.users.tolist(), log.times_us.tolist(), log.rows.tolist(), strict=True),
            *((user, start_us(nth(9)) + 5, 3) for user in (20, 21)),
        ],
        log.matrix,
    )
    known = known.of(np.flatnonzero(np.diff(known.offsets)))
    one, two = (of(some, settings()).report() for some in (log, known))
    assert two.left_out[NO_PAST] == one.left_out[NO_PAST] + 2
    assert (two.n_cases, two.n_targets) == (one.n_cases, one.n_targets)
    for table in two.tables:
        assert table.n_targets["all"] == table.n_targets["new"] + table.n_targets["repeats"]
    assert two.n_actions == one.n_actions + 2


def test_the_verdict_is_of_the_chosen_row(settings):
    report = of(drawn_log(2), settings()).report()
    assert {c.budget for c in report.comparisons} == set(BUDGETS)
    for table in report.tables:
        if table.name == "Table 4" and report.choice.policy in table.title:
            assert [row.chosen for row in table.rows].count(True) == 1
            [row] = [row for row in table.rows if row.chosen]
            assert {c.chosen for c in report.comparisons} == {f"{row.model}, {row.policy}"}


def test_a_rate_of_false_matches_sets_the_threshold(settings):
    log = drawn_log(1)
    report = of(log, settings(false_match_rate=0.05)).report()
    limit = metrics.threshold_for(log.matrix, 0.05, evaluation.RANDOM_PAIRS, 0)
    assert report.cosine_threshold == limit != 0.8
    assert report.false_match_rate <= 0.05
    pairs = evaluation.RANDOM_PAIRS
    assert report.false_match_rate == metrics.false_match_rate(log.matrix, limit, pairs, 0)
    fixed = of(log, settings(cosine_threshold=0.6)).report()
    assert fixed.cosine_threshold == 0.6
    assert fixed.false_match_rate == metrics.false_match_rate(log.matrix, 0.6, pairs, 0)


def test_many_candidates_of_few_pins_are_noted(settings):
    notes = " ".join(of(drawn_log(1), settings()).report().notes)
    assert "6 candidates are 24% of all 25 pins" in notes
    assert "Set evaluation.n_candidates lower" in notes


def test_days_on_which_nobody_can_be_judged_are_an_error(settings):
    log = drawn_log(1)
    early = with_another_future(log, start_us(nth(40)), seed=1)
    with pytest.raises(
        DataError, match=r"Nobody who acted from .* had acted before, within 5 days"
    ):
        Evaluation(early, span_of(nth(30), settings()), settings(), lambda _: None)


def test_what_is_under_way_is_told(settings):
    told = []
    log = drawn_log(1)
    Evaluation(log, span_of(LAST, settings()), settings(), told.append).report()
    assert told[0] == f"choosing on {nth(5)} to {nth(7)}"
    assert "measuring PinnerSage" in told


# --- a home --------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path):
    """Make a home over a log by hand, its ids integers or text; return its settings."""

    def home(log, name="home", *, text=False, valid_from=None, **changes):
        def named(user, row):
            return (f"{user}", f"{row:02}") if text else (user, row)

        users, start = log.user_ids.to_pylist(), datetime(1970, 1, 1, tzinfo=UTC)
        events = [
            event(*named(users[user], row), start + timedelta(microseconds=time))
            for user, time, row in actions_of(log)
        ]
        ids = pa.string() if text else pa.int64()
        path = write_log(tmp_path / f"{name}.parquet", events, ids=ids)
        pins = [named(0, row)[1] for row in range(len(log.matrix))]
        items = write_pins(tmp_path / f"{name}-pins", pins, log.matrix)
        sections = {"model": {"window_days": 5}, "evaluation": SMALL | changes}
        if valid_from is None:
            return make(tmp_path / name, path, items, sections=sections)
        init.run(
            tmp_path / name, config.SourceConfig(actions=str(path)), items, valid_from=valid_from
        )
        return config.build(tmp_path / name, sections | {"source": {"actions": str(path)}})

    return home


def ran(settings, last=LAST):
    return evaluation.run(last, settings, lambda _: None)


def test_names_of_users_and_pins_may_be_integers_or_text(home):
    log = drawn_log(1)
    numbers, text = ran(home(log)), ran(home(log, "text", text=True))
    assert numbers.tables == text.tables
    assert (numbers.choice, numbers.sweep, numbers.curve) == (text.choice, text.sweep, text.curve)
    assert numbers.n_cases > 0


def test_a_home_is_evaluated_twice_alike_and_later_days_are_not_read(home, counted):
    log = drawn_log(2)
    settings = home(log)
    one = ran(settings)
    counted.clear()
    assert ran(settings) == one
    assert counted == []
    other = with_another_future(log, start_us(LAST + timedelta(days=1)), seed=1)
    assert actions_of(other) != actions_of(log)
    assert ran(home(other, "other")) == one


def test_of_many_users_those_asked_for_are_taken(home):
    log = drawn_log(2)
    every, few = ran(home(log)), ran(home(log, "few", max_users=4))
    assert few.n_users <= 4 < every.n_users
    assert few.n_actions < every.n_actions
    assert few == ran(home(log, "again", max_users=4))


def test_embeddings_from_after_the_cut_are_refused(home):
    """Those that are valid from the first tuning day on were made from what was before it."""
    log = drawn_log(1)
    cut = nth(5)
    assert ran(home(log, "in-time", valid_from=cut)).n_cases > 0
    late = home(log, "late", valid_from=cut + timedelta(days=1))
    message = rf"No version of embeddings is valid on {cut}: the first is valid from {nth(6)}"
    with pytest.raises(DataError, match=message):
        ran(late)


def test_days_without_any_action_are_an_error_that_says_so(home):
    with pytest.raises(DataError, match=r"No interest in a pin with an embedding from"):
        ran(home(drawn_log(1)), LAST + timedelta(days=400))
