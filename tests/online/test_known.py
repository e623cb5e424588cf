"""Known pins are those of what is live, as it is now."""

import numpy as np
import pyarrow as pa
from worlds import DAY, clock

from pinnersage import day
from pinnersage.online.known import LOOK_SECONDS, KnownPins
from pinnersage.release import Releases
from pinnersage.stores import embeddings, open_lake


def some_pins(settings):
    release = Releases(settings).live()
    table = embeddings.named(open_lake(settings), release.embeddings)
    return [str(pin) for pin in table.pin_ids[:3].to_pylist()]


def test_pins_of_the_live_release_are_known_and_no_others(finished):
    pins = some_pins(finished)
    known = KnownPins(finished)
    assert known.among([pins[0], "1", pins[2], "-7"]) == [pins[0], pins[2]]
    assert known.among([]) == []


def test_while_nothing_is_live_every_pin_is_known(settings):
    assert set(KnownPins(settings).among(["1", "2"])) == {"1", "2"}


def test_a_release_that_goes_live_is_followed_within_a_second(settings):
    now = [0.0]
    known = KnownPins(settings, lambda: now[0])
    assert known.among(["1"])
    day.run(DAY, clock, settings, lambda _step, _report: None)
    now[0] += LOOK_SECONDS
    assert not known.among(["1"])


def test_other_embeddings_are_followed_and_the_same_are_not_opened_again(finished, monkeypatch):
    now, opened = [0.0], []
    lake = open_lake(finished)
    old = some_pins(finished)
    vectors = np.eye(2, 16, dtype=np.float32)
    made = embeddings.write(
        lake, pa.array([1, 2]), vectors, valid_from=None, first_day=DAY, max_bad_share=0.0
    )
    named = embeddings.named

    def counted(where, version):
        opened.append(version)
        return named(where, version)

    monkeypatch.setattr(embeddings, "named", counted)
    releases = Releases(finished)
    live = releases.live()
    known = KnownPins(finished, lambda: now[0])
    assert list(known.among(["1", old[0]])) == [old[0]]
    now[0] += LOOK_SECONDS
    assert list(known.among(["1", old[0]])) == [old[0]]
    assert opened == [live.embeddings]

    medoids = live.medoids.model_copy(update={"embeddings": made.version})
    other = live.model_copy(update={"medoids": medoids})
    monkeypatch.setattr(Releases, "live", lambda _: other)
    assert list(known.among(["1", old[0]])) == [old[0]], "within the second it is as it was"
    now[0] += LOOK_SECONDS
    assert list(known.among(["1", old[0]])) == ["1"]
