"""Machine: what a benchmark ran on, whether it was busy, and an environment of one thread.

OpenBLAS is told nothing about the processor: a setting that some machines carry to keep older
builds from crashing would slow a present one, and flatter us.
"""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIBRARIES = ("numpy", "numba", "scipy", "scikit-learn", "fastcluster", "lmdb")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
BUSY = 0.5
"""Load above which the figures come with a warning."""


def environment() -> dict[str, str]:
    """Variables of a process in which every library keeps to one thread."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | dict.fromkeys(THREADS, "1")


def describe() -> dict[str, Any]:
    """Processor, versions, load and the kernels that BLAS chose."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    load = os.getloadavg()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**30),
        "load_at_start": round(load, 2),
        "busy": load > BUSY,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "blas": blas(),
    }


def blas() -> list[str]:
    """Each BLAS that NumPy and SciPy brought, and the processor that it computes for."""
    import numpy as np  # noqa: F401, PLC0415 (loads its library)
    import scipy.linalg  # noqa: F401, PLC0415
    from threadpoolctl import threadpool_info  # noqa: PLC0415

    return sorted(
        f"{one['internal_api']} {one['version']}, {one.get('architecture', 'unknown')}"
        for one in threadpool_info()
        if one["user_api"] == "blas"
    )


if __name__ == "__main__":
    print(json.dumps(describe()))
