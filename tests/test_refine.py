"""Refine: which pins are worth indexing."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import DAY, change, items_of, source_of

from pinnersage import config, init, refine
from pinnersage.errors import DataError
from pinnersage.schema import REFINED, TIME
from pinnersage.stores import embeddings
from pinnersage.stores.filters import UNKNOWN, Attributes
from pinnersage.stores.lake import Lake


def refined_of(settings, day=DAY):
    """The rows of ``refined`` by pin."""
    lake = Lake(settings.home / "lake")
    (path,) = lake.paths(lake.current("refined", day=day))
    return {row["pin_id"]: row for row in pq.read_table(path).to_pylist()}


def world_of(tiny):
    """The tiny world's pins by id."""
    return {row["pin_id"]: row for row in pq.read_table(tiny / "pins.parquet").to_pylist()}


def test_every_pin_with_an_embedding_is_judged_once(settings, tiny):
    report = refine.run(DAY, settings)

    found = refined_of(settings)
    assert found.keys() == world_of(tiny).keys()
    assert report.pins == len(found) == report.kept + sum(report.dropped.values())
    assert all(row["kept"] == (row["reason"] is None) for row in found.values())


def test_planted_duplicates_are_found(settings, tiny):
    # Copies are planted at 0.982 and above; a little below that, others are as near by chance.
    settings = change(settings, index={"near_duplicate_cosine": 0.98})
    refine.run(DAY, settings)

    world = world_of(tiny)
    dropped = {
        pin: row["representative"]
        for pin, row in refined_of(settings).items()
        if row["reason"] == "near_duplicate"
    }
    root = {pin: row["duplicate_of"] or pin for pin, row in world.items()}
    good = {pin for pin, row in world.items() if row["quality"] >= settings.index.min_quality}
    planted = [(pin, root[pin]) for pin in good if root[pin] != pin and root[pin] in good]
    assert len(planted) > 10
    assert all(one in dropped or other in dropped for one, other in planted), "recall is 1"
    right = sum(root[pin] == root[better] for pin, better in dropped.items())
    assert right / len(dropped) >= 0.8, "precision"


def test_a_dropped_near_duplicate_is_near_a_kept_pin_that_is_no_worse(settings):
    refine.run(DAY, settings)

    lake = Lake(settings.home / "lake")
    table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", DAY))
    found = refined_of(settings)
    dropped = [row for row in found.values() if row["reason"] == "near_duplicate"]
    assert dropped
    for row in dropped:
        better = found[row["representative"]]
        cosine = float(table.matrix[row["row"]] @ table.matrix[better["row"]])
        assert better["kept"]
        assert better["quality"] >= row["quality"]
        assert cosine >= settings.index.near_duplicate_cosine - 1e-6
        assert row["cosine"] == pytest.approx(cosine, abs=1e-6)


def test_no_two_kept_pins_are_near_duplicates(settings):
    refine.run(DAY, settings)

    lake = Lake(settings.home / "lake")
    table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", DAY))
    rows, _ = refine.kept(lake, lake.current("refined", day=DAY))
    cosines = table.matrix[rows] @ table.matrix[rows].T
    np.fill_diagonal(cosines, -1)
    assert cosines.max() < settings.index.near_duplicate_cosine + 1e-6


def test_low_quality_is_dropped_with_its_reason_and_nothing_else_is(settings, tiny):
    report = refine.run(DAY, settings)

    low = {p for p, row in world_of(tiny).items() if row["quality"] < settings.index.min_quality}
    found = refined_of(settings)
    assert {p for p, row in found.items() if row["reason"] == "low_quality"} == low
    assert report.dropped["low_quality"] == len(low) > 0


def test_near_duplicates_can_be_switched_off(settings):
    off = change(settings, index={"near_duplicate_cosine": 1.01, "min_quality": 0.0})

    report = refine.run(DAY, off)

    assert report.kept == report.pins
    assert report.dropped == {}


def test_nothing_worth_indexing_is_an_error(settings):
    strict = change(settings, index={"min_quality": 1.0})

    with pytest.raises(DataError, match=r"none of 400 pins is worth indexing.*low_quality"):
        refine.run(DAY, strict)

    assert Lake(settings.home / "lake").current("refined", day=DAY) is None


PINS = (
    # pin, quality, near_duplicate_of, direction
    (1, 0.9, None, 0),
    (2, 0.8, 1, 90),  # named, though it looks different
    (3, None, None, 180),  # of unknown quality
    (4, 0.1, None, 270),  # bad
    (5, 0.7, 4, 45),  # its better pin is bad
    (6, 0.7, 6, 135),  # names itself
    (7, 0.7, 99, 225),  # names a pin without an embedding
    (8, 0.7, 9, 315),  # two that name each other
    (9, 0.7, 8, 20),
    (10, 0.5, None, 181),  # near 3
)


@pytest.fixture
def by_hand(tiny, tmp_path):
    ids, quality, better, degrees = zip(*PINS, strict=True)
    angles = np.radians(degrees)
    table = pa.table(
        {
            "pin_id": pa.array(ids, pa.int64()),
            "quality": pa.array(quality, pa.float64()),
            "better": pa.array(better, pa.int64()),
            "vector": np.stack([np.cos(angles), np.sin(angles)], axis=1).tolist(),
        }
    )
    pq.write_table(table, tmp_path / "pins.parquet")
    items = init.Items(
        path=str(tmp_path / "pins.parquet"),
        quality="quality",
        near_duplicate_of="better",
        embeddings="vector",
    )
    init.run(tmp_path / "home", source_of(tiny), items)
    settings = config.load(tmp_path / "home")
    refine.run(DAY, settings)
    return refined_of(settings)


