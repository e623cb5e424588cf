"""A synthetic world: users whose interests are known, in the shape of a real event log.

Everything is a function of the seed and of what it describes: chance is a hash of (seed,
user, day, action), never a generator that walks along. So a user's history is the same among
20 users or 20 million, more days leave the earlier ones as they were, and no state is kept
between days: memory is bounded by one chunk of users, and by the pins.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import ndtri

from pinnersage.errors import ConfigError

UInts = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

INTEREST_ACTIONS: Final = ("repin", "click")
"""What counts as interest; the other actions of this world are ``close-up`` and ``hide``."""

USER_BASE: Final = 1_000_000
PIN_BASE: Final = 50_000_000
"""Integer ids start here, so that an id taken for a row is out of range at once."""

_ACTIONS: Final = np.array(["repin", "click", "close-up", "hide"])
_OF_INTEREST: Final = np.array([0.40, 0.80, 1.0])  # cumulative; nobody hides what they like
_OF_NOISE: Final = np.array([0.25, 0.60, 0.85])
_SPREAD: Final = 1.2  # sigma of log activity
_TAIL: Final = 50.0  # the busiest users have this many times the median
_VISIT: Final = 3.0  # actions of the shortest typical visit
_VISIT_CAP: Final = 10_000
_SLOTS: Final = 8  # interests that one user may have at a time
_RATE_DAYS: Final = 90.0
_DAY_US: Final = 86_400_000_000
_GAP_US: Final = 45_000_000
_MAX_DAYS: Final = 1 << 14
_MAX_DUPLICATE_SHARE: Final = 0.9
_MIN_DIMENSIONS: Final = 4
_PIN_BLOCK: Final = 4096
_ROW_GROUP: Final = 131_072
_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_RANK_STEP: Final = 2_654_435_761  # a prime above any topic's size: ranks become a permutation

# fmt: off
_STYLES: Final = (
    "Quiet", "Bright", "Rustic", "Modern", "Tiny", "Bold", "Soft", "Vintage",
    "Simple", "Painted", "Woven", "Golden", "Northern", "Coastal", "Wild", "Handmade",
)
_SUBJECTS: Final = (
    "watercolour", "sourdough", "bonsai", "bouldering", "pottery", "quilting", "espresso",
    "origami", "succulents", "calligraphy", "trail running", "log cabins", "street food",
    "ceramic tiles", "wedding tables", "kayaking", "knitwear", "woodturning", "sneakers",
    "mid-century chairs", "tattoos", "birdwatching", "vinyl records", "herb gardens",
    "bookshelves", "campervans", "cupcakes", "film cameras", "macrame", "road cycling",
    "terrariums", "linocut", "Japanese joinery", "yoga", "picnics", "model trains",
    "aquariums", "braids", "stained glass", "night skies",
)
_KINDS: Final = (
    "idea", "corner", "tutorial", "study", "project", "collection", "detail", "pattern",
    "before and after", "for beginners", "for a rainy day", "on a budget", "at home",
    "in close-up", "to try", "step by step",
)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class World:
    """What to make; two equal worlds have equal files."""

    n_users: int
    n_pins: int
    n_topics: int
    dimensions: int
    n_days: int
    first_day: date
    seed: int
    actions_per_user: float = 60.0
    """Median of a user's actions in 90 days; log-normal, cut at 50 times this."""
    id_type: Literal["int", "text"] = "int"
    duplicate_share: float = 0.05
    """Share of pins that are near-duplicates: cosine to their original of 0.98 or more."""
    low_quality_share: float = 0.1
    """Share of pins with a quality below 0.3; all others have 0.4 or more."""
    noise_share: float = 0.1
    """Share of actions on any pin at all, for no interest."""
    embedding_dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        shares = (self.duplicate_share, self.low_quality_share, self.noise_share)
        rules = (
            (self.n_users >= 1, f"n_users is {self.n_users}; at least 1 is needed"),
            (1 <= self.n_days <= _MAX_DAYS, f"n_days is {self.n_days}, not in 1 .. {_MAX_DAYS}"),
            (
                1 <= self.n_topics <= self.n_pins < 1 << 31,
                f"{self.n_pins} pins for {self.n_topics} topics; each topic needs a pin of its own",
            ),
            (
                self.dimensions >= _MIN_DIMENSIONS,
                f"dimensions is {self.dimensions}; at least {_MIN_DIMENSIONS} are needed",
            ),
            (0 <= self.seed < 1 << 63, f"seed is {self.seed}; take one in 0 .. 2^63 - 1"),
            (
                self.actions_per_user > 0 and isfinite(self.actions_per_user),
                f"actions_per_user is {self.actions_per_user}; it must be above 0",
            ),
            (all(0 <= s <= 1 for s in shares), f"shares must lie in 0 .. 1, not {shares}"),
            (
                self.duplicate_share <= _MAX_DUPLICATE_SHARE,
                f"duplicate_share is {self.duplicate_share}; at most {_MAX_DUPLICATE_SHARE}",
            ),
            (self.id_type in ("int", "text"), f"id_type {self.id_type!r} is not int or text"),
            (
                self.embedding_dtype in ("float32", "float16"),
                f"embedding_dtype {self.embedding_dtype!r} is not float32 or float16",
            ),
        )
        for holds, otherwise in rules:
            if not holds:
                raise ConfigError(f"This world cannot be made: {otherwise}.")

    @property
    def expected_actions(self) -> int:
        """Actions to expect over all days: the mean of the log-normal, not its median."""
        quantiles = (np.arange(100_000) + 0.5) / 100_000
        return round(float(_rates(self, quantiles).mean()) * self.n_days * self.n_users)

    @property
    def days(self) -> list[date]:
        """Every day of the world, the first one first."""
        return [self.first_day + timedelta(days=d) for d in range(self.n_days)]


