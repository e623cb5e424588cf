"""Settings: typed, frozen, and each with its unit, default and limits.

They live in ``pinnersage.toml`` in the home folder; an environment variable such as
``PINNERSAGE__MODEL__MERGE_THRESHOLD=2.5`` overrides one. An unknown key is an error.
Only ``cli.py`` and the DAGs load settings; everyone else is handed them.
"""

import hashlib
import itertools
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from pinnersage.errors import ConfigError

FILE = "pinnersage.toml"
PREFIX = "PINNERSAGE__"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_ROOT = r"^(s3://[^/@?#]+(/[^/@?#]+)*)?$"
_ARM = r"^[a-z0-9][a-z0-9_-]{0,39}$"
_EXPERIMENT = r"^([a-z0-9][a-z0-9_-]{0,79})?$"
_TOPIC = r"^[A-Za-z0-9._-]{1,200}$"
_NAME = "{} lower-case letters, digits, - and _, with a letter or a digit first"
_IN_WORDS = {
    _ROOT: "empty, or s3://bucket/prefix",
    _ARM: _NAME.format("1 to 40"),
    _TOPIC: "1 to 200 letters, digits, dots, - and _",
    _EXPERIMENT: f"empty, or {_NAME.format('1 to 80')}",
}
"""What a text must be, where an error says it."""


class Section(BaseModel):
    """One table of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LakeConfig(Section):
    """Where the lake is and how it is laid out; fixed when the lake is made."""

    root: Annotated[str, Field(pattern=_ROOT)] = ""
    """Where lake, releases and reports are: empty for the home folder, or ``s3://bucket/prefix``."""
    cache_gb: Positive = 20.0
    """Disk for local copies of an object store's files; those used longest ago go first."""

    n_buckets: Annotated[int, Field(ge=1, le=4096)] = 4
    """Buckets of users. One bucket is one Airflow task and bounds a task's memory."""


class SourceConfig(Section):
    """Where the raw actions are, and which of their columns mean what."""

    actions: str = ""
    """Parquet file, folder or glob, or one at ``s3://``. With ``{day}``, only that day's files."""
    user: str = "user_id"
    """Column of the user's id: text or integer."""
    pin: str = "pin_id"
    """Column of the pin's id: text or integer."""
    action: str = "action"
    """Column of the kind of action: text."""
    time: str = "acted_at"
    """Column of the time of the action: a timestamp; one without a zone is read as UTC."""
    event: str = ""
    """Column of the event's id, for removing repeats; empty: a hash of the row stands for it."""
    interest_actions: tuple[str, ...] = ("repin", "click")
    """Kinds of action that count as interest; all others are kept, and not clustered."""


class ModelConfig(Section):
    """The paper's model."""

    merge_threshold: NonNegative = 1.0
    """Largest Ward distance that still merges two clusters (the paper's alpha)."""
    decay_per_day: NonNegative = 0.01
    """How fast an action loses weight (the paper's lambda)."""
    window_days: PositiveInt = 90
    """Days of actions that a user's clusters are built from."""
    max_actions_per_day: PositiveInt = 200
    """Actions of one user and day that count, newest kept: bulk imports exist."""


Waivable = Literal[
    "users against the last passed day",
    "users who acted, against the same weekday before",
    "a bucket with users is not suddenly empty",
    "clusters of a user",
    "clusters per user on average",
    "drift of clusters per user",
    "drift of importance",
    "share of interests in pins without an embedding",
    "age of the embeddings",
]
"""Rules that a true day may break; all others say that something is wrong, and stay."""


