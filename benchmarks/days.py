"""Days: whole days of several sizes, each on fresh data, by day.py: Parquet in, key-value out.

Where the time of the largest goes is said, too.
"""

import json
import subprocess
import sys
from typing import Any

from machine import HERE

SCALES = {
    "tiny": (2_000,),
    "quick": (100_000,),
    "usual": (100_000, 1_000_000),
    "full": (100_000, 1_000_000, 10_000_000),
}
"""Actions in the window."""


def measure(scale: str) -> list[dict[str, Any]]:
    """Facts of each day."""
    sizes = SCALES[scale]
    return [day(n, seed, profile=n == sizes[-1]) for seed, n in enumerate(sizes)]


def day(n_actions: int, seed: int, *, profile: bool) -> dict[str, Any]:
    """What day.py says of one."""
    command = [sys.executable, str(HERE / "day.py"), "--actions", str(n_actions)]
    command += ["--dimensions", "256", "--seed", str(seed), "--json"]
    command += ["--profile"] if profile else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
