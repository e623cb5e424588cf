"""Start: the first call in a new process, as a person in a shell or a task of Airflow meets it.

Imports, the load of compiled kernels and one user of 60 actions; Python's own start is in the
time too. Once with nothing compiled: what the very first run on a machine takes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import timing

CALL = """
import numpy as np
vectors = np.random.default_rng(0).standard_normal((60, 256), dtype=np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
import pinnersage
pinnersage.cluster_actions(vectors, np.arange(60.0)[::-1])
"""
BARE = "import numpy"
ROUNDS = {"tiny": 1, "quick": 3, "usual": 7, "full": 15}


def measure(scale: str) -> dict[str, Any]:
    """Wall seconds of each kind of start."""
    first(CALL)
    found = [(first(CALL), first(BARE)) for _ in range(ROUNDS[scale])]
    facts: dict[str, Any] = {
        "warm_wall_seconds": timing.spread([call for call, _ in found]),
        "numpy_alone_wall_seconds": timing.spread([bare for _, bare in found]),
    }
    if scale in {"usual", "full"}:
        with tempfile.TemporaryDirectory() as folder:
            facts["compiling_wall_seconds"] = timing.spread([first(CALL, Path(folder))])
    return facts


def first(code: str, cache: Path | None = None) -> float:
    """Wall seconds of a process that runs the code."""
    variables = {"NUMBA_CACHE_DIR": str(cache)} if cache else {}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=os.environ | variables, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