class CheckConfig(Section):
    """What a day must meet to be published. The only place to edit for a threshold."""

    min_user_coverage: Share = 0.9
    """Users of the day as a share of the last passed day's; below it, no day."""
    min_acting_share: Share = 0.7
    """Users who acted on the day, to the same weekday of four weeks before; less chance; 0: off."""
    empty_bucket_users: PositiveInt = 10
    """A bucket that had as many users on the last passed day must have some."""
    max_clusters_per_user: PositiveInt = 500
    """Most clusters that one user may have."""
    max_mean_clusters_per_user: Positive = 150.0
    """Most clusters that users may have on average (paper: heavy users have 75 to 100)."""
    max_drift_psi: Positive = 0.25
    """Largest population stability index of clusters per user and of importance."""
    drift_days: PositiveInt = 7
    """Days before this one that drift is judged against."""
    min_drift_days: PositiveInt = 3
    """Passed days needed among them; with fewer, drift is not judged and that is a warning."""
    max_unknown_pin_share: Share = 0.2
    """Share of the window's interest actions whose pin has no embedding; above it, a failure."""
    max_embeddings_age_days: NonNegativeInt = 0
    """Days since the embeddings became valid: a refresh that does not come; 0: any age."""
    min_online_agreement: Share = 0.8
    """Users whom online parts as batch does, where batch keeps what is stored; less chance."""
    max_unusable_share: Share = 0.05
    """Share of a day's raw rows without user, pin or time, or outside the day; above it, no day."""
    max_duplicate_share: Share = 0.5
    """Share of a day's raw rows that may be repeats; above it, the event's column is wrong."""
    max_bad_vector_share: Share = 0.01
    """Share of imported vectors that may be zero or not finite (they are dropped and counted)."""
    waivable: tuple[Waivable, ...] = (
        "users against the last passed day",
        "users who acted, against the same weekday before",
        "clusters per user on average",
        "drift of clusters per user",
        "drift of importance",
        "share of interests in pins without an embedding",
        "age of the embeddings",
    )
    """Rules whose failure a person may waive, by name and reason, so that the day is released."""


class IndexConfig(Section):
    """Which pins are worth indexing, and how."""

    min_quality: Share = 0.3
    """Pins of lower quality are not indexed; a pin without a quality is."""
    near_duplicate_cosine: Annotated[float, Field(gt=0, le=1.01)] = 0.97
    """Cosine from which a pin counts as a near-duplicate of a better one; above 1: off."""
    min_recall: Share = 0.95
    """Recall@50 against exact search below which a new index is not released."""
    recall_queries: PositiveInt = 200
    """Pins sampled to measure recall, of all and under each filter that is tried."""
    max_changed_share: Share = 0.1
    """Share of pins that changed up to which the last index is copied and changed; 0: never."""
    store: Literal["edge", "qdrant"] = "edge"
    """``edge``: Qdrant's engine in this process. ``qdrant``: a server, through qdrant-client."""
    location: str = ""
    """For ``qdrant``: an URL, or ``path:DIR`` in the home for a trial. Empty: QDRANT_URL."""
    hnsw_m: Annotated[int, Field(ge=4, le=128)] = 16
    """Links of a node in the HNSW graph."""
    hnsw_ef_construct: Annotated[int, Field(ge=16, le=2000)] = 128
    """Nodes looked at while building: more is slower and better."""
    hnsw_ef_search: Annotated[int, Field(ge=16, le=4096)] = 512
    """Nodes looked at while searching, in serving and in the recall gate alike."""
    quantisation: Literal["none", "int8"] = "none"
    """``int8``: a byte a number to walk the graph by, and the true vectors to rank by."""


class KeyValueConfig(Section):
    """Where a day's clusters are published."""

    store: Literal["lmdb", "redis"] = "lmdb"
    """``lmdb``: a folder a version, in the home. ``redis``: Redis or Valkey."""
    url: str = ""
    """For ``redis``: its URL. Empty: the variable REDIS_URL, where a password belongs."""


Allocation = Literal["equal", "proportional", "round_robin"]


