import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sequence_logs import DAY, known_before, log_of, world

jax = pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.cases import of_days, start_us
from pinnersage.evaluate.histories import Histories
from pinnersage.evaluate.log import days_between
from pinnersage.evaluate.models import LastPin
from pinnersage.evaluate.sequence.sequence_model import NETWORKS, SequenceModel
from pinnersage.evaluate.sequence.train import Training

TINY = Training(
    size=16,
    window=40,
    batch=8,
    targets=64,
    n_negatives=32,
    negatives=("random",),
    epochs=5,
    learning_rate=0.01,
)
CUT = 25 * DAY


@pytest.fixture(scope="module")
def log():
    return world(n_users=150)


@pytest.fixture(scope="module", params=NETWORKS)
def model(request, log):
    return SequenceModel(request.param, log, TINY).fit(CUT)


def parameters(model):
    return jax.tree.leaves(model._trainer.state.parameters)


def same(one, two):
    return all(map(np.array_equal, parameters(one), parameters(two)))


def test_losses_fall_for_those_trained_on_and_for_others(model):
    assert len(model.curve.train) == len(model.curve.held_out) == TINY.epochs + 1
    assert model.curve.steps[:2] == [0, model.curve.steps[-1] // TINY.epochs]
    assert min(model.curve.train[-2:]) < 0.7 * model.curve.train[0]
    assert min(model.curve.held_out) < 0.7 * model.curve.held_out[0]


def test_they_beat_the_last_pin_where_it_misleads(model, log):
    """The next sitting is of the next topic: a model has to learn that."""
    found = model.represent(known_before(log, CUT))
    n_right = n = 0
    for user in np.flatnonzero(np.diff(found.offsets)):
        at = np.arange(log.offsets[user], log.offsets[user + 1])
        later, known = at[log.times_us[at] >= CUT], at[log.times_us[at] < CUT]
        if later.size:
            nearest = np.argsort(-log.matrix @ found.vectors[found.offsets[user]])[:12]
            n_right += log.rows[later[0]] in nearest
            assert log.rows[later[0]] // 12 != log.rows[known[-1]] // 12
            n += 1
    assert n > 100
    assert n_right / n > 0.8


def test_vectors_are_unit_one_a_user_and_of_no_pin(model, log):
    asked = known_before(log, 2 * DAY)
    found = model.represent(asked)
    has_actions = np.diff(asked.offsets) > 0
    assert not has_actions.all()
    np.testing.assert_array_equal(np.diff(found.offsets), has_actions)
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert (found.weights == 1).all()
    assert (found.rows == -1).all()


def test_a_user_alone_and_among_others_has_the_same_vector(model, log):
    together = model.represent(known_before(log, CUT))
    for user in range(0, 150, 23):
        alone = model.represent(known_before(log, CUT, [user])).vectors
        theirs = together.vectors[together.offsets[user] : together.offsets[user + 1]]
        np.testing.assert_allclose(alone, theirs, atol=1e-5)


def test_padding_changes_nothing(model, log, monkeypatch):
    before = model.represent(known_before(log, CUT)).vectors
    monkeypatch.setattr("pinnersage.evaluate.sequence.sequence_model.WIDTHS", (3, 17, 39))
    np.testing.assert_allclose(model.represent(known_before(log, CUT)).vectors, before, atol=1e-5)


def test_who_a_user_is_does_not_matter(model, log):
    asked = known_before(log, CUT)
    other = asked._replace(users=asked.users[::-1].copy())
    assert np.array_equal(model.represent(asked).vectors, model.represent(other).vectors)


def test_only_the_window_is_looked_at(model):
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 72, 60).astype(np.intp)
    ages = np.sort(rng.uniform(0, 50, 60))[::-1].copy()
    one, now = np.zeros(1, np.intp), np.array([CUT])
    long = Histories(np.array([0, 60]), rows, ages, one, now)
    short = Histories(np.array([0, 40]), rows[20:], ages[20:], one, now)
    assert np.array_equal(model.represent(long).vectors, model.represent(short).vectors)


def test_nobody_has_no_vectors(model):
    nothing = np.empty(0)
    found = model.represent(
        Histories(np.zeros(1, np.intp), nothing.astype(np.intp), nothing,
                  nothing.astype(np.intp), nothing.astype(np.int64))
    )  # fmt: skip
    assert found.offsets.tolist() == [0]
    assert found.vectors.shape == (0, 16)


