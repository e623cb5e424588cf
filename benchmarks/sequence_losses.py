"""Loss and negatives of the sequence models, by how they retrieve on tuning days (decision 43).

Embeddings are fitted and models trained on actions before a cut; they are tried on days from then
on, as ``pinnersage evaluate`` does it. Tuning days lie before the test days, so that these choose
nothing. Prints a line a model; with ``models`` also its lift over the last pin, and its curve.

    python benchmarks/sequence_losses.py actions.parquet --kinds purchase \
        --cut 2010-10-01 --end 2010-11-01 grid
    python benchmarks/sequence_losses.py actions.parquet --kinds purchase \
        --cut 2010-10-01 --first 2010-11-01 --end 2010-12-01 models
"""

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pinnersage.co_actions import co_action_embeddings
from pinnersage.evaluate import retrieval
from pinnersage.evaluate.cases import Cases, of_days, start_us
from pinnersage.evaluate.histories import Histories, Model, Represented
from pinnersage.evaluate.lifts import lifts
from pinnersage.evaluate.log import Log, days_between
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.models import DecayAverage, Fixed, LastPin, PinnerSage
from pinnersage.evaluate.policies import SINGLE, Policy
from pinnersage.evaluate.search import Exact
from pinnersage.evaluate.sequence.cluster_embedding import ClusterEmbedding
from pinnersage.evaluate.sequence.losses import LOSSES
from pinnersage.evaluate.sequence.sequence_model import NETWORKS, SequenceModel
from pinnersage.evaluate.sequence.train import Training

PROTOCOL = retrieval.Protocol(n_candidates=100, threshold=0.8)
SHARED = Policy("all", share="weight")
WINDOW_DAYS, DIMENSIONS, SEED = 90, 64, 0
MEASURES = ("recall, all", "relevance, all", "recall, new", "relevance, new")
NEGATIVES = (
    ("random",), ("popular",), ("hard",), ("random", "popular"), ("random", "hard"),
    ("popular", "hard"),
)  # fmt: skip


@dataclass(frozen=True)
class AsFitted(Fixed):
    """A trained model that learns nothing more."""

    model: SequenceModel
    name: str = "as fitted"

    def represent(self, histories: Histories) -> Represented:
        """Return users as the model does."""
        return self.model.represent(histories)


