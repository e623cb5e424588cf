"""Init: anyone's Parquet, looked at before anything is made of it."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from events import event, rows_of, table, vectors, write_log, write_pins

from pinnersage import config, init
from pinnersage.config import SourceConfig
from pinnersage.errors import ConfigError, DataError
from pinnersage.stores import embeddings
from pinnersage.stores.lake import Lake

EVENTS = [
    event(1, 10),
    event(1, 11, "2026-04-01 08:00", action="click"),
    event(2, 11, action="hide"),
]
IDS = [11, 10, 12]


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "log.parquet", EVENTS)


@pytest.fixture
def set_up(tmp_path, log):
    """Call ``init`` on the log, with pins if there are any."""

    def set_up(items=None, *, actions=None, home="home", **source):
        source = SourceConfig(actions=str(actions or log), **source)
        return init.run(tmp_path / home, source, items or init.Items())

    return set_up


def lake_of(tmp_path, home="home"):
    return Lake(tmp_path / home / "lake")


def pins_of(lake):
    return rows_of(lake, embeddings.valid_at(lake, "pins", date(2026, 4, 5)))


def table_of(lake):
    return embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", date(2026, 4, 5)))


def list_items(folder, ids, column, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"pin_id": ids, "vector": column, **columns}), folder / "pins.parquet")
    return init.Items(path=str(folder / "pins.parquet"), embeddings="vector")


def test_what_is_in_the_log_is_reported(set_up):
    report = set_up()
    assert (report.actions, report.users) == (3, 2)
    assert (report.first_day, report.last_day) == (date(2026, 4, 1), date(2026, 4, 5))
    assert report.action_kinds == {"click": 1, "hide": 1, "repin": 1}
    assert (report.user_id, report.pin_id) == ("int64", "int64")


def test_text_ids_are_kept_as_text(set_up, tmp_path):
    log = write_log(tmp_path / "text.parquet", [event("Zoë", "007")], ids=pa.string())
    items = write_pins(tmp_path / "pins", ["007", "7"])
    report = set_up(items, actions=log)
    assert (report.user_id, report.pin_id) == ("string", "string")
    assert table_of(lake_of(tmp_path)).pin_ids.to_pylist() == ["007", "7"]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64()])
def test_integers_of_any_width_become_int64(kind, set_up, tmp_path):
    log = write_log(tmp_path / "narrow.parquet", [event(1, 10)], ids=kind)
    assert set_up(actions=log).pin_id == "int64"
    assert lake_of(tmp_path).layout.user_id == "int64"


def test_users_may_be_text_while_pins_are_integers(set_up, tmp_path):
    log = write_log(tmp_path / "mixed.parquet", [event("u", 1)], ids=pa.string(), pins=pa.int64())
    report = set_up(actions=log)
    assert (report.user_id, report.pin_id) == ("string", "int64")


@pytest.mark.parametrize("kind", [pa.float64(), pa.uint64(), pa.binary(), pa.bool_()], ids=str)
def test_ids_that_are_no_ids_are_refused(kind, set_up, tmp_path):
    values = {"double": 1.0, "uint64": 1, "binary": b"1", "bool": True}
    log = write_log(
        tmp_path / "bad.parquet", [event(values[str(kind)], 10)], ids=kind, pins=pa.int64()
    )
    with pytest.raises(DataError, match=r"column user_id is .*an identifier is text or an integer"):
        set_up(actions=log)


def test_columns_may_have_any_name(set_up, tmp_path):
    names = {"user_id": 'the "user"', "pin_id": "pin; --", "action": "what, then", "acted_at": "t"}
    log = table(EVENTS).rename_columns(list(names.values()))
    source = dict(zip(("user", "pin", "action", "time"), names.values(), strict=True))
    assert set_up(actions=write_log(tmp_path / "odd.parquet", log), **source).actions == 3


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_topics_are_brought_in_under_any_name(kind, set_up, tmp_path):
    items = write_pins(tmp_path / "pins", [10, 11, 12])
    pins = pq.read_table(items.path)
    subject = pa.array(["birds", None, "a, b"]).cast(kind)
    pq.write_table(pins.append_column("subject", subject), items.path)

    set_up(items.model_copy(update={"topic": "subject"}))

    topics = [row["topic"] for row in pins_of(lake_of(tmp_path))]
    assert topics == ["birds", None, "a, b"]


def test_missing_column_names_those_there_are(set_up):
    with pytest.raises(DataError, match=r"no column member; there are user_id, pin_id, action"):
        set_up(user="member")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (2, [1, 2, 3], r"column action is BIGINT, not text"),
        (3, ["2026-04-05"] * 3, r"column acted_at is VARCHAR, not a timestamp"),
        (3, [1, 2, 3], r"column acted_at is BIGINT, not a timestamp"),
    ],
)
def test_wrong_type_is_named(column, values, expected, set_up, tmp_path):
    log = table(EVENTS)
    log = log.set_column(column, log.column_names[column], pa.array(values))
    with pytest.raises(DataError, match=expected):
        set_up(actions=write_log(tmp_path / "wrong.parquet", log))


def test_broken_parquet_of_actions_is_a_data_error(set_up, tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 this is not Parquet")
    with pytest.raises(DataError, match=r"broken.parquet.*broken file"):
        set_up(actions=tmp_path / "broken.parquet")


def test_no_file_is_a_data_error(set_up, tmp_path):
    with pytest.raises(DataError, match=r"nowhere/\*.parquet: no Parquet file there"):
        set_up(actions=tmp_path / "nowhere" / "*.parquet")


def test_log_without_rows_is_refused(set_up, tmp_path):
    with pytest.raises(DataError, match="no row with a time"):
        set_up(actions=write_log(tmp_path / "empty.parquet", []))


def test_absurd_times_do_not_stop_it(set_up, tmp_path):
    far = pa.array([-(2**62), 2**62, 0], pa.timestamp("us", "UTC"))
    log = table(EVENTS).set_column(3, "acted_at", far)
    report = set_up(actions=write_log(tmp_path / "far.parquet", log))
    assert (report.first_day, report.last_day) == (date(1, 1, 1), date(9999, 12, 31))


def test_interest_that_nobody_shows_is_refused_with_the_kinds_there_are(set_up):
    with pytest.raises(DataError, match=r"No action is one of save; there are click \(1\), hide"):
        set_up(interest_actions=("save",))


def test_failed_init_can_be_done_again(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS, vectors(2))
    with pytest.raises(DataError, match="2 vectors for 3 pins"):
        set_up(items)
    assert lake_of(tmp_path).versions("pins") == []
    assert set_up(write_pins(tmp_path / "pins", IDS)).pins == 3


# Pins and vectors


def test_npy_rows_belong_to_the_table_s_rows(set_up, tmp_path):
    matrix = vectors(3)
    report = set_up(write_pins(tmp_path / "pins", IDS, matrix))
    opened = table_of(lake_of(tmp_path))
    np.testing.assert_array_equal(opened.matrix[opened.rows_of(IDS)], matrix)
    assert (report.pins, report.embeddings.pins, report.embeddings.dimensions) == (3, 3, 8)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float32(), 8),
        pa.list_(pa.float16()),
    ],
    ids=str,
)
def test_list_column_and_npy_are_the_same(kind, set_up, tmp_path):
    matrix = vectors(3).astype(np.float16 if kind.value_type == pa.float16() else np.float32)
    column = pa.array(list(matrix.astype(kind.value_type.to_pandas_dtype())), kind)
    one = set_up(list_items(tmp_path / "a", IDS, column), home="a")
    other = set_up(write_pins(tmp_path / "b", IDS, matrix), home="b")
    assert one.embeddings == other.embeddings


def test_lists_of_different_lengths_are_counted(set_up, tmp_path):
    items = list_items(tmp_path / "pins", IDS, [[1.0, 0.0], [1.0, 0.0], [1.0]])
    with pytest.raises(DataError, match=r"different lengths: \{'2': 2, '1': 1\}"):
        set_up(items)


def test_missing_list_is_refused(set_up, tmp_path):
    items = list_items(tmp_path / "pins", IDS, [[1.0, 0.0], None, [1.0, 0.0]])
    with pytest.raises(DataError, match=r"different lengths: .*'None': 1"):
        set_up(items)


def test_missing_value_in_a_list_is_a_bad_vector(set_up, tmp_path):
    items = list_items(tmp_path / "pins", IDS, [[1.0, 0.0], [None, 0.0], [1.0, 0.0]])
    with pytest.raises(DataError, match=r"1 of 3 vectors.*first pins: 10"):
        set_up(items)


def test_column_that_is_not_lists_is_refused(set_up, tmp_path):
    with pytest.raises(DataError, match=r"column vector is int64, not lists"):
        set_up(list_items(tmp_path / "pins", IDS, [1, 2, 3]))


def test_neither_file_nor_column_names_both(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS).model_copy(update={"embeddings": "vectors"})
    with pytest.raises(DataError, match=r"vectors: neither a file nor a column .*pin_id"):
        set_up(items)


def test_npy_that_is_none_is_refused(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS)
    (tmp_path / "pins" / "embeddings.npy").write_bytes(b"not numpy")
    with pytest.raises(DataError, match=r"embeddings.npy is not a .npy file"):
        set_up(items)


def test_npy_of_objects_is_never_unpickled(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS)
    np.save(tmp_path / "pins" / "embeddings.npy", np.array([{}, {}, {}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"is not a .npy file of numbers"):
        set_up(items)


def test_few_bad_vectors_are_dropped_and_counted(set_up, tmp_path):
    matrix = vectors(300)
    matrix[7], matrix[8, 1] = 0, np.nan
    report = set_up(write_pins(tmp_path / "pins", range(300), matrix))
    assert (report.embeddings.dropped, report.embeddings.examples) == (2, ["7", "8"])
    assert report.pins == 300


def test_many_bad_vectors_stop_it_and_leave_no_version(set_up, tmp_path):
    matrix = vectors(300)
    matrix[40:50] = 0
    with pytest.raises(DataError, match=r"10 of 300 vectors.*first pins: 40, 41, 42, 43, 44\."):
        set_up(write_pins(tmp_path / "pins", range(300), matrix))
    lake = lake_of(tmp_path)
    assert lake.versions("embeddings") == lake.versions("pins") == []


@pytest.mark.parametrize("with_vectors", [True, False])
def test_pin_that_is_there_twice_is_refused(with_vectors, set_up, tmp_path):
    items = write_pins(tmp_path / "pins", [1, 2, 1])
    items = items if with_vectors else items.model_copy(update={"embeddings": ""})
    with pytest.raises(DataError, match=r"1 pin ids occur more than once, such as 1\."):
        set_up(items)
    assert lake_of(tmp_path).versions("pins") == []


@pytest.mark.parametrize("with_vectors", [True, False])
def test_pin_without_id_is_refused(with_vectors, set_up, tmp_path):
    items = write_pins(tmp_path / "pins", pa.array([1, None, 3]))
    items = items if with_vectors else items.model_copy(update={"embeddings": ""})
    with pytest.raises(DataError, match="1 pins have no id"):
        set_up(items)


@pytest.mark.parametrize("ids", [[1.0, 2.0, 3.0], [True, False, None]], ids=["float", "bool"])
def test_pin_ids_that_are_no_ids_are_refused(ids, set_up, tmp_path):
    with pytest.raises(DataError, match=r"column pin_id is .*an identifier is text or an integer"):
        set_up(write_pins(tmp_path / "pins", ids))


def test_pin_ids_of_the_other_type_are_converted_or_refused(set_up, tmp_path):
    assert set_up(write_pins(tmp_path / "a", ["10", "11"]), home="a").pins == 2
    assert table_of(lake_of(tmp_path, "a")).pin_ids.to_pylist() == [10, 11]
    with pytest.raises(DataError, match=r"column pin_id is string and cannot become int64"):
        set_up(write_pins(tmp_path / "b", ["10", "eleven"]), home="b")


def test_categories_are_text(set_up, tmp_path):
    log = write_log(tmp_path / "text.parquet", [event("u", "a")], ids=pa.string())
    items = write_pins(tmp_path / "pins", pa.array(["a", "b"]).dictionary_encode())
    assert set_up(items, actions=log).pins == 2


def test_columns_of_pins_are_mapped(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS, score=[1, 0, None], name=["a", "b", None])
    set_up(items.model_copy(update={"quality": "score", "title": "name"}))
    assert [(r["pin_id"], r["quality"], r["title"]) for r in pins_of(lake_of(tmp_path))] == [
        (10, 0.0, "b"),
        (11, 1.0, "a"),
        (12, None, None),
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("saves / (saves + hides)", [None, 1.0, 0.25]),
        ("is_good", [None, 0.0, 1.0]),
        ("is_good AND saves > 2", [0.0, 0.0, 1.0]),
        ("coalesce(is_good, TRUE)", [1.0, 0.0, 1.0]),
    ],
)
def test_quality_may_be_true_or_false_or_an_expression(set_up, tmp_path, expression, expected):
    items = write_pins(
        tmp_path / "pins", IDS, saves=[3, 1, 3], hides=[0, None, 9], is_good=[False, None, True]
    )
    set_up(items.model_copy(update={"quality": expression}))
    assert [row["quality"] for row in pins_of(lake_of(tmp_path))] == expected


def test_quality_of_a_window_belongs_to_its_own_pin(set_up, tmp_path):
    n = 20_000
    saves = np.random.default_rng(0).permutation(n)
    items = write_pins(
        tmp_path / "pins", pa.array(np.arange(n)), saves=saves.tolist(), g=(saves % 7).tolist(),
        halves=pa.array([[np.float16(1)]] * n),
    )  # fmt: skip
    set_up(
        items.model_copy(update={"quality": "percent_rank() OVER (PARTITION BY g ORDER BY saves)"})
    )
    found = np.array([row["quality"] for row in pins_of(lake_of(tmp_path))])
    for g in range(7):
        own = np.flatnonzero(saves % 7 == g)
        ranks = np.argsort(np.argsort(saves[own])) / (own.size - 1)
        np.testing.assert_allclose(found[own], ranks)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("rating", r"quality 'rating' is no column \(pin_id, score\) and no SQL expression"),
        ("score +", "no SQL expression over them"),
        ("avg(score)", "no SQL expression over them"),
        ("unnest([score, score])", "does not give one value a row"),
        ("COLUMNS(*)", "does not give one value a row"),
        ("score * 2", "not within 0 to 1, such as 2.0"),
        ("score = 'x'", "no SQL expression over them"),
    ],
)
def test_an_expression_that_gives_no_quality_is_told_why(set_up, tmp_path, expression, said):
    items = write_pins(tmp_path / "pins", IDS, score=[1.0, 0.5, None])
    with pytest.raises(DataError, match=said):
        set_up(items.model_copy(update={"quality": expression}))


def test_column_of_pins_that_is_missing_or_of_a_wrong_type_is_named(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS, score=["good", "bad", "1"])
    with pytest.raises(DataError, match=r"no column rating; there are pin_id, score"):
        set_up(items.model_copy(update={"title": "rating"}))
    with pytest.raises(DataError, match=r"column score is string and cannot become double"):
        set_up(items.model_copy(update={"quality": "score"}))


def test_broken_parquet_of_pins_is_a_data_error(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS)
    (tmp_path / "pins" / "pins.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"pins.parquet cannot be read as Parquet"):
        set_up(items)


def test_vectors_without_a_table_are_refused(set_up):
    with pytest.raises(ConfigError, match="--embeddings needs --items"):
        set_up(init.Items(embeddings="x.npy"))


# Again


def files_of(home):
    return {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def test_same_again_changes_nothing(set_up, tmp_path):
    items = write_pins(tmp_path / "pins", IDS)
    set_up(items)
    before = files_of(tmp_path / "home")
    set_up(items)
    assert files_of(tmp_path / "home") == before


def test_home_over_another_source_is_refused(set_up, tmp_path):
    set_up()
    other = write_log(tmp_path / "other.parquet", EVENTS)
    with pytest.raises(ConfigError, match=r"set up over .*log.parquet"):
        set_up(actions=other)
    with pytest.raises(ConfigError, match=r"Edit \[source\] there"):
        set_up(interest_actions=("repin",))


def test_lake_of_other_ids_is_refused(set_up, log):
    set_up()
    write_log(log, [event("u", "p")], ids=pa.string())
    with pytest.raises(ConfigError, match="A lake keeps its layout"):
        set_up()


def test_file_edited_by_hand_is_kept(set_up, tmp_path):
    set_up()
    path = tmp_path / "home" / config.FILE
    edited = path.read_text().replace("merge_threshold = 1.0", "merge_threshold = 2.5  # ours")
    path.write_text(edited)
    set_up(write_pins(tmp_path / "pins", IDS))
    assert path.read_text() == edited
    assert config.load(tmp_path / "home").model.merge_threshold == 2.5


def test_new_vectors_become_a_version_beside_the_old(set_up, tmp_path):
    set_up(write_pins(tmp_path / "pins", IDS, vectors(3)))
    set_up(write_pins(tmp_path / "pins", IDS, vectors(3, seed=1)))
    assert len(lake_of(tmp_path).versions("embeddings")) == 2
    assert len(lake_of(tmp_path).versions("pins")) == 1


def test_path_of_the_source_does_not_depend_on_where_one_stands(set_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_up(actions="log.parquet")
    assert config.load(tmp_path / "home").source.actions == str(tmp_path / "log.parquet")


def test_init_again_without_pins_keeps_those_that_are_there(set_up, tmp_path):
    set_up(write_pins(tmp_path / "pins", IDS))
    before = pins_of(lake_of(tmp_path))

    set_up()

    assert pins_of(lake_of(tmp_path)) == before
    assert len(before) == len(IDS)


def test_nothing_of_the_environment_is_written_down(set_up, tmp_path, monkeypatch):
    monkeypatch.setenv("PINNERSAGE__KEYVALUE__URL", "redis://:hunter2@host:1/0")
    monkeypatch.setenv("PINNERSAGE__MODEL__MERGE_THRESHOLD", "7.25")

    set_up()

    written = (tmp_path / "home" / "pinnersage.toml").read_text()
    assert "hunter2" not in written
    assert "7.25" not in written


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan"), float("inf")])
def test_a_quality_that_is_no_share_is_refused(set_up, tmp_path, bad):
    items = write_pins(tmp_path / "pins", IDS, quality=[0.5, bad, None])

    with pytest.raises(DataError, match="not within 0 to 1"):
        set_up(items.model_copy(update={"quality": "quality"}))


def test_the_limit_of_bad_vectors_in_the_settings_file_counts(set_up, tmp_path):
    set_up()
    file = tmp_path / "home" / "pinnersage.toml"
    file.write_text(
        file.read_text().replace("max_bad_vector_share = 0.01", "max_bad_vector_share = 0.5")
    )
    matrix = vectors(3)
    matrix[0] = 0

    report = set_up(write_pins(tmp_path / "pins", IDS, matrix))

    assert report.embeddings.dropped == 1
