"""Large: one user of very many actions, in a process of its own: CPU time and extra memory.

Extra memory is the process's peak during the call over what it held before it, vectors and
compiled kernels included: what clustering itself needs. A peer needs the m² / 2 distances.
"""

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import batches
import numpy as np
import peers
import timing

D = 256
ALPHA = 1.0


class Case(NamedTuple):
    """One user to cluster."""

    m: int
    kind: str
    who: str


SCALES = {
    "tiny": (1, [Case(300, "interests", peers.OURS)]),
    "quick": (1, [Case(20_000, "interests", peers.OURS)]),
    "usual": (
        3,
        [
            Case(20_000, "interests", peers.OURS),
            Case(20_000, "crowded", peers.OURS),
            Case(20_000, "isotropic", peers.OURS),
            Case(100_000, "interests", peers.OURS),
        ],
    ),
}
SCALES["full"] = (5, SCALES["usual"][1])
PEERS = [Case(20_000, "interests", name) for name in (peers.FASTCLUSTER, peers.FASTCLUSTER_BLAS)]
"""Each run once: they take up to a minute and 5 GB."""


def measure(scale: str) -> list[dict[str, Any]]:
    """Facts of each case; peers run once."""
    rounds, cases = SCALES[scale]
    once = PEERS if scale in {"usual", "full"} else []
    found: dict[Case, list[dict[str, float]]] = {}
    for seed in range(rounds):
        for case in [*cases, *(once if seed == 0 else [])]:
            found.setdefault(case, []).append(alone(case, seed))
    return [
        case._asdict()
        | {"d": D, "alpha": ALPHA, "rounds": len(facts)}
        | {name: timing.spread([one[name] for one in facts]) for name in facts[0]}
        for case, facts in found.items()
    ]


def alone(case: Case, seed: int) -> dict[str, float]:
    """Facts of one case, from a process of its own."""
    command = [sys.executable, __file__, *map(str, case), str(seed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def cluster(case: Case, seed: int) -> dict[str, float]:
    """Facts of one case, in this process; the kernels are loaded on another user first."""
    call = peers.contestants(ALPHA)[case.who]
    call(batches.batch(np.array([400]), D, seed + 1, case.kind))
    data = batches.batch(np.array([case.m]), D, seed, case.kind)
    found: list[Any] = []
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed already would hide some
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    spent = timing.cost(lambda: found.append(call(data)))
    extra = kilobytes("VmHWM") - before
    one = found[0] if case.who == peers.OURS else found[0][0]
    return {
        "cpu_seconds": spent.cpu,
        "wall_seconds": spent.wall,
        "extra_peak_mb": extra / 1024,
        "clusters": len(one.medoids),
    }


def kilobytes(name: str) -> int:
    """A figure of this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 (one case, else a scale)
        m, kind, who, seed = sys.argv[1:]
        print(json.dumps(cluster(Case(int(m), kind, who), int(seed))))
    else:
        print(json.dumps(measure(sys.argv[1])))