def test_twice_the_same_numbers(model, log):
    again = SequenceModel(model.name, log, TINY).fit(CUT)
    assert again.curve == model.curve
    assert same(again, model)


def shuffled_from(log, moment, seed=9):
    """The log with other pins, and one more user, from a moment on."""
    rng = np.random.default_rng(seed)
    late = log.times_us >= moment
    rows = log.rows.copy()
    rows[late] = rng.permutation(rows[late])
    return SimpleNamespace(
        offsets=np.append(log.offsets, log.offsets[-1] + 5),
        rows=np.append(rows, rng.integers(0, 72, 5)),
        times_us=np.append(log.times_us, moment + np.arange(5) * DAY),
        matrix=log.matrix,
    )


def test_what_happens_later_changes_nothing(model, log):
    later = SequenceModel(model.name, shuffled_from(log, CUT), TINY).fit(CUT)
    assert later.curve == model.curve
    assert same(later, model)


@pytest.fixture
def quick(log):
    return SequenceModel("GRU", log, replace(TINY, epochs=1)).fit(CUT)


def test_learning_a_day_looks_at_nothing_after_it(quick, log):
    other = shuffled_from(log, CUT + DAY)
    theirs = SequenceModel("GRU", other, replace(TINY, epochs=1)).fit(CUT)
    before = parameters(quick)
    quick.learn(CUT + DAY)
    theirs.learn(CUT + DAY)
    assert same(quick, theirs)
    assert not all(map(np.array_equal, before, parameters(quick)))


def test_a_day_is_learned_once(quick):
    quick.learn(CUT + DAY)
    before = parameters(quick)
    quick.learn(CUT + DAY)
    assert all(map(np.array_equal, before, parameters(quick)))


def test_fitting_again_begins_anew(quick):
    before = parameters(quick)
    quick.learn(CUT + DAY)
    quick.fit(CUT)
    assert all(map(np.array_equal, before, parameters(quick)))


def test_days_are_learned_in_order(quick):
    quick.learn(CUT + DAY)
    with pytest.raises(ConfigError, match="cannot go back"):
        quick.learn(CUT)


def test_an_untrained_model_says_so(log):
    model = SequenceModel("LSTM", log, TINY)
    with pytest.raises(ConfigError, match="LSTM is not trained yet: call fit"):
        model.represent(known_before(log, CUT))
    with pytest.raises(ConfigError, match="not trained"):
        model.learn(CUT)


def test_an_unknown_name_is_refused(log):
    with pytest.raises(ConfigError, match="'gru': GRU, LSTM, HierTCN"):
        SequenceModel("gru", log, TINY)


def test_too_few_users_who_came_back_are_refused():
    alone = log_of([[(0, 1), (24, 2)], [(0, 3)], [(0, 4), (1, 5)]])
    with pytest.raises(DataError, match="1 users of 3 had a second sitting"):
        SequenceModel("GRU", alone, TINY).fit(CUT)


def test_two_users_are_enough():
    two = log_of([[(0, 1), (24, 2)], [(0, 3), (30, 4)]])
    curve = SequenceModel("GRU", two, replace(TINY, epochs=1)).fit(CUT).curve
    assert np.isfinite([*curve.train, *curve.held_out]).all()


def test_a_loss_that_is_not_finite_is_refused(log):
    model = SequenceModel("GRU", log, replace(TINY, learning_rate=float("inf")))
    with pytest.raises(ConfigError, match="not finite after pass 1 at learning rate inf"):
        model.fit(CUT)


@pytest.mark.slow
def test_real_actions_are_foretold_better_than_by_the_last_pin(real_data, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "benchmarks"))
    sequence_losses = sys.modules.get("sequence_losses") or __import__("sequence_losses")
    cut = date(2010, 10, 1)
    path = str(real_data / "online_retail" / "actions.parquet")
    log = sequence_losses.read(path, ["purchase"], cut)
    cases = of_days(log, days_between(cut, date(2010, 10, 7)), 90)
    model = SequenceModel("GRU", log, Training(epochs=3)).fit(start_us(cut))
    ours = sequence_losses.measured(model, cases, log)
    last = sequence_losses.measured(LastPin(log.matrix), cases, log)
    assert cases.n > 100
    for name, sums in ours.items():
        assert sums.value > 1.2 * last[name].value, name
