from dataclasses import replace

import numpy as np
import pytest
from sequence_logs import HOUR, log_of, world

jax = pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage.errors import ConfigError
from pinnersage.evaluate.sequence import windows as w
from pinnersage.evaluate.sequence.negatives import catalogue_of
from pinnersage.evaluate.sequence.recurrent import GRU
from pinnersage.evaluate.sequence.train import Trainer, Training, batch_of, mean_loss

TINY = Training(
    size=8, window=12, batch=4, targets=32, n_negatives=10, n_hard=3,
    negatives=("random", "popular", "hard"), learning_rate=0.02,
)  # fmt: skip


def prepared(log, training=TINY):
    actions = w.before(log, 10**15, np.ones(log.offsets.size - 1, bool))
    windows = w.windows_of(actions, gap_us=training.gap_us, length=training.window, since_us=None)
    return actions, windows, catalogue_of(actions.rows)


def drawn(log, chosen, training=TINY, seed=0):
    actions, windows, pins = prepared(log, training)
    rng = np.random.default_rng(seed)
    batch = batch_of(actions, windows, np.array(chosen), pins, log.matrix, training, rng)
    return batch, actions, windows


def test_an_action_is_predicted_from_the_end_of_the_sitting_before_it():
    log = world(n_users=20, seed=1)
    batch, actions, windows = drawn(log, [3, 0, 7])
    for line, place, target in zip(batch.line, batch.place, batch.target, strict=True):
        window = [3, 0, 7][line]
        at = windows.starts[window] + place
        number = np.flatnonzero(windows.ends == at)[0]
        assert batch.rows[line, place] == actions.rows[at]
        after = actions.rows[windows.next_starts[number] : windows.next_stops[number]]
        assert target in after
        assert actions.times_us[windows.next_starts[number]] - actions.times_us[at] > TINY.gap_us


def test_no_kept_negative_is_of_the_predicted_sitting():
    log = world(n_users=20, seed=1)
    batch, actions, windows = drawn(log, [3, 0, 7])
    both = np.concatenate([np.repeat(batch.shared, TINY.targets, axis=0), batch.own], axis=1)
    assert batch.kept.shape == both.shape == (32, 13)
    left_out = 0
    for i, (line, place) in enumerate(zip(batch.line, batch.place, strict=True)):
        at = windows.starts[[3, 0, 7][line]] + place
        number = np.flatnonzero(windows.ends == at)[0]
        after = actions.rows[windows.next_starts[number] : windows.next_stops[number]]
        assert batch.kept[i].tolist() == [row not in after for row in both[i]]
        left_out += (~batch.kept[i]).sum()
    assert left_out


def test_every_step_counts_the_same_however_large_its_sitting():
    log = log_of([[(0, 0), (24, 1), *((48, 2 + i % 6) for i in range(30))]])
    batch, _, _ = drawn(log, [0], replace(TINY, targets=4_000))
    assert np.mean(batch.place == 0) == pytest.approx(0.5, abs=0.03)


def test_kinds_of_negatives_share_their_number():
    log = world(n_users=20)
    alone, _, _ = drawn(log, [0], replace(TINY, negatives=("random",)))
    assert (alone.shared.shape, alone.own.shape) == ((1, 10), (32, 0))
    hard, _, _ = drawn(log, [0], replace(TINY, negatives=("hard",)))
    assert (hard.shared.shape, hard.own.shape) == ((1, 0), (32, 3))


@pytest.mark.parametrize("loss", ["l2", "hinge", "log"])
def test_losses_fall(loss):
    log = world(seed=2)
    trainer = Trainer(GRU, log.matrix, replace(TINY, loss=loss))
    work = prepared(log)
    start = trainer.loss(*work)
    for _ in range(4):
        trainer.one_pass(*work)
    assert trainer.loss(*work) < 0.9 * start


def test_the_objective_is_the_mean_loss_of_cosines():
    log = world(n_users=20)
    batch, _, _ = drawn(log, [0, 1, 2])
    parameters = GRU.draw(np.random.default_rng(0), 16, 8)
    found = mean_loss(GRU, "hinge", parameters, jax.numpy.asarray(log.matrix), batch)
    outputs = np.asarray(GRU.vectors(parameters, log.matrix[batch.rows], batch.sittings))
    losses = []
    for i in range(TINY.targets):
        user = outputs[batch.line[i], batch.place[i]]
        cosines = log.matrix @ user / np.linalg.norm(user)
        rows = [*batch.shared[0], *batch.own[i]]
        each = [
            max(0, 0.3 - cosines[batch.target[i]] + cosines[row])
            for row, kept in zip(rows, batch.kept[i], strict=True)
            if kept
        ]
        losses.append(np.mean(each))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)


def test_asking_for_the_loss_changes_nothing():
    log = world(n_users=20)
    work = prepared(log)
    one, two = (Trainer(GRU, log.matrix, TINY) for _ in range(2))
    assert one.loss(*work) == one.loss(*work)
    assert one.one_pass(*work) == two.one_pass(*work)


def test_the_same_seed_gives_the_same_parameters():
    log = world(n_users=30)
    work = prepared(log)
    one, two = (Trainer(GRU, log.matrix, TINY) for _ in range(2))
    assert [one.one_pass(*work) for _ in range(2)] == [two.one_pass(*work) for _ in range(2)]
    same = jax.tree.map(np.array_equal, one.state.parameters, two.state.parameters)
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "l3"}, "No loss is called l3. There are hinge, l2, log."),
        ({"negatives": ("random", "soft")}, "soft. There are hard, popular, random."),
        ({"negatives": ()}, "No kind of negatives is called nothing"),
        ({"window": 0}, "window is 0; at least 1 is needed."),
        ({"held_out": 1.0}, "held_out is 1.0, not between 0 and 1."),
        ({"sitting_gap_hours": -1.0}, "sitting_gap_hours is -1.0, below 0."),
    ],
)
def test_what_cannot_work_is_refused(options, words):
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        Training(**options)


def test_the_gap_is_in_hours():
    assert Training(sitting_gap_hours=1.5).gap_us == 1.5 * HOUR
