"""The benchmarks run, on sizes too small to say how fast anything is, and say what the page shows.

No test here looks at a time.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SUBJECTS = (
    "kernels", "large", "scaling", "start", "keyvalue", "staging", "days", "indexing", "retrieval",
    "serving", "online", "costs", "recovery",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _programs_beside_each_other():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def bench(*arguments):
    done = subprocess.run(
        [sys.executable, str(FOLDER / "bench.py"), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- every subject runs --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_runs_and_its_facts_make_its_section(subject):
    import report

    facts = json.loads(bench(subject, "--tiny", "--json"))
    assert set(facts) == {"machine", "scale", subject}
    assert facts["scale"] == {subject: "tiny"}
    saved = json.loads((FOLDER / "results.json").read_text())
    assert fields(facts[subject]) <= fields(saved[subject]), "save again: make bench ARGS=--save"
    page = report.page(facts)
    assert page.count("\n## ") == 2  # at a glance, and its own


def fields(facts, path=""):
    """Names in the facts, whatever is in a list."""
    if isinstance(facts, dict):
        below = [fields(value, f"{path}.{name}") for name, value in facts.items()]
        return {f"{path}.{name}" for name in facts}.union(*below)
    if isinstance(facts, list):
        return set().union(*(fields(value, path) for value in facts))
    return set()


def test_an_unknown_subject_is_named():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "bench.py"), "kernel"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no subject kernel: choose from kernels, " in done.stderr


# --- what is compared is fair --------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 2.5])
@pytest.mark.parametrize("kind", ["interests", "crowded", "isotropic"])
def test_peers_find_what_we_find(kind, alpha):
    import batches
    import peers

    data = batches.batch(batches.heavy_tailed(12), 64, 0, kind)
    ours = peers.split(peers.ours(data, alpha), data)
    for name, labels_of in peers.PEERS.items():
        assert peers.different(ours, peers.loop(labels_of, data, alpha), data) == 0, name


def test_a_peer_that_errs_is_seen():
    import batches
    import peers

    data = batches.batch(np.array([40, 1, 60]), 16, 0)
    ours = peers.split(peers.ours(data, 1.0), data)
    assert peers.different(ours, peers.loop(peers.PEERS["SciPy"], data, 40.0), data) == 2
    off = [found._replace(importance=found.importance * 1.01) for found in ours]
    assert peers.different(ours, off, data) == 3
    off = [found._replace(medoids=np.roll(found.medoids, 1)) for found in ours]
    assert peers.different(ours, off, data) == 2  # of one action there is one medoid


def test_rounds_are_of_one_size_on_fresh_vectors():
    import batches

    first, second = (batches.batch(batches.heavy_tailed(50), 8, seed) for seed in (0, 1))
    assert sorted(np.diff(first.offsets)) == sorted(np.diff(second.offsets))
    assert not np.array_equal(first.vectors, second.vectors)
    assert len(np.unique(np.concatenate([first.vectors, second.vectors]), axis=0)) == (
        2 * len(first.vectors)
    )
    np.testing.assert_allclose(np.linalg.norm(first.vectors, axis=1), 1, rtol=1e-6)
    for _, ages in first.users():
        assert (np.diff(ages) <= 0).all()
    again = batches.batch(batches.heavy_tailed(50), 8, 0)
    assert np.array_equal(first.vectors, again.vectors)


def test_users_are_those_that_the_page_describes():
    import batches

    sizes = batches.heavy_tailed(601)
    assert (np.median(sizes), sizes.min() >= 1, sizes.max()) == (60, True, 3000)
    assert (batches.light(9).min(), batches.light(9).max()) == (20, 200)
    crowded = batches.batch(np.array([300]), 256, 0, "crowded").vectors
    assert np.median(crowded @ crowded.T) == pytest.approx(0.5, abs=0.05)


def test_light_users_have_a_few_clusters_and_heavy_ones_many():
    import batches
    import peers

    light, heavy = (
        np.diff(peers.ours(batches.batch(np.array(sizes), 256, 0), 1.0).offsets)
        for sizes in ([20, 30, 40] * 3, [3000])
    )
    assert 3 <= light.mean() <= 5
    assert 75 <= heavy[0] <= 100


def test_contestants_take_turns_on_the_same_data():
    import timing

    seen = []
    contestants = {name: lambda data, name=name: seen.append((name, data)) for name in "abc"}
    rounds = timing.compete(contestants, lambda seed: seed, 3)
    assert seen == [(n, r) for r, order in enumerate(("abc", "bca", "cab")) for n in order]
    assert all(set(one.costs) == set("abc") and one.multiply_add > 0 for one in rounds)


def test_a_ratio_is_taken_inside_its_round():
    import timing

    def costs(ours, theirs):
        return {"ours": timing.Cost(ours, 1.0), "theirs": timing.Cost(theirs, 1.0)}

    rounds = [timing.Round(costs(*pair), 1e-11) for pair in ((1.0, 3.0), (10.0, 20.0), (2.0, 8.0))]
    found = timing.ratios(rounds, "ours")
    assert found == {"theirs": {"median": 3.0, "lowest": 2.0, "highest": 4.0}}


# --- the environment and the page ----------------------------------------------------------------


def test_children_run_on_one_thread_with_the_kernels_that_blas_chooses(monkeypatch):
    import machine

    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = machine.environment()
    assert "OPENBLAS_CORETYPE" not in found
    assert {found[name] for name in machine.THREADS} == {"1"}


def test_a_bar_that_is_missed_says_so():
    from bars import Bar

    assert Bar("speed", 15, True, 14.9).row() == ["speed", "≥ 15", "14.9", "no"]
    assert Bar("time", 1.5, False, 1.5).row()[-1] == "yes"


def test_numbers_have_three_digits():
    from cells import digits

    said = [digits(value) for value in (123456.7, 42.0, 1.0, 0.5, 0.0123)]
    assert said == ["123,457", "42.0", "1.00", "0.50", "0.012"]
