"""What an experiment showed, by hand."""

from datetime import timedelta

import pyarrow as pa
from events import DAY, event

from pinnersage.experiment.exposures import Exposure
from pinnersage.extract import start_of

NAME = "one"
ARMS = [
    {"name": "control", "share": 0.5, "allocation": "equal", "n_medoids": 1},
    {"name": "all", "share": 0.5, "allocation": "proportional"},
]


def exposure(user, arm="control", *, hours=1.0, **changes):
    """What one user was shown, some hours after ``DAY`` began."""
    pins = changes.pop("pins", [10, 11, 12])
    values = {"experiment": NAME, "share": 0.5, "release": 3, "draw": 0, "medoids": [20, 21]}
    return Exposure(
        shown_at=start_of(DAY) + timedelta(hours=hours),
        user_id=user,
        arm=arm,
        candidates=pa.array(pins, pa.int64()),
        brought_by=pa.array([n % 2 for n in range(len(pins))], pa.int32()),
        **(values | changes),
    )


def event_of(user, day=DAY, hour=12, action="repin"):
    """What one user did."""
    return event(user, 10, start_of(day) + timedelta(hours=hour), action)