@dataclass(frozen=True)
class WorldReport:
    """What was written."""

    folder: str
    first_day: date
    last_day: date
    n_users: int
    n_actions: int
    n_interests: int
    n_pins: int
    n_duplicates: int
    n_low_quality: int


class Interests(NamedTuple):
    """The interests of some users on one day: arrays ``[n_users, 8]``."""

    topics: Ints
    weights: Floats
    """Zero where the user has no interest in that place today."""


class Pins(NamedTuple):
    """What is known of every pin, by its row."""

    topics: Ints
    originals: Ints
    """Row of the original; a pin's own row when it is one itself."""
    quality: Floats
    age_days: Ints
    hashes: UInts


# Chance: SplitMix64, whose n-th draw is a hash of its start plus n times a constant.


def _mix(x: UInts) -> UInts:
    x = x ^ (x >> np.uint64(30))
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _draw(start: UInts, n: Any) -> UInts:
    """Draw number ``n``, an integer or an array of them, of the stream that begins at start."""
    return _mix(start + np.asarray(n).astype(np.uint64) * _GAMMA)


def _streams(seed: int, kind: int, numbers: Ints) -> UInts:
    """One stream of chance for each number of one kind (users, pins)."""
    key = _draw(_mix(np.array([seed], np.uint64)), kind)
    return _draw(key, numbers + 1)


def _unit(hashes: UInts, shift: int = 0, bits: int = 53) -> Floats:
    """Uniform in (0, 1) from some bits of a hash, the highest being shift 0."""
    part = (hashes << np.uint64(shift)) >> np.uint64(64 - bits)
    return (part.astype(np.float64) + 0.5) * (0.5**bits)


def _zipf(uniform: Floats, n: Any, power: int) -> Ints:
    """Ranks in ``0 .. n - 1``, the chance of rank r near (r + 1)^(1/power - 1)."""
    x = 1.0 + uniform * ((np.asarray(n) + 1.0) ** (1.0 / power) - 1.0)
    rank = x**power
    return np.asarray(np.minimum(rank.astype(np.int64), n) - 1, np.int64)


# Pins.