class RetrievalConfig(Section):
    """How candidates are found (paper, section 4)."""

    allocation: Allocation = "proportional"
    """``equal``: some sampled medoids, as many pins each (the paper's). The others ask all."""
    n_medoids: PositiveInt = 3
    """For ``equal``: most medoids that are sampled for one request."""
    n_candidates: PositiveInt = 400
    """Most candidates; for ``equal``, each of e medoids brings floor(n_candidates / e)."""
    cached_medoids: PositiveInt = 20_000
    """Medoids whose neighbours a process remembers, 5 kB each; with Redis it remembers them."""


class ServiceConfig(Section):
    """How the live release is served over HTTP (``pinnersage serve``)."""

    host: str = "127.0.0.1"
    """Address that it listens on; put a proxy that speaks TLS before another one."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 8100
    """Its port."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that share the port: a search keeps a process from doing anything else."""
    threads: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests that one process works on at once; more helps where stores are servers."""
    max_requests: PositiveInt = 64
    """Most requests under way in one process; what comes beside them is answered 503."""
    max_batch: PositiveInt = 100
    """Most users in one request."""
    max_body_kb: PositiveInt = 1024
    """Longest body of a request, in kB."""
    stop_seconds: PositiveInt = 30
    """Longest wait, when it is stopped, for requests under way."""
    authentication: bool = True
    """Whether a request must show a key; ``pinnersage add-key NAME`` makes one."""


MAX_SHARDS = 1024
"""Most streams that users may be spread over."""


class OnlineConfig(Section):
    """What users do today, and how it reaches what they are shown (paper, section 4.2)."""

    source: Literal["http", "redis", "kafka"] = "http"
    """Where events come from: posts to the service, Redis Streams, or Kafka (extra ``kafka``)."""
    max_actions: Annotated[int, Field(ge=1, le=200)] = 20
    """Latest actions of a user that are kept, and so count beside the stored clusters."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 7.0
    """Days after which an action counts no more, whatever is live; enforced where it is read."""
    max_ahead_seconds: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    """How far an event may lie ahead of this machine's clock; one further ahead is refused."""
    parity_users: PositiveInt = 2000
    """Most users a day whose online result is compared with a batch; those of smallest MD5."""
    url: str = ""
    """For ``redis``: the server of the streams. Empty: the variable REDIS_URL."""
    brokers: str = ""
    """For ``kafka``: host:port of one or more brokers, with commas between."""
    topic: Annotated[str, Field(pattern=_TOPIC)] = "pinnersage-events"
    """For ``kafka``: the topic; what is refused goes to the one with ``-dead`` at its end."""
    n_shards: Annotated[int, Field(ge=1, le=MAX_SHARDS)] = 4
    """For ``redis``: streams that users are spread over; as many consumers may work at once."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Events that a consumer takes at a time; not fewer than shards."""
    max_backlog: PositiveInt = 1_000_000
    """For ``redis``: events that wait; beyond, posts are answered 503 until consumers catch up."""

    @model_validator(mode="after")
    def looks_at_every_shard(self) -> Self:
        """Refuse a batch that has no place for an event of each shard: some would wait idly."""
        if self.batch < self.n_shards:
            raise ValueError(
                f"batch is {self.batch:,}, fewer than n_shards, {self.n_shards:,}: "
                "raise online.batch or lower online.n_shards"
            )
        return self


CONTROL = "control"
"""The arm that the others are compared with."""
PLACES = 10_000
"""Users are spread over as many places; a share is a whole number of them."""


class Arm(Section):
    """One way to recommend, for a share of the users."""

    name: Annotated[str, Field(pattern=_ARM)]
    """What reports call it."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Its share of all users: a multiple of 0.0001."""
    allocation: Allocation | None = None
    """In place of ``retrieval.allocation``."""
    n_medoids: PositiveInt | None = None
    """In place of ``retrieval.n_medoids``; only with the allocation ``equal``."""

    @model_validator(mode="after")
    def can_be(self) -> Self:
        """Refuse a share that no user can tell, and medoids that nobody would count."""
        if abs(self.share * PLACES - round(self.share * PLACES)) > 1e-6:  # noqa: PLR2004 (float64)
            raise ValueError(f"the share of {self.name} is not a multiple of {1 / PLACES}")
        if self.n_medoids is not None and self.allocation != "equal":
            raise ValueError(f'{self.name} has n_medoids: say also allocation = "equal"')
        return self


