"""Loss and negatives of the sequence models, by how they retrieve on tuning days (decision 43).

Embeddings are fitted and models trained on actions before a cut; they are tried on the days from
it to an end, so that test days, which come later, choose nothing. Candidates are the 100 nearest
pins to a user's vector, by exact cosine. Prints a line a model.

    python benchmarks/sequence_losses.py actions.parquet --kinds purchase \
        --cut 2010-10-01 --end 2010-11-01 grid
    python benchmarks/sequence_losses.py … --end 2010-12-01 --from 2010-11-01 --learn models
"""

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pinnersage.co_actions import co_action_embeddings
from pinnersage.evaluate.histories import Histories
from pinnersage.evaluate.sequence.losses import LOSSES
from pinnersage.evaluate.sequence.sequence_model import NETWORKS, US_PER_DAY, SequenceModel
from pinnersage.evaluate.sequence.train import Training

N_CANDIDATES, NEAR, WINDOW_DAYS = 100, 0.8, 90
NEGATIVES = (
    ("random",), ("popular",), ("hard",), ("random", "popular"), ("random", "hard"),
    ("popular", "hard"),
)  # fmt: skip


class Actions(NamedTuple):
    """A log, as ``pinnersage.evaluate.sequence.windows.Log`` describes it."""

    offsets: np.ndarray
    rows: np.ndarray
    times_us: np.ndarray
    matrix: np.ndarray


class Day(NamedTuple):
    """Users of one day: what was known of them as it began, and what they then acted on."""

    histories: Histories
    targets: list[np.ndarray]
    new: list[np.ndarray]
    """By target, whether its user had not acted on it before."""