def read(path: str, kinds: list[str], cut: date) -> Log:
    """Interests of a file, with embeddings fitted before the cut; other pins are left out."""
    table = pq.read_table(path)
    table = table.filter(pc.is_in(table["action_type"], pa.array(kinds)))
    times = table["ts"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    past = table.filter(pc.less(times, start_us(cut)))
    found = co_action_embeddings(past["user_id"], past["item_id"], dimensions=DIMENSIONS)
    row = pc.index_in(table["item_id"], found.pin_ids)
    table = pa.table({"user": table["user_id"], "time": times, "row": row})
    table = table.filter(pc.is_valid(row)).sort_by(
        [("user", "ascending"), ("time", "ascending"), ("row", "ascending")]
    )
    users, counts = table["user"].combine_chunks().value_counts().flatten()
    return Log(
        user_ids=users,
        offsets=np.concatenate([[0], np.cumsum(counts.to_numpy())]).astype(np.intp),
        rows=table["row"].to_numpy().astype(np.intp),
        times_us=table["time"].to_numpy(),
        matrix=found.vectors,
        pin_ids=found.pin_ids,
        embeddings="",
        left_out={"no embedding": row.null_count},
    )


def measured(model: Model, cases: Cases, log: Log, policy: Policy = SINGLE) -> dict[str, Sums]:
    """What the candidates of a model measure on some days."""
    users = log.user_ids.to_pylist()
    found = retrieval.run(model, cases, users, Exact(log.matrix), [policy], PROTOCOL)
    sums = found.measured[retrieval.Key(policy.name, "equal candidates")]
    return {name: sums[name] for name in MEASURES}


def line(name: str, sums: dict[str, Sums], seconds: float | None = None) -> str:
    """One line of the table."""
    cells = "".join(f"{one.value or 0:16.4f}" for one in sums.values())
    return f"{name:40s}{cells}" + ("" if seconds is None else f"{seconds:8.1f} s")


def grid(log: Log, cases: Cases, cut: date, epochs: int) -> Iterator[str]:
    """Every loss with every kind of negatives, as a GRU."""
    for loss in LOSSES:
        for kinds in NEGATIVES:
            began = time.perf_counter()
            training = Training(loss=loss, negatives=kinds, epochs=epochs)
            model = SequenceModel("GRU", log, training).fit(start_us(cut))
            seconds = time.perf_counter() - began
            sums = measured(AsFitted(model), cases, log)
            yield line(f"GRU, {loss}, {' + '.join(kinds)}", sums, seconds)


def models(log: Log, cases: Cases, cut: date, epochs: int) -> Iterator[str]:
    """Every network by the defaults, trained once and learning each day, and what they lift."""
    base = measured(LastPin(log.matrix), cases, log)
    lifted = partial(lifts_of, base, cases)
    average = measured(DecayAverage(log.matrix, 0.01), cases, log)
    yield lifted("decay average, 0.01 a day", average)
    pinnersage = PinnerSage(log.matrix, merge_threshold=1.0)
    yield lifted("PinnerSage, all, by importance", measured(pinnersage, cases, log, SHARED))
    for name in NETWORKS:
        began = time.perf_counter()
        model = SequenceModel(name, log, Training(epochs=epochs)).fit(start_us(cut))
        seconds = time.perf_counter() - began
        sums = measured(AsFitted(model), cases, log)
        yield line(f"{name}, as fitted", sums, seconds)
        yield lifted(f"{name}, learning each day", measured(copy.deepcopy(model), cases, log))
        if name == "HierTCN":
            of_clusters = ClusterEmbedding(pinnersage, copy.deepcopy(model))
            sums = measured(of_clusters, cases, log, SHARED)
            yield lifted(f"PinnerSage (embedding = {name})", sums)
        yield "    train    " + " ".join(f"{loss:.3f}" for loss in model.curve.train)
        yield "    held out " + " ".join(f"{loss:.3f}" for loss in model.curve.held_out)


def lifts_of(base: dict[str, Sums], cases: Cases, name: str, sums: dict[str, Sums]) -> str:
    """A line, and one with lifts over the base and their 95 % intervals over users."""
    cells = []
    for measure, one in sums.items():
        found = lifts(base[measure], {"": one}, cases.histories.users, seed=SEED)[""].lift
        value, low, high = (100 * (part or 0) for part in (found.value, found.low, found.high))
        cells.append(f"{value:+.0f} [{low:+.0f}, {high:+.0f}] %".rjust(16))
    return f"{line(name, sums)}\n{'':40s}{''.join(cells)}"


def main() -> None:
    """Read, fit, try, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("actions", help="Parquet: user_id, item_id, action_type, ts")
    parser.add_argument("--kinds", required=True, help="action types that are interests, by comma")
    day = date.fromisoformat
    parser.add_argument("--cut", type=day, required=True, help="what is known came before this day")
    parser.add_argument("--first", type=day, help="first day that is tried, if it is not the cut")
    parser.add_argument("--end", type=day, required=True, help="day after the last one")
    parser.add_argument("--epochs", type=int, default=Training().epochs)
    parser.add_argument("what", choices=("grid", "models"))
    options = parser.parse_args()
    log = read(options.actions, options.kinds.split(","), options.cut)
    last = options.end - timedelta(days=1)
    cases = of_days(log, days_between(options.first or options.cut, last), WINDOW_DAYS)
    print(f"{cases.n} users' days, {log.rows.size} actions, {len(log.pin_ids)} pins")
    print(" " * 40 + "".join(f"{name:>16s}" for name in MEASURES))
    print(line("last pin", measured(LastPin(log.matrix), cases, log)))
    lines = {"grid": grid, "models": models}[options.what]
    for text in lines(log, cases, options.cut, options.epochs):
        print(text, flush=True)


if __name__ == "__main__":
    main()