class ExperimentConfig(Section):
    """An experiment on live traffic: arms that recommend differently to some of the users."""

    name: Annotated[str, Field(pattern=_EXPERIMENT)] = ""
    """Of the experiment that runs; empty: none. Another name puts users in other arms."""
    arms: tuple[Arm, ...] = ()
    """Each with ``name``, ``share`` and, where not as set, ``allocation`` and ``n_medoids``."""

    @model_validator(mode="after")
    def can_be_compared(self) -> Self:
        """Refuse arms of which nothing could be learned."""
        names = [arm.name for arm in self.arms]
        if (self.name or names) and (CONTROL not in names or len(names) < 2):  # noqa: PLR2004
            raise ValueError(f'an experiment has two or more arms, and one is called "{CONTROL}"')
        if len(set(names)) < len(names):
            raise ValueError("two arms have the same name")
        if sum(round(arm.share * PLACES) for arm in self.arms) > PLACES:
            raise ValueError("the arms' shares add up to more than 1")
        return self


class FeaturesConfig(Section):
    """What rankers are told of users, now and for a past time."""

    max_age_days: Positive = 7.0
    """Days from the end of a release's day to when it gives no features any more."""


SequenceName = Literal["GRU", "LSTM", "HierTCN"]


class EvaluationConfig(Section):
    """How models are measured on later actions (paper, section 5.3)."""

    test_days: PositiveInt = 30
    """Days that models are measured on, one after another."""
    tuning_days: PositiveInt = 30
    """Days before them, on which merge threshold, policy and decay are chosen."""
    history_days: PositiveInt = 365
    """Days before those, from which models learn and by which a pin is new or a repeat."""
    n_candidates: PositiveInt = 400
    """Candidates of a user, 400 in the paper; fewer where the pins are few."""
    cosine_threshold: Annotated[float, Field(ge=-1, le=1)] = 0.8
    """Cosine from which a candidate is relevant to an action, 0.8 in the paper."""
    false_match_rate: Share = 0.0
    """Share of random pairs of pins that sets the cosine threshold; 0: it stands as it is."""
    merge_thresholds: Annotated[tuple[NonNegative, ...], Field(min_length=1)] = (
        0.25,
        0.5,
        1.0,
        1.5,
        2.5,
    )
    """Merge thresholds that are tried on the tuning days."""
    sequence_models: tuple[SequenceName, ...] = ()
    """Which of GRU, LSTM and HierTCN are trained; they need the extra ``sequence``."""
    max_users: NonNegativeInt = 0
    """Most users; of more, those whose ids have the smallest MD5; 0: all."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of all chance: samples of medoids, random pins, bootstrap, training."""


class AlertConfig(Section):
    """Who hears of a failure, and from when on the live release is late."""

    channels: tuple[Literal["log", "webhook", "email"], ...] = ("log",)
    """Where an alert goes: any of ``log`` (the task's own), ``webhook`` and ``email``."""
    webhook_connection: str = "pinnersage_webhook"
    """Airflow connection (HTTP) that alerts are posted to, as JSON."""
    email_connection: str = "pinnersage_email"
    """Airflow connection (SMTP) that alerts are sent by; its ``from_email`` is the sender."""
    email_to: tuple[str, ...] = ()
    """Addresses that alerts are sent to."""
    max_age_hours: Positive = 30.0
    """Hours from the end of the live day to when it is late; 30: yesterday is live by 06:00 UTC."""


