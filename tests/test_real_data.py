"""Real data: two sets of real actions go from init to recommendations with no code changed."""

import json
import sys
from collections import Counter
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from worlds import clock

from pinnersage import cli, config, day, init
from pinnersage.config import SourceConfig

# By set: the kinds of action that show interest, and a day late in its period.
SETS = {
    "ifdb": (("played", "wishlist"), date(2022, 11, 30)),
    "online_retail": (("purchase",), date(2010, 11, 15)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_real_actions_end_in_recommendations(name, real_data, tmp_path, monkeypatch, capsys):
    folder, home = real_data / name, tmp_path / "home"
    interests, on = SETS[name]
    source = SourceConfig(
        actions=str(folder / "actions.parquet"),
        user="user_id", pin="item_id", action="action_type", time="ts",
        interest_actions=interests,
    )  # fmt: skip
    items = init.Items(
        path=str(folder / "items.parquet"),
        pin="item_id",
        title="title",
        embeddings=str(folder / "item_text_embeddings_f16.npy"),
    )
    raw = pq.read_table(folder / "actions.parquet")
    table = pq.read_table(folder / "items.parquet", columns=["item_id", "title"])
    titles = dict(zip(*table.to_pydict().values(), strict=True))

    made = init.run(home, source, items)
    reports = day.run(on, clock, config.load(home), lambda _step, _report: None)

    assert made.actions == raw.num_rows
    assert made.pins == pq.read_metadata(folder / "items.parquet").num_rows
    assert (made.user_id, made.pin_id) == ("string", "string")
    assert reports["stage"].rows == on_the_day(raw, on)
    assert reports["publish"].users == reports["validate"].measures["n_users"] > 100
    assert reports["index"].recall >= 0.95
    assert reports["release index"].moved
    user = busiest(raw, interests, on)
    for words in (["show", user], ["recommend", user]):
        monkeypatch.setattr(sys, "argv", ["pinnersage", *words, "--home", str(home), "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        facts = json.loads(capsys.readouterr().out)
        rows = facts["clusters" if words[0] == "show" else "candidates"]
        assert len(rows) > 1
        assert all(row["title"] == (titles[row["pin_id"]] or "") for row in rows)
    assert len(rows) <= 400
    assert len({row["pin_id"] for row in rows}) == len(rows)


def on_the_day(raw, on):
    """Distinct rows of a day: rows that are equal in every column are one event."""
    table = raw.filter(pc.equal(raw["ts"].cast("date32"), on))
    return table.group_by(["user_id", "item_id", "action_type", "ts"]).aggregate([]).num_rows


def busiest(raw, interests, on):
    """The user with the most interests in the month that ends with a day."""
    days = raw["ts"].cast("date32")
    month = pc.and_(pc.equal(pc.year(days), on.year), pc.equal(pc.month(days), on.month))
    kinds = pa.array(interests, raw["action_type"].type)
    keep = pc.and_(month, pc.is_in(raw["action_type"], value_set=kinds))
    keep = pc.and_(keep, pc.less_equal(days, on))
    return Counter(raw.filter(keep)["user_id"].to_pylist()).most_common(1)[0][0]
