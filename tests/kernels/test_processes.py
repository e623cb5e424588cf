"""Processes: other machines' code, forks and a cache shared give the clusters of this process."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

WORKLOAD = '''
import sys
import numpy as np
from pinnersage import cluster_actions, cluster_users
from pinnersage.kernels.components import components


def users(seed, sizes, d, spread):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    centres = rng.normal(size=(40, d))
    table = centres[rng.integers(40, size=n)] + spread * rng.normal(size=(n, d))
    table = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)
    rows = np.where(rng.random(n) < 0.2, rng.integers(n, size=n), np.arange(n))
    return table, np.concatenate([[0], np.cumsum(sizes)]), rng.random(n) * 90, rows


def small(threads=1):
    sizes = np.random.default_rng(0).integers(0, 120, 120).tolist()
    return cluster_users(*users(1, [*sizes, 700], 64, 0.5), 1.0, threads=threads)


def everything():
    """Small users, one beyond 4,096 clusters, and components alone."""
    found = {}
    for threshold in (0.3, 1.0):
        table, offsets, ages, rows = users(2, [5_500], 32, 0.4)
        large = cluster_actions(table, ages, None, threshold)
        for name, one in (("small", small()), ("large", large)):
            found |= {
                f"{name} {threshold} {part}": getattr(one, part)
                for part in ("labels", "medoids", "importance", "cohesion")
            }
        for d, spread in ((32, 0.1), (256, 0.3)):
            points = users(3, [1_000], d, spread)[0]
            weights = np.random.default_rng(4).integers(1, 9, 1_000).astype(float)
            proved = components(points, np.arange(1_000), weights, threshold)
            found[f"components {threshold} {d}"] = proved
    return found


def one_line(found):
    parts = (found.labels, found.offsets, found.medoids, found.importance, found.cohesion)
    return b"".join(part.tobytes() for part in parts).hex()
'''


def child(program, *arguments, **environment):
    """What a fresh process prints."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}
    done = subprocess.run(
        [sys.executable, "-c", WORKLOAD + program, *map(str, arguments)],
        env=clean | environment, timeout=400, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


OTHER = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
"""A machine with AVX2 at most."""
X86_64 = platform.machine() in ("x86_64", "AMD64")


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """Two processes on one fresh cache: what each found, and the code there after each."""
    folder = tmp_path_factory.mktemp("cache")
    environment = {"NUMBA_CACHE_DIR": str(folder)} | (OTHER if X86_64 else {})
    results = []
    for name in ("first", "second"):
        path = folder / f"{name}.npz"
        child("np.savez(sys.argv[1], **everything())", path, **environment)
        code = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb[ic]")}
        results.append((dict(np.load(path)), code))
    return results


def test_code_that_another_process_compiled_is_used_again_and_gives_the_same_bytes(twice):
    (first, compiled), (second, code) = twice
    assert len(compiled) > 10
    assert code == compiled
    assert list(first) == list(second)
    assert all(first[key].tobytes() == second[key].tobytes() for key in first)


@pytest.mark.skipif(not X86_64, reason="names a processor of x86-64")
def test_a_machine_with_narrower_vectors_finds_the_same_clusters(twice, tmp_path):
    child("np.savez(sys.argv[1], **everything())", tmp_path / "here.npz")
    program = "from pinnersage.kernels import lanes; print(lanes._has('avx512f'))"
    assert child(program, **OTHER).split() == [b"False"]
    here, there = dict(np.load(tmp_path / "here.npz")), twice[0][0]
    assert list(here) == list(there)
    for key, expected in here.items():
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(there[key], expected, rtol=1e-12)
        else:
            assert np.array_equal(there[key], expected), key
    assert 1 < np.unique(here["components 0.3 32"]).size < 1_000
    assert 1 < here["large 1.0 medoids"].size < here["large 0.3 medoids"].size < 5_500


def test_a_fork_after_threads_were_used_clusters_with_threads_of_its_own():
    program = """
import os, signal
expected = one_line(small(threads=2))
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    signal.alarm(60)  # ends a child that waits for threads it has not
    os.write(writing, one_line(small(threads=2))[-60_000:].encode())
    os._exit(0)
os.close(writing)
with os.fdopen(reading, "rb") as pipe:
    found = pipe.read().decode()
assert os.waitpid(pid, 0)[1] == 0
assert found == expected[-60_000:]
print(len(found))
"""
    assert int(child(program)) > 10_000