def test_a_near_duplicate_that_the_user_names_is_believed(by_hand):
    assert by_hand[2]["reason"] == "near_duplicate"
    assert by_hand[2]["representative"] == 1
    assert by_hand[2]["cosine"] is None


@pytest.mark.parametrize("pin", [5, 6, 7, 8, 9])
def test_a_named_better_pin_that_is_not_fit_itself_drops_nothing(by_hand, pin):
    assert by_hand[pin]["kept"]


def test_a_pin_of_unknown_quality_is_kept_and_stands_for_others(by_hand):
    assert by_hand[3]["kept"]
    assert by_hand[10]["representative"] == 3


def test_what_filters_ask_goes_along(settings, tiny):
    refine.run(DAY, settings)

    lake = Lake(settings.home / "lake")
    found, world = refined_of(settings), world_of(tiny)
    for pin, row in found.items():
        assert row["created_at"] == world[pin]["created_at"]
        assert row["topic"] == world[pin]["topic"]
    rows, attributes = refine.kept(lake, lake.current("refined", day=DAY))
    by_row = {row["row"]: row for row in found.values()}
    assert (np.diff(rows) > 0).all()
    for row, carried in zip(rows.tolist(), attributes.payloads(), strict=True):
        made = by_row[row]["created_at"]
        days = (made.date() - date(1970, 1, 1)).days
        assert carried == {"created": days, "topic": by_row[row]["topic"]}


def test_pins_of_before_there_were_topics_go_on_working(settings, tiny):
    lake = Lake(settings.home / "lake")
    pins = pq.read_table(tiny / "pins.parquet", columns=["pin_id", "quality", "title"])
    old = pins.append_column("near_duplicate_of", pa.nulls(len(pins), pa.int64()))
    old = old.append_column("image_url", pa.nulls(len(pins), pa.string()))
    old = old.append_column("created_at", pa.nulls(len(pins), pa.timestamp("us", "UTC")))
    init.write_pins(lake, old, valid_from=DAY, first_day=DAY)

    refine.run(DAY, settings)

    rows, attributes = refine.kept(lake, lake.current("refined", day=DAY))
    assert rows.size > 100
    assert attributes == Attributes(), "of no pin anything is known: no filter may ask"
    assert {row["topic"] for row in refined_of(settings).values()} == {None}


def test_a_pin_that_was_made_at_a_time_without_a_name_is_of_unknown_age(settings, monkeypatch):
    refine.run(DAY, settings)
    lake = Lake(settings.home / "lake")
    manifest = lake.current("refined", day=DAY)
    (path,) = lake.paths(manifest)
    table = pq.read_table(path)
    far = pa.array([2**62, -(2**62)] + [0] * (table.num_rows - 2), pa.int64()).cast(TIME)
    changed = table.set_column(table.schema.get_field_index("created_at"), "created_at", far)
    other = settings.home / "far.parquet"
    pq.write_table(
        changed.set_column(
            table.schema.get_field_index("kept"), "kept", pa.array([True] * table.num_rows)
        ),
        other,
    )
    monkeypatch.setattr(type(lake), "path", lambda *_: other)

    _, attributes = refine.kept(lake, manifest)

    assert attributes.created[:2].tolist() == [UNKNOWN, UNKNOWN]
    assert (attributes.created[2:] == 0).all()


def test_a_day_that_was_refined_by_older_columns_is_refined_anew(settings, monkeypatch):
    refine.run(DAY, settings)
    monkeypatch.setattr(refine, "REFINED", replace(REFINED, columns=REFINED.columns[:-1]))
    assert not refine.run(DAY, settings).reused


def test_the_same_pins_on_the_next_day_are_not_judged_again(settings, monkeypatch):
    first = refine.run(DAY, settings)
    before = Lake(settings.home / "lake").current("refined", day=DAY)

    def judged(*_):
        raise AssertionError

    monkeypatch.setattr(refine, "judged", judged)
    next_day = refine.run(DAY + timedelta(days=1), settings)
    again = refine.run(DAY, settings)

    assert (first.reused, next_day.reused, again.reused) == (False, True, True)
    lake = Lake(settings.home / "lake")
    assert lake.current("refined", day=DAY) == before
    after = lake.current("refined", day=DAY + timedelta(days=1))
    assert (after.files, after.content_hash) == (before.files, before.content_hash)
    assert next_day.kept == first.kept


@pytest.mark.parametrize("why", ["settings", "pins", "embeddings", "files"])
def test_other_pins_or_rules_are_judged_anew(settings, tiny, tmp_path, why):
    refine.run(DAY, settings)
    lake = Lake(settings.home / "lake")
    if why == "settings":
        settings = change(settings, index={"min_quality": 0.5})
    elif why == "files":
        (path,) = lake.paths(lake.current("refined", day=DAY))
        Path(path).unlink()
    else:
        table = pq.read_table(tiny / "pins.parquet")
        vectors = np.load(tiny / "embeddings.npy")
        if why == "pins":
            table = table.set_column(2, "quality", pa.array(np.ones(len(table))))
        else:
            vectors = vectors[::-1]
        pq.write_table(table, tmp_path / "pins.parquet")
        np.save(tmp_path / "embeddings.npy", vectors)
        valid_from = DAY + timedelta(days=1)
        init.run(settings.home, source_of(tiny), items_of(tmp_path), valid_from=valid_from)

    assert not refine.run(DAY + timedelta(days=1), settings).reused
    assert refined_of(settings, DAY + timedelta(days=1))


def test_an_older_day_takes_nothing_from_a_newer_one(settings):
    refine.run(DAY, settings)

    assert not refine.run(DAY - timedelta(days=1), settings).reused