def read(path: str, kinds: list[str], cut_us: int, dimensions: int) -> Actions:
    """Interests of a file, with embeddings fitted before the cut; other pins are left out."""
    table = pq.read_table(path)
    table = table.filter(pc.is_in(table["action_type"], pa.array(kinds)))
    times = table["ts"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    past = table.filter(pc.less(times, cut_us))
    found = co_action_embeddings(past["user_id"], past["item_id"], dimensions=dimensions)
    row = pc.index_in(table["item_id"], found.pin_ids)
    table = pa.table({"user": table["user_id"], "time": times, "row": row})
    table = table.filter(pc.is_valid(row)).sort_by(
        [("user", "ascending"), ("time", "ascending"), ("row", "ascending")]
    )
    counts = table["user"].value_counts()
    counts = np.array([one["counts"].as_py() for one in counts])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    return Actions(
        offsets, table["row"].to_numpy().astype(np.intp), table["time"].to_numpy(), found.vectors
    )


def days(log: Actions, first_us: int, end_us: int) -> Iterator[tuple[int, Day]]:
    """Each day with its users, those who acted on it and in the window before."""
    for start in range(first_us, end_us, US_PER_DAY):
        pieces, targets, new = [], [], []
        for begin, stop in zip(log.offsets[:-1], log.offsets[1:], strict=True):
            times = log.times_us[begin:stop]
            bounds = (start - WINDOW_DAYS * US_PER_DAY, start, start + US_PER_DAY)
            old, now, then = begin + np.searchsorted(times, bounds)
            if old < now < then:
                pieces.append((old, now))
                targets.append(np.unique(log.rows[now:then]))
                new.append(~np.isin(targets[-1], log.rows[begin:now]))
        where = np.concatenate([np.arange(*piece) for piece in pieces] or [np.empty(0, np.intp)])
        offsets = np.concatenate([[0], np.cumsum([b - a for a, b in pieces])]).astype(np.intp)
        ages = (start - log.times_us[where]) / US_PER_DAY
        n = len(pieces)
        histories = Histories(offsets, log.rows[where], ages, np.arange(n), np.full(n, start))
        yield start, Day(histories, targets, new)


def counts(log: Actions, vectors: np.ndarray, day: Day) -> np.ndarray:
    """Hits, near pins and targets, of all and of new ones."""
    total = np.zeros(6)
    for vector, targets, new in zip(vectors, day.targets, day.new, strict=True):
        nearest = np.argpartition(-(log.matrix @ vector), N_CANDIDATES)[:N_CANDIDATES]
        hit = np.isin(targets, nearest)
        near = (log.matrix[targets] @ log.matrix[nearest].T).max(axis=1) >= NEAR
        total += [hit.sum(), near.sum(), hit.size, hit[new].sum(), near[new].sum(), new.sum()]
    return total


def shown(name: str, total: np.ndarray, seconds: float = 0.0) -> str:
    """One line: recall and relevance of all targets and of new ones."""
    shares = [total[0] / total[2], total[1] / total[2], total[3] / total[5], total[4] / total[5]]
    return f"{name:40s}" + "".join(f"{share:9.4f}" for share in shares) + f"{seconds:9.1f} s"


def baselines(log: Actions, tried: list[tuple[int, Day]]) -> Iterator[str]:
    """Last pin and decay averages."""
    for decay in (None, 0.0, 0.01, 0.1):
        total = np.zeros(6)
        for _, day in tried:
            offsets, rows, ages, _, _ = day.histories
            if decay is None:
                vectors = log.matrix[rows[offsets[1:] - 1]]
            else:
                weighted = np.exp(-decay * ages)[:, None] * log.matrix[rows]
                vectors = np.add.reduceat(weighted, offsets[:-1]) if rows.size else weighted
            total += counts(log, vectors, day)
        yield shown("last pin" if decay is None else f"decay average, {decay:g} a day", total)


def measured(
    log: Actions, tried: list[tuple[int, Day]], name: str, training: Training, options: Any
) -> Iterator[str]:
    """Train a model and try it; with ``--learn`` again, as it learns each day after the last."""
    began = time.perf_counter()
    model = SequenceModel(name, log, training).fit(options.cut_us)
    seconds = time.perf_counter() - began
    title = f"{name}, {training.loss}, {' + '.join(training.negatives)}"
    total = sum(counts(log, model.represent(day.histories).vectors, day) for _, day in tried)
    yield shown(title, total, seconds)
    if options.learn:
        began, total = time.perf_counter(), np.zeros(6)
        for start, day in tried:
            model.learn(start)
            total += counts(log, model.represent(day.histories).vectors, day)
        yield shown(f"{title}, learning", total, time.perf_counter() - began)
    if options.curve:
        yield "    train    " + " ".join(f"{loss:.3f}" for loss in model.curve.train)
        yield "    held out " + " ".join(f"{loss:.3f}" for loss in model.curve.held_out)


def microseconds(day: str) -> int:
    """The beginning of a day, UTC."""
    return round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000


def main() -> None:
    """Read, fit, try, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("actions", help="Parquet: user_id, item_id, action_type, ts")
    parser.add_argument("--kinds", required=True, help="action types that are interests, by comma")
    parser.add_argument("--cut", required=True, help="models know what came before this day")
    parser.add_argument("--from", dest="first", help="first day that they are tried on")
    parser.add_argument("--end", required=True, help="day after the last one")
    parser.add_argument("--learn", action="store_true", help="try again, learning each day")
    parser.add_argument("--curve", action="store_true", help="print losses by pass")
    parser.add_argument("--epochs", type=int, default=Training().epochs)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("what", choices=("grid", "models"))
    options = parser.parse_args()
    options.cut_us, first, end = (
        microseconds(day) for day in (options.cut, options.first or options.cut, options.end)
    )
    log = read(options.actions, options.kinds.split(","), options.cut_us, options.dimensions)
    tried = list(days(log, first, end))
    print(f"{sum(len(day.targets) for _, day in tried)} user-days")
    print(" " * 40 + "   recall   relev.  new rec. new rel.")
    for line in baselines(log, tried):
        print(line, flush=True)
    plans = [(name, Training(epochs=options.epochs)) for name in NETWORKS]
    if options.what == "grid":
        plans = [
            ("GRU", Training(loss=loss, negatives=kinds, epochs=options.epochs))
            for loss in LOSSES
            for kinds in NEGATIVES
        ]
    for name, training in plans:
        for line in measured(log, tried, name, training, options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
