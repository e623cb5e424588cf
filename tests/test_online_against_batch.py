"""Online against batch: both sides beside each other, what to look at first; see test_parity."""

from hypothesis import given
from hypothesis import strategies as st

from pinnersage import online_against_batch

rows = st.fixed_dictionaries(
    {
        "user_id": st.integers(0, 1000),
        "n_new": st.integers(1, 5),
        "stored_kept": st.booleans(),
        "identical": st.booleans(),
        "jaccard": st.sampled_from([0.0, 0.5, 1.0]),
        "cosine": st.sampled_from([0.8, 0.9, 1.0]),
    }
)


@given(st.lists(rows, unique_by=lambda row: row["user_id"]), st.randoms())
def test_first_stand_those_that_online_alone_made_differ_then_by_cosine(given_rows, chance):
    found = online_against_batch.worst_first(given_rows, 3)
    own = [r["n_new"] <= 3 and r["stored_kept"] and not r["identical"] for r in found]
    assert own == sorted(own, reverse=True)
    for part in (True, False):
        cosines = [r["cosine"] for r, is_own in zip(found, own, strict=True) if is_own == part]
        assert cosines == sorted(cosines)
    chance.shuffle(given_rows)
    assert online_against_batch.worst_first(given_rows, 3) == found, "a total order"


def test_a_medoid_of_one_side_alone_has_no_importance_on_the_other():
    row = {
        "user_id": 7, "n_actions": 9, "n_new": 2, "identical": True, "stored_kept": True,
        "jaccard": 1 / 3, "cosine": 0.9,
        "online_medoids": [10, 30], "online_importance": [2.0, 1.5],
        "batch_medoids": [20, 10], "batch_importance": [2.5, 1.0],
    }  # fmt: skip
    user = online_against_batch.user_of(row)
    assert user.user_id == "7"
    assert [(m.pin_id, m.online, m.batch) for m in user.medoids] == [
        ("20", None, 2.5),
        ("10", 2.0, 1.0),
        ("30", 1.5, None),
    ]