class RetentionConfig(Section):
    """How long maintenance keeps things, counted back from the newest day of each kind."""

    spare_action_days: NonNegativeInt = 30
    """Days of actions kept before the newest day's window: as many days can be computed again."""
    medoids_days: PositiveInt = 90
    """Days of medoids kept in the lake."""
    index_days: PositiveInt = 30
    """Days kept of refined pins, and of what is known of each index."""
    ready_days: PositiveInt = 7
    """Days kept in the stores: the newest, and as many on the way back from the live release."""
    exposures_days: PositiveInt = 90
    """Days kept of what experiments showed, counted back from today."""
    feedback_days: PositiveInt = 90
    """Days kept of what users were shown and made of it, counted back from today."""
    reports_days: PositiveInt = 400
    """Days of reports on quality and on releases, of metrics, and of maintenance's own reports."""
    grace_days: PositiveInt = 2
    """What was worked on within as many days stays; longer than any task or backfill takes."""


class RunConfig(Section):
    """What a task may use of its machine."""

    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of one task, in DuckDB and in the kernels. Results do not depend on it."""
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?(MB|GB)$")] = "2GB"
    """Memory that DuckDB may use in one task before it spills; its buckets share it."""
    matrix_mb: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Memory in MB, a thread, for one user's distances; what does not fit is exact but slower."""


class Settings(BaseSettings):
    """All settings; ``home`` is the root of lake, stores, releases and reports."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    home: Path
    lake: LakeConfig = LakeConfig()
    source: SourceConfig = SourceConfig()
    model: ModelConfig = ModelConfig()
    checks: CheckConfig = CheckConfig()
    index: IndexConfig = IndexConfig()
    keyvalue: KeyValueConfig = KeyValueConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    service: ServiceConfig = ServiceConfig()
    online: OnlineConfig = OnlineConfig()
    experiment: ExperimentConfig = ExperimentConfig()
    features: FeaturesConfig = FeaturesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    alerts: AlertConfig = AlertConfig()
    retention: RetentionConfig = RetentionConfig()
    run: RunConfig = RunConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class names it)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file: what is handed in comes from the file."""
        del settings_cls
        return (env_settings, init_settings)

    def with_model(self, **changes: float) -> "Settings":
        """Return the same settings with keys of ``[model]`` changed, over file and environment.

        Raises
        ------
        ConfigError
            An unknown key, or a value out of its limits.
        """
        try:
            model = ModelConfig.model_validate(self.model.model_dump() | changes)
        except ValidationError as error:
            raise ConfigError(f"The run's parameters: {_problems(error)}.") from error
        return self.model_copy(update={"model": model})

    def with_evaluation(self, **changes: Any) -> "Settings":
        """Return the same settings with keys of ``[evaluation]`` changed; None changes nothing.

        Raises
        ------
        ConfigError
            A value out of its limits.
        """
        asked = {name: value for name, value in changes.items() if value is not None}
        try:
            changed = EvaluationConfig.model_validate(self.evaluation.model_dump() | asked)
        except ValidationError as error:
            raise ConfigError(f"What is asked of the evaluation: {_problems(error)}.") from error
        return self.model_copy(update={"evaluation": changed})


def home_from_environment() -> Path:
    """Return the folder that ``PINNERSAGE_HOME`` names."""
    home = os.environ.get("PINNERSAGE_HOME", "")
    if not home:
        raise ConfigError(
            "PINNERSAGE_HOME is not set: it names the folder of lake, stores and reports. "
            "Set it (export PINNERSAGE_HOME=/path) or give --home."
        )
    return Path(home).expanduser().resolve()


def load(home: Path | None = None) -> Settings:
    """Return the settings of a home folder that ``pinnersage init`` has made.

    Raises
    ------
    ConfigError
        No such file, unreadable TOML, an unknown key, or a value out of its limits.
    """
    home = home or home_from_environment()
    return build(home, _values(home), origin=str(home / FILE))


