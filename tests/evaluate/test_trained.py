"""Trained: sequence models stand in the tables, and know nothing of the test days beforehand."""

from functools import partial

import numpy as np
import pytest
from random_logs import drawn_log, nth, with_another_future

pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage import config
from pinnersage.evaluate import cases, evaluation, lineup, paper, trained
from pinnersage.evaluate.cases import start_us
from pinnersage.evaluate.evaluation import Evaluation, span_of
from pinnersage.evaluate.policies import PAPER, SINGLE
from pinnersage.evaluate.sequence.train import Training
from pinnersage.evaluate.tuning import Tuned

TINY = partial(
    Training, size=8, window=20, batch=4, targets=32, n_negatives=16, negatives=("random",),
    epochs=2, sitting_gap_hours=1.0,
)  # fmt: skip
TEST = nth(8)
TUNED = Tuned(0.5, 0.01, PAPER, 0.4, 0.5, [], [])


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(trained, "Training", TINY)


def sequences(log, names=("GRU", "HierTCN")):
    told = []
    found = trained.sequences(names, log, TUNED, start_us(TEST), 1, 0, told.append)
    assert told == [f"training {name}" for name in names]
    return found


def test_each_is_a_row_and_hiertcn_also_the_embedding_of_clusters():
    singles, several, curves = sequences(drawn_log(1))
    assert [entry.name for entry in singles] == ["GRU", "HierTCN"]
    assert {entry.policies for entry in singles} == {(SINGLE,)}
    assert [entry.name for entry in several] == ["PinnerSage, embedding = HierTCN"]
    assert {singles[1].name, several[0].name} <= paper.TABLE_4.keys()
    assert [curve.model for curve in curves] == ["GRU", "HierTCN"]
    assert all(len(curve.losses) == len(curve.steps) > 0 for curve in curves)
    assert "size 8" in singles[0].about, "what it is kept by"


def vectors(entries, log):
    """What the models make of users at the start of the first test day."""
    known = cases.before(log, np.arange(len(log.user_ids)), start_us(TEST), 5)
    known = known.of(slice(0, 5))
    return [entry.fresh().represent(known).vectors.tolist() for entry in entries]


def test_what_happens_from_the_first_test_day_on_is_not_learned_beforehand():
    log = drawn_log(1)
    one, two = (sequences(some) for some in (log, with_another_future(log, start_us(TEST), 3)))
    assert [curve.losses for curve in one[2]] == [curve.losses for curve in two[2]]
    assert [curve.held_out for curve in one[2]] == [curve.held_out for curve in two[2]]
    assert vectors(one[0] + one[1], log) == vectors(two[0] + two[1], log)


def test_measuring_begins_with_the_model_as_it_was_trained():
    log = drawn_log(1)
    [entry], *_ = sequences(log, ["GRU"])
    before = vectors([entry], log)
    other = entry.fresh()
    other.learn(start_us(nth(11)))
    assert vectors([entry], log) == before


def test_an_evaluation_has_their_rows_and_curves(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "RANDOM_PAIRS", 20_000)
    asked = {
        "test_days": 2, "tuning_days": 2, "history_days": 6, "n_candidates": 6,
        "merge_thresholds": [0.5],
    }  # fmt: skip
    reports = []
    for names in ([], ["HierTCN"]):
        sections = {"evaluation": asked | {"sequence_models": names}, "model": {"window_days": 5}}
        settings = config.build(tmp_path, sections)
        one = Evaluation(drawn_log(1), span_of(nth(10), settings), settings, lambda _: None)
        reports.append(one.report())
    without, with_them = reports
    assert [curve.model for curve in with_them.training] == ["HierTCN"]
    assert "Sequence models were not asked for" in " ".join(without.notes)
    assert "Sequence models were not asked for" not in " ".join(with_them.notes)
    for one, other in zip(without.tables, with_them.tables, strict=True):
        rows = {row.model for row in other.rows} - {row.model for row in one.rows}
        asked_of = one.name in {"Table 4", "Table 5"}
        assert rows == ({"HierTCN", f"{lineup.MAIN}, embedding = HierTCN"} if asked_of else set())
        same = {(row.model, row.policy): row for row in other.rows}
        assert all(same[row.model, row.policy].values == row.values for row in one.rows)