def pins_of(world: World) -> Pins:
    """Every pin of the world; rows of one topic are ``n_topics`` apart."""
    rows = np.arange(world.n_pins, dtype=np.int64)
    topics = rows % world.n_topics
    stream = _streams(world.seed, 1, rows)
    place = rows // world.n_topics
    copies = (_unit(_draw(stream, 0)) < world.duplicate_share) & (place > 0)
    # A copy points to an earlier pin of its topic, which may be a copy too: follow to the root.
    earlier = (_unit(_draw(stream, 1)) * place).astype(np.int64) * world.n_topics + topics
    originals = np.where(copies, earlier, rows)
    while not np.array_equal(followed := originals[originals], originals):
        originals = followed
    low = _unit(_draw(stream, 2)) < world.low_quality_share
    spread = _unit(_draw(stream, 3))
    quality = np.where(low, 0.02 + 0.27 * spread, 0.4 + 0.6 * spread).round(4)
    age_days = 1 + (720.0 * _unit(_draw(stream, 4)) ** 2).astype(np.int64)
    return Pins(topics, originals, quality, age_days, _draw(stream, 5))


def _pins_table(world: World, pins: Pins, rows: slice) -> pa.Table:
    span = np.arange(world.n_pins, dtype=np.int64)[rows]
    originals = pins.originals[rows]
    # A copy has its original's words and a number of its own.
    words = pins.hashes[originals]
    title = pc.binary_join_element_wise(
        pa.array(_STYLES).take(pa.array(words % len(_STYLES))),
        topic_names(world.n_topics).take(pa.array(pins.topics[rows])),
        pa.array(_KINDS).take(pa.array((words >> np.uint64(16)) % len(_KINDS))),
        pc.utf8_lpad(pa.array(span).cast(pa.string()), 5, "0"),
        " ",
    )
    created = _midnight_us(world) - pins.age_days[rows] * _DAY_US
    created += (_unit(pins.hashes[rows]) * _DAY_US).astype(np.int64)
    return pa.table(
        {
            "pin_id": pin_ids(world, span),
            "title": title,
            "quality": pins.quality[rows],
            "created_at": pa.array(created).cast(pa.timestamp("us", "UTC")),
            "image_url": pa.nulls(span.size, pa.string()),
            "topic": topic_names(world.n_topics).take(pa.array(pins.topics[rows])),
            "duplicate_of": pc.if_else(
                pa.array(originals != span),
                pin_ids(world, originals),
                pa.scalar(None, pin_ids(world, span[:0]).type),
            ),
        }
    )


def _fill_embeddings(world: World, pins: Pins, matrix: NDArray[Any]) -> None:
    """Fill ``matrix`` in blocks of fixed size; an original always stands above its copies."""
    directions = _unit_rows(_normal(world, 2, 0, world.n_topics))
    pull = 0.90 + 0.07 * _unit(_streams(world.seed, 3, np.arange(world.n_topics)))
    for block, start in enumerate(range(0, world.n_pins, _PIN_BLOCK)):
        rows = slice(start, min(start + _PIN_BLOCK, world.n_pins))
        noise = _unit_rows(_normal(world, 4, block, _PIN_BLOCK)[: rows.stop - start])
        topics = pins.topics[rows]
        near = pull[topics, None]
        matrix[rows] = _unit_rows(near * directions[topics] + np.sqrt(1 - near**2) * noise)
        copies = np.flatnonzero(pins.originals[rows] != np.arange(rows.start, rows.stop))
        if copies.size:
            base = _unit_rows(matrix[pins.originals[rows][copies]].astype(np.float32))
            cosine = 0.982 + 0.016 * _unit(pins.hashes[rows][copies, None])
            away = noise[copies] - base * np.einsum("ij,ij->i", noise[copies], base)[:, None]
            matrix[start + copies] = cosine * base + np.sqrt(1 - cosine**2) * _unit_rows(away)


def _normal(world: World, kind: int, block: int, n_rows: int) -> NDArray[np.float32]:
    bits = np.random.Philox(key=[world.seed, (kind << 32) + block])
    return np.random.Generator(bits).standard_normal((n_rows, world.dimensions), np.float32)


