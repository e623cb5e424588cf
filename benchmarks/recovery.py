"""Recovery: how well clusters find interests that are known, at three levels of noise.

No time is taken: the adjusted Rand index of clusters and topics, at the merge threshold that a rule
chose without truth, against the best that truth could choose, and against other clusterers.
"""

import json
import sys
from typing import Any, NamedTuple

import numpy as np

from pinnersage.evaluate.recovery import AtLevel, RecoveryReport, run


class Scale(NamedTuple):
    """How much is measured."""

    users: int
    seeds: tuple[int, ...]
    """A world each, at every level."""


SCALES = {
    "tiny": Scale(30, (11,)),
    "quick": Scale(150, (11,)),
    "usual": Scale(300, (11, 12)),
    "full": Scale(400, (11, 12, 13)),
}


def measure(name: str) -> dict[str, Any]:
    """What was found at each level, means over the worlds."""
    scale = SCALES[name]
    found = run(
        users=scale.users, seeds=scale.seeds, progress=lambda line: print(line, file=sys.stderr)
    )
    names = dict.fromkeys(one.level.name for one in found.levels)
    return {
        "users": scale.users,
        "seeds": list(scale.seeds),
        "levels": [at_level(level, found) for level in names],
    }


def at_level(name: str, found: RecoveryReport) -> dict[str, Any]:
    """The worlds of one level together."""
    worlds = [one for one in found.levels if one.level.name == name]
    level = worlds[0].level
    return {
        "name": name,
        "noise_share": level.noise_share,
        "blur": level.blur,
        "chosen": [one.choice.merge_threshold for one in worlds],
        "share_of_best": [one.share_of_best for one in worlds],
        "adjusted_rand": {of: float(np.mean(values)) for of, values in scores(worlds).items()},
    }


def scores(worlds: list[AtLevel]) -> dict[str, list[float]]:
    """Adjusted Rand index by method, a number a world."""
    by_method = dict[str, list[float]]()
    for one in worlds:
        for score in one.scores:
            name = f"{score.method}, {score.by}"
            by_method.setdefault(name, []).append(score.adjusted_rand)
    return by_method


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