def load_alerts(home: Path | None = None) -> AlertConfig:
    """Return the settings of alerts, also when another section of the file is wrong."""
    home = home or home_from_environment()
    values = {name: part for name, part in _values(home).items() if name == "alerts"}
    return build(home, values, origin=str(home / FILE)).alerts


def _values(home: Path) -> dict[str, Any]:
    path = home / FILE
    if not path.is_file():
        raise ConfigError(f"{path} does not exist. Make it with: pinnersage init --home {home} …")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}. Mend that line.") from error


def build(home: Path, values: dict[str, Any], *, origin: str = "settings") -> Settings:
    """Return settings from nested values and the environment, or say which key is wrong."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields if name != "home"}
    for name in os.environ:
        if name.startswith(PREFIX) and "__".join(name.split("__")[:2]).upper() not in known:
            raise ConfigError(
                f"The environment variable {name} names no section of the settings. "
                f"Sections: {', '.join(sorted(set(Settings.model_fields) - {'home'}))}."
            )
    try:
        return Settings(**(values | {"home": home}))
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_problems(error)}. See docs/settings.md.") from error
    except SettingsError as error:
        raise ConfigError(
            f"The environment: {error}. Lists are written as JSON there, such as "
            f"{PREFIX}SOURCE__INTEREST_ACTIONS='[\"repin\"]'. See docs/settings.md."
        ) from error


def _problems(error: ValidationError) -> str:
    return "; ".join(_problem(item) for item in error.errors())


def _problem(item: Any) -> str:
    """Return one problem: which key, its value, where it comes from, and what is wrong with it."""
    where = ".".join(map(str, item["loc"]))
    variable = PREFIX + "__".join(map(str, item["loc"][:2])).upper()
    origin = f" (from {variable})" if variable in {name.upper() for name in os.environ} else ""
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such setting{origin}"
    # An address may hold a password.
    value = "the value" if where.endswith(("url", "location", "root")) else repr(item["input"])
    expected = _IN_WORDS.get(item.get("ctx", {}).get("pattern", ""), item["msg"])
    return f"{where}: {value}{origin}: {expected.removeprefix('Value error, ')}"


def to_toml(**given: Section) -> str:
    """Return a commented TOML file: the sections given, the others' defaults, every key described.

    It takes sections and not ``Settings``, which hold what the environment says: a password there
    must not end in a file.
    """
    lines = [
        "# PinnerSage's settings. PINNERSAGE__SECTION__KEY in the environment overrides a key."
    ]
    for section, field in Settings.model_fields.items():
        if section == "home":
            continue
        part: Section = given.get(section, field.default)
        kind = field.annotation
        lines += ["", f"# {_summary(kind)}", f"[{section}]"]
        for name, described in descriptions(type(part)).items():
            lines += [f"# {described}", f"{name} = {_toml_value(getattr(part, name))}"]
    return "\n".join(lines) + "\n"


def descriptions(section: type[Section]) -> dict[str, str]:
    """Return each key of a section with the line that stands under it in this file."""
    import ast  # noqa: PLC0415 (only for writing the settings file and its page)
    import inspect  # noqa: PLC0415
    import textwrap  # noqa: PLC0415

    tree = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    found: dict[str, str] = {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = after.value if isinstance(after, ast.Expr) else None
            described = text.value if isinstance(text, ast.Constant) else ""
            found[node.target.id] = str(described)
    return found


def _summary(kind: Any) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _toml_value(value: Any) -> str:
    if isinstance(value, Section):
        given = value.model_dump(exclude_none=True).items()
        return "{" + ", ".join(f"{name} = {_toml_value(item)}" for name, item in given) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def fingerprint(*parts: Section | str) -> str:
    """Return 16 hex digits that change when a setting in these parts does."""
    text = "\n".join(part if isinstance(part, str) else part.model_dump_json() for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def medoids_fingerprint(settings: Settings) -> str:
    """Return a fingerprint of the settings that decide what the medoids of a day are."""
    return fingerprint(settings.model, *settings.source.interest_actions)