def _unit_rows(x: NDArray[Any]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return np.asarray(x / lengths, np.float32)


# Users and their interests.


def _rates(world: World, quantiles: Floats) -> Floats:
    """Actions a day of the users at these quantiles of activity."""
    times = np.minimum(np.exp(_SPREAD * ndtri(quantiles)), _TAIL)
    return np.asarray(times * (world.actions_per_user / _RATE_DAYS))


def _slots(world: World, users: UInts) -> tuple[UInts, Ints, Ints, Ints]:
    """Each user's places for an interest: its stream, period, phase and days on in a period.

    An interest is one period of a place; the next period brings another topic. The first
    place is always on and changes slowly. Places that a user does not have are on for 0 days.
    """
    place = np.arange(_SLOTS)
    stream = _draw(users[:, None], 8 + place)
    slow = np.where(place == 0, 4, 1)
    period = (30 + (stream & np.uint64(127)).astype(np.int64)) * slow
    phase = (_unit(stream, 0, 20) * period).astype(np.int64)
    share = np.where(place == 0, 1.0, 0.35 + 0.65 * _unit(stream, 20, 20))
    days_on = np.ceil(share * period).astype(np.int64)
    busy = np.log2(1.0 + _rates(world, _unit(_draw(users, 0))) * _RATE_DAYS / 10.0)
    n_places = 1 + (_unit(_draw(users, 1)) * (1.0 + busy)).astype(np.int64)
    return stream, period, phase, np.where(place < n_places[:, None], days_on, 0)


def _spell(world: World, stream: UInts, number: Ints) -> Interests:
    hashes = _draw(_mix(stream), number)
    # The paper's users lean to few topics: weights are exponential, a Dirichlet once shared out.
    return Interests(_zipf(_unit(hashes, 0, 32), world.n_topics, 2), -np.log(_unit(hashes, 32, 32)))


def _interests_on(world: World, users: UInts, day: int) -> Interests:
    stream, period, phase, days_on = _slots(world, users)
    number, since = np.divmod(day + phase, period)
    spell = _spell(world, stream, number)
    return Interests(spell.topics, np.where(since < days_on, spell.weights, 0.0))


def _interests_table(world: World, numbers: Ints) -> pa.Table:
    """Every interest that some day of the world sees, cut to the world's days."""
    stream, period, phase, days_on = _slots(world, _streams(world.seed, 0, numbers))
    user, place = np.nonzero(days_on)
    stream, period = stream[user, place], period[user, place]
    phase, days_on = phase[user, place], days_on[user, place]
    counts = (world.n_days - 1 + phase) // period + 1
    of = np.repeat(np.arange(counts.size), counts)
    number = np.arange(of.size) - np.repeat(np.cumsum(counts) - counts, counts)
    first = number * period[of] - phase[of]
    last = np.minimum(first + days_on[of], world.n_days) - 1
    spell = _spell(world, stream[of], number)
    seen = last >= 0
    epoch = (world.first_day - date(1970, 1, 1)).days
    return pa.table(
        {
            "user_id": user_ids(world, numbers[user[of]][seen]),
            "topic": topic_names(world.n_topics).take(pa.array(spell.topics[seen])),
            "first_day": _dates(epoch + np.maximum(first, 0)[seen]),
            "last_day": _dates(epoch + last[seen]),
            "weight": spell.weights[seen],
        }
    )


# Actions.


def _visits(world: World, users: UInts, day: int) -> tuple[Ints, UInts, Ints]:
    """Who comes on a day: rows of ``users``, a stream for each visit, actions in it."""
    stream = _draw(_mix(users), day)
    rates = _rates(world, _unit(_draw(users, 0)))
    here = np.flatnonzero(_unit(_draw(stream, 0)) < rates / (rates + _VISIT))
    stream, mean = stream[here], rates[here] + _VISIT
    more = np.log(_unit(_draw(stream, 1))) / np.log1p(-1.0 / mean)
    return here, stream, 1 + np.minimum(more, _VISIT_CAP - 1).astype(np.int64)


def actions_of(world: World, day: int, numbers: Ints) -> pa.Table:
    """Actions of the users with these numbers on the day-th day, by user, oldest first."""
    users = _streams(world.seed, 0, numbers)
    here, stream, counts = _visits(world, users, day)
    visit = np.repeat(np.arange(here.size), counts)
    step = np.arange(visit.size) - np.repeat(np.cumsum(counts) - counts, counts)
    draws = stream[visit]
    first, second = _draw(draws, 2 * step + 4), _draw(draws, 2 * step + 5)

    chance = _unit(first, 0, 32)
    noisy = chance < world.noise_share
    rows = (_unit(second) * world.n_pins).astype(np.int64)
    wanted = np.flatnonzero(~noisy)
    rows[wanted] = _wanted_pins(
        world,
        _interests_on(world, users[here], day),
        visit[wanted],
        (chance[wanted] - world.noise_share) / (1.0 - world.noise_share),
        _unit(second[wanted]),
    )
    start = (_unit(_draw(stream, 2)) + _unit(_draw(stream, 3))) * (0.49 * _DAY_US)
    gap = np.minimum((_DAY_US - start) / counts, _GAP_US)
    moment = start[visit] + (step + _unit(first, 48, 16)) * gap[visit]
    at = _midnight_us(world) + day * _DAY_US + moment.astype(np.int64)
    return pa.table(
        {
            "user_id": user_ids(world, numbers[here]).take(pa.array(visit)),
            "pin_id": pin_ids(world, rows),
            "action": _action_names(_unit(first, 32, 16), noisy),
            "acted_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "event_id": _event_ids(world, numbers[here][visit], day, step),
        }
    )


def _wanted_pins(
    world: World, interests: Interests, visit: Ints, which: Floats, taste: Floats
) -> Ints:
    """Rows of pins for actions that follow an interest: popular pins of its topic."""
    ends = np.cumsum(interests.weights, axis=1)
    place = (ends[visit] <= (which * ends[visit, -1])[:, None]).sum(axis=1)
    topic = interests.topics[visit, place]
    n_in_topic = (world.n_pins - topic + world.n_topics - 1) // world.n_topics
    rank = _zipf(taste, n_in_topic, 5)
    return np.asarray((rank * _RANK_STEP) % n_in_topic * world.n_topics + topic)


def _action_names(chance: Floats, noisy: NDArray[np.bool_]) -> pa.Array:
    codes = np.where(
        noisy,
        np.searchsorted(_OF_NOISE, chance, side="right"),
        np.searchsorted(_OF_INTEREST, chance, side="right"),
    )
    return pa.DictionaryArray.from_arrays(codes.astype(np.int8), _ACTIONS).cast(pa.string())


# Names, days and files.


def user_ids(world: World, numbers: Ints) -> pa.Array:
    """Ids of the users with these numbers."""
    return _ids(world, numbers, USER_BASE, "u")


def pin_ids(world: World, rows: Ints) -> pa.Array:
    """Ids of the pins in these rows; they sort as the rows do."""
    return _ids(world, rows, PIN_BASE, "p")


def _ids(world: World, numbers: Ints, base: int, letter: str) -> pa.Array:
    if world.id_type == "int":
        return pa.array(numbers + base, pa.int64())
    padded = pc.utf8_lpad(pa.array(numbers, pa.int64()).cast(pa.string()), 10, "0")
    return pc.binary_join_element_wise(letter, padded, "")


def _event_ids(world: World, numbers: Ints, day: int, step: Ints) -> pa.Array:
    # 33 bits for the user, 14 for the day and 16 for the action: unique without a look-up.
    ids = pa.array((numbers << 30) + (day << 16) + step)
    return ids if world.id_type == "int" else ids.cast(pa.string())


def topic_names(n_topics: int) -> pa.Array:
    """Readable names, one a topic; numbered once the words run out."""
    n = len(_SUBJECTS)
    return pa.array(
        [_SUBJECTS[t % n] + (f" {t // n + 1}" if t >= n else "") for t in range(n_topics)]
    )


def _midnight_us(world: World) -> int:
    first = datetime(world.first_day.year, world.first_day.month, world.first_day.day, tzinfo=UTC)
    return int(first.timestamp()) * 1_000_000


def _dates(days: Ints) -> pa.Array:
    return pa.array(days.astype(np.int32)).cast(pa.date32())


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Give a temporary path that takes the place of ``path`` once all is well."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_parquet(path: Path, tables: Iterator[pa.Table]) -> int:
    """Write the tables as one file; its bytes do not depend on how the rows were cut.

    Returns
    -------
    int
        Rows written.
    """
    head = next(tables)
    plain = {"acted_at", "event_id", "created_at", "weight"}
    names = [name for name in head.schema.names if name not in plain]
    with (
        _replaced(path) as temporary,
        pq.ParquetWriter(
            temporary, head.schema, compression="zstd", compression_level=1, use_dictionary=names
        ) as writer,
    ):
        held, n_rows = head, 0
        for table in tables:
            held = pa.concat_tables([held, table])
            while held.num_rows >= _ROW_GROUP:
                writer.write_table(held.slice(0, _ROW_GROUP).combine_chunks(), _ROW_GROUP)
                held, n_rows = held.slice(_ROW_GROUP), n_rows + _ROW_GROUP
        while held.num_rows:
            part = held.slice(0, _ROW_GROUP).combine_chunks()
            writer.write_table(part, _ROW_GROUP)
            held, n_rows = held.slice(_ROW_GROUP), n_rows + part.num_rows
    return n_rows


def _chunks(n: int, size: int) -> Iterator[Ints]:
    for start in range(0, n, size):
        yield np.arange(start, min(start + size, n), dtype=np.int64)


def write(world: World, folder: Path, *, users_per_chunk: int = 32_768) -> WorldReport:
    """Write the world: ``actions/<day>.parquet``, pins, their embeddings, and the truth.

    Parameters
    ----------
    world : World
        What to make.
    folder : Path
        Made if missing; files of the same names are replaced.
    users_per_chunk : int
        Bounds the memory; no byte depends on it.

    Returns
    -------
    WorldReport
        Counts of what was written.

    Raises
    ------
    ConfigError
        When the folder holds days that are not this world's: readers would mix the two.
    """
    days = {day.isoformat(): number for number, day in enumerate(world.days)}
    actions = folder / "actions"
    strangers = sorted(p.name for p in actions.glob("*.parquet") if p.stem not in days)
    if strangers:
        raise ConfigError(
            f"{actions} holds {len(strangers)} files of another world, {strangers[0]} the first, "
            f"and this one ends on {world.days[-1]}. Choose an empty folder."
        )
    actions.mkdir(parents=True, exist_ok=True)
    pins = pins_of(world)
    blocks = (slice(s, s + _ROW_GROUP) for s in range(0, world.n_pins, _ROW_GROUP))
    _write_parquet(folder / "pins.parquet", (_pins_table(world, pins, b) for b in blocks))
    _write_embeddings(world, pins, folder / "embeddings.npy")
    n_interests = _write_parquet(
        folder / "interests.parquet",
        (_interests_table(world, c) for c in _chunks(world.n_users, users_per_chunk)),
    )
    n_actions = 0
    for name, day in days.items():
        chunks = _chunks(world.n_users, users_per_chunk)
        parts = (actions_of(world, day, chunk) for chunk in chunks)
        n_actions += _write_parquet(actions / f"{name}.parquet", parts)
    return WorldReport(
        folder=str(folder),
        first_day=world.first_day,
        last_day=world.days[-1],
        n_users=world.n_users,
        n_actions=n_actions,
        n_interests=n_interests,
        n_pins=world.n_pins,
        n_duplicates=int((pins.originals != np.arange(world.n_pins)).sum()),
        n_low_quality=int((pins.quality < 0.3).sum()),  # noqa: PLR2004
    )


def _write_embeddings(world: World, pins: Pins, path: Path) -> None:
    shape = (world.n_pins, world.dimensions)
    with _replaced(path) as temporary:
        matrix = np.lib.format.open_memmap(temporary, "w+", np.dtype(world.embedding_dtype), shape)
        _fill_embeddings(world, pins, matrix)
        matrix.flush()
