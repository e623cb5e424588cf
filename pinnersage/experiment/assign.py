"""Assign: which arm a user is in, by a hash of the experiment's name and the user's id.

    place = first 15 hex digits of SHA-256("name/user") as a number, modulo 10,000

The first arm of the settings has the first places, as many as its share says, the next one those
after them, and so on; a user in a place beyond is in no arm. So anyone can tell a user's arm, in
any language and without asking, and it stays the same on every request. The name is the salt: under
another name every user is thrown anew.
"""

import hashlib

from pinnersage.config import PLACES, Arm, ExperimentConfig

DIGITS = 15
"""As many hex digits fit a whole number of 64 bits with a sign, which every database has."""


def place_of(experiment: str, user: str) -> int:
    """Return a user's place, in 0 to 9,999; ``user`` is the id as text, as the lake has it."""
    digest = hashlib.sha256(f"{experiment}/{user}".encode()).hexdigest()
    return int(digest[:DIGITS], 16) % PLACES


def arm_of(experiment: ExperimentConfig, user: str) -> Arm | None:
    """Return a user's arm; None for one who is in none."""
    left = place_of(experiment.name, user)
    for arm in experiment.arms:
        left -= round(arm.share * PLACES)
        if left < 0:
            return arm
    return None
