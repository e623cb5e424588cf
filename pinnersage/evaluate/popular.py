"""Popular: the pins that most users acted on lately, the same for everybody.

No model of users at all: what a team has on its first day. It finds pins by count where others find
them by cosine.
"""

import numpy as np

from pinnersage.evaluate.cases import DAY_US
from pinnersage.evaluate.histories import Histories, Integers, Represented, Vectors
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.models import Fixed, one_each
from pinnersage.evaluate.search import Found


class Popular(Fixed):
    """Model and searcher in one: its users are alike, and its search asks how many acted on a pin.

    Parameters
    ----------
    log : Log
        Of it only what was before the moment of the users that were last represented counts.
    window_days : int
        Days before that moment that count.
    """

    name = "Popular pins"

    def __init__(self, log: Log, window_days: int) -> None:
        self.matrix: Vectors = log.matrix
        self._log, self._window_us = log, window_days * DAY_US
        self._order: Integers = np.empty(0, np.intp)
        self._shares: Vectors = np.empty(0, np.float32)

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a user, that of the last pin: nothing looks at it.

        Counts the users who acted on each pin in the window before the first user's moment.
        """
        until_us, n_pins = int(histories.now_us.min()), len(self.matrix)
        times = self._log.times_us
        within = (times >= until_us - self._window_us) & (times < until_us)
        pairs = np.unique(self._log.users[within] * n_pins + self._log.rows[within])
        counts = np.bincount(pairs % n_pins, minlength=n_pins)
        self._order = np.argsort(-counts, kind="stable")
        self._shares = (np.sort(counts)[::-1] / max(1, counts.max())).astype(np.float32)
        rows = histories.rows[histories.offsets[1:] - 1]
        return one_each(self.matrix[rows], rows)

    def search(self, vectors: Vectors, depth: int, without: Integers) -> Found:
        """Return the pins that most users acted on, equal ones by row, with shares for cosines."""
        depth = min(depth, len(self.matrix))
        kept = np.flatnonzero(~np.isin(self._order, without))[:depth]
        found = np.full((len(vectors), depth), -1, np.intp)
        shares = np.full((len(vectors), depth), -np.inf, np.float32)
        found[:, : kept.size], shares[:, : kept.size] = self._order[kept], self._shares[kept]
        return Found(found, shares)
