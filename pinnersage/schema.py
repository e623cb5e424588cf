"""Schema: the tables that pass between steps, column by column.

An identifier is text or a 64-bit integer, as its owner has it; which of the two belongs to the
lake (``IdType``). Times are UTC in microseconds. ``docs/tables.md`` is made from this file.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

IdType = Literal["int64", "string"]
TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: name, type (``user``, ``pin`` and ``pins`` follow the lake) and meaning."""

    name: str
    kind: pa.DataType | Literal["user", "pin", "pins"]
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table: its columns, who writes it, how it is partitioned, how its rows are ordered."""

    name: str
    owner: str
    """The step that writes it."""
    partition: tuple[str, ...]
    order: tuple[str, ...]
    meaning: str
    columns: tuple[Column, ...]

    def arrow(self, user: IdType = "string", pin: IdType = "string") -> pa.Schema:
        """Return the Arrow schema for a lake with these identifier types."""
        types = types_of(user, pin)
        return pa.schema(
            [(c.name, types[c.kind] if isinstance(c.kind, str) else c.kind) for c in self.columns]
        )


def types_of(user: IdType, pin: IdType) -> dict[str, pa.DataType]:
    """Return the types that follow the lake: of a user, a pin, a list of pins."""
    one = pa.type_for_alias(pin)
    return {"user": pa.type_for_alias(user), "pin": one, "pins": list_of(one)}


def list_of(kind: pa.DataType) -> pa.DataType:
    """Return the type of lists, called as Parquet calls it: a file read and written is the same."""
    return pa.list_(pa.field("element", kind))


ACTIONS = Table(
    "actions",
    "stage",
    ("day", "bucket"),
    ("user_id", "acted_at", "pin_id", "event_id"),
    "What users did, a day's events bucketed by user once, when they arrive.",
    (
        Column("event_id", pa.string(), "The event's id; else the MD5 of the row's values."),
        Column("user_id", "user", "Who acted."),
        Column("pin_id", "pin", "On which pin."),
        Column("action", pa.string(), "What it was: repin, click, hide …"),
        Column("acted_at", TIME, "When, UTC."),
    ),
)

PINS = Table(
    "pins",
    "init",
    ("version",),
    ("pin_id",),
    "What is known of a pin beside its embedding.",
    (
        Column("pin_id", "pin", "The pin."),
        Column("quality", pa.float64(), "0 (bad) to 1 (good); null: not known."),
        Column("near_duplicate_of", "pin", "A better pin that shows the same, where known."),
        Column("title", pa.string(), "For people."),
        Column("image_url", pa.string(), "For people."),
        Column("created_at", TIME, "When the pin was made."),
        Column("topic", pa.string(), "What it is about: a word to filter by."),
    ),
)

PIN_ROWS = Table(
    "embeddings",
    "init",
    ("version",),
    ("pin_id",),
    "Pin ids in ascending order; row i of the version's matrix.npy is the i-th pin's vector.",
    (
        Column("pin_id", "pin", "The pin."),
        Column("row", pa.int64(), "Its row in the matrix."),
    ),
)

MEDOIDS = Table(
    "medoids",
    "cluster",
    ("day", "bucket"),
    ("user_id", "rank"),
    "Each user's clusters at the end of the day, the most important first.",
    (
        Column("user_id", "user", "Whose cluster."),
        Column("rank", pa.int32(), "0 is the most important; ties: later last action, then pin."),
        Column("pin_id", "pin", "The medoid (eq. 2)."),
        Column("importance", pa.float64(), "Sum of exp(-decay * age) over its actions (eq. 3)."),
        Column("n_actions", pa.int64(), "Actions in the cluster, repeats counted."),
        Column("offset", pa.float64(), "Squared distance of the medoid from the centroid."),
        Column("first_acted_at", TIME, "Its oldest action."),
        Column("last_acted_at", TIME, "Its newest action."),
        Column("cohesion", pa.float64(), "Mean cosine of its actions to the medoid."),
    ),
)

REFINED = Table(
    "refined",
    "refine",
    ("day",),
    ("pin_id",),
    "Every pin with an embedding, and whether it is worth indexing.",
    (
        Column("pin_id", "pin", "The pin."),
        Column("row", pa.int64(), "Its row in the embeddings' matrix."),
        Column("kept", pa.bool_(), "Whether it is indexed."),
        Column("reason", pa.string(), "blocked, low_quality or near_duplicate; null when kept."),
        Column("representative", "pin", "The better pin that stands for a near-duplicate."),
        Column("cosine", pa.float64(), "Cosine to the representative."),
        Column("quality", pa.float64(), "The quality that was judged; null: not known."),
        Column("created_at", TIME, "When the pin was made; requests may ask for fresh ones."),
        Column("topic", pa.string(), "What it is about; requests may ask for some topics."),
    ),
)

EXPOSURES = Table(
    "exposures",
    "serve",
    ("day",),
    ("shown_at", "user_id"),
    "What an experiment showed whom, a row a recommendation. A log: files only come, no manifest.",
    (
        Column("shown_at", TIME, "When."),
        Column("experiment", pa.string(), "Its name."),
        Column("user_id", "user", "To whom."),
        Column("arm", pa.string(), "The user's arm."),
        Column("share", pa.float64(), "The arm's share of all users, as the settings had it."),
        Column("release", pa.int64(), "The release that answered."),
        Column("draw", pa.int64(), "The draw of medoids."),
        Column("medoids", "pins", "The medoids asked; none for a user who got popular pins."),
        Column("candidates", "pins", "What was recommended, the first first."),
        Column(
            "brought_by",
            list_of(pa.int32()),
            "Of each candidate, the place in medoids, from 0, of the one that brought it; "
            "-1: a popular pin.",
        ),
    ),
)

METRICS = Table(
    "metrics",
    "evaluate.daily",
    ("day",),
    ("model", "metric"),
    "What the release of the day before was worth on what users did on the day.",
    (
        Column("model", pa.string(), "The model, and the policy by which its vectors are asked."),
        Column("metric", pa.string(), "Measure and budget, or the `lift of` it over last pin."),
        Column("value", pa.float64(), "Null where it is not defined."),
        Column("low", pa.float64(), "Where its 95 % interval begins; null: it has none."),
        Column("high", pa.float64(), "Where it ends."),
        Column("n", pa.int64(), "Action pins that it is a share of; of other measures, users."),
    ),
)

FEEDBACK = Table(
    "feedback",
    "online",
    ("day",),
    ("acted_at", "user_id", "event_id"),
    "Impressions and what came of them: events that name the release that showed their pin. "
    "A log: files only come, no manifest.",
    (
        Column("event_id", pa.string(), "The event's id; more rows of one user and id are one."),
        Column("user_id", "user", "Who was shown the pin, or acted on it."),
        Column("pin_id", "pin", "The pin."),
        Column("action", pa.string(), "What it was: impression, repin, click, hide …"),
        Column("acted_at", TIME, "When, UTC."),
        Column("release", pa.int64(), "The release that showed the pin."),
        Column("draw", pa.int64(), "The draw of medoids."),
        Column("medoid", "pin", "The medoid that brought the pin; null: none, or not known."),
    ),
)

PARITY = Table(
    "parity",
    "parity",
    ("day",),
    ("user_id",),
    "Users of one bucket who acted on the day: their clusters online against those of a batch.",
    (
        Column("user_id", "user", "Who was compared."),
        Column("n_actions", pa.int64(), "Actions of the day and of the window that ended before."),
        Column("n_new", pa.int64(), "Those of the day."),
        Column(
            "identical", pa.bool_(), "Whether online and batch part all these actions the same."
        ),
        Column("jaccard", pa.float64(), "Medoids that both have, of those that either has."),
        Column("cosine", pa.float64(), "Medoids to the nearest of the other side, by importance."),
        Column("stored_kept", pa.bool_(), "Whether the batch parts older actions as is stored."),
        Column("sliding_identical", pa.bool_(), "Batch with the window's first day, and without."),
        Column("sliding_jaccard", pa.float64(), "The same two, by their medoids."),
        Column("sliding_cosine", pa.float64(), "The same two, by their vectors."),
        Column("online_medoids", "pins", "Of those who agree least, in order; null: of others."),
        Column("online_importance", list_of(pa.float64()), "Of each."),
        Column("batch_medoids", "pins", "Of the batch that online was compared with."),
        Column("batch_importance", list_of(pa.float64()), "Of each."),
    ),
)

LOGS = (EXPOSURES, FEEDBACK)
"""Tables to which files only come, at any moment, and that have no manifests."""
TABLES = (ACTIONS, PINS, PIN_ROWS, MEDOIDS, REFINED, METRICS, PARITY, *LOGS)
