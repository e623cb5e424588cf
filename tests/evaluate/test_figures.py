"""Figures: each shows the numbers of the report, beside the paper's."""

import made_up
import pytest
from drawn import of, parsed, places, said

from pinnersage.evaluate import figures, words
from pinnersage.evaluate.results import Estimate, Timeline


def titles(root, kind="point"):
    return [dot.find("title").text for dot in of(root, "circle", kind)]


def test_lifts_stand_beside_those_of_the_paper():
    table = made_up.retrieval()
    found = figures.beside_the_paper(table)
    assert list(found) == ["relevance, all", "recall, all"]
    for measure, figure in found.items():
        root = parsed(figure)
        rows = [r for r in table.rows if (measure in r.paper or r.chosen) and r.model != "Last pin"]
        assert len(places(root)) == len(rows) == 11
        diamonds = of(root, "polygon", "other")
        assert len(diamonds) == sum(measure in row.paper for row in rows) == 10
        expected = [words.lift(row.lifts[measure]) for row in rows]
        assert [text for text in said(root) if "[" in text] == expected


def test_the_chosen_row_is_named_with_its_policy():
    root = parsed(figures.beside_the_paper(made_up.retrieval())["recall, all"])
    assert titles(root)[-1].startswith("PinnerSage (all, proportional shares): +")
    assert titles(root)[-2].startswith("PinnerSage: +")


def test_a_table_that_the_paper_does_not_have_has_no_figure():
    table = made_up.accuracy()
    rows = [row.model_copy(update={"paper": {}}) for row in table.rows]
    assert figures.beside_the_paper(table.model_copy(update={"rows": rows})) == {}


def test_figure_7_has_a_labelled_point_for_each_number_of_embeddings():
    report = made_up.report()
    root = parsed(figures.figure_7(report))
    found = places(root)
    assert [title.split(":")[0] for title in titles(root)] == [f"e = {e}" for e in range(1, 11)]
    assert found == sorted(found, key=lambda place: place[0])
    assert [y for _, y in found] == sorted((y for _, y in found), reverse=True)
    (line,) = of(root, "line", "mark")
    assert found[2][0] < float(line.get("x1")) < found[3][0]
    assert figures.figure_7(made_up.report(curve=None)) == ""


def test_figure_7_without_lifts_says_so():
    curve = made_up.curve()
    none = Estimate(value=None)
    points = [p.model_copy(update={"relevance_lift": none}) for p in curve.points]
    root = parsed(
        figures.figure_7(made_up.report(curve=curve.model_copy(update={"points": points})))
    )
    assert said(root) == ["nothing to show"]


def test_figure_3_has_a_dot_for_each_action_and_names_nobody():
    report = made_up.report()
    found = [parsed(figure) for figure in figures.figure_3(report)]
    assert [len(places(root)) for root in found] == [60, 25, 140]
    near = sum(cosine >= 0.8 for cosine in report.timelines[0].cosines)
    assert f"{near} of them at or above" in found[0].find("desc").text
    assert found[0].find("title").text == "Figure 3: user 1 of 3"


def test_the_threshold_of_figure_3_parts_near_from_far():
    line = Timeline(ages_days=[1.0, 2.0, 3.0], cosines=[0.9, 0.8, 0.1])
    (figure,) = figures.figure_3(made_up.report(timelines=[line]))
    root = parsed(figure)
    (mark,) = of(root, "line", "mark")
    near, at, far = (y for _, y in places(root))
    assert near < float(mark.get("y1")) == at < far
    assert root.find("desc").text.startswith("3 actions; 2 of them")


def test_clusters_at_each_threshold_stand_beside_the_papers_ranges():
    root = parsed(figures.clusters(made_up.report()))
    assert len(of(root, "rect", "band")) == 2
    assert len(places(root, "dot")) == 24
    assert {"all users", "light users", "heavy users", "chosen 0.75", "by rule 1.1"} <= set(
        said(root)
    )


@pytest.mark.parametrize("draw", [figures.clusters, figures.sweep_values])
def test_groups_without_users_are_left_out_and_0_has_its_place(draw):
    sweep = made_up.sweep()
    first = sweep[0].model_copy(
        update={
            "merge_threshold": 0.0,
            "clusters": {"all": 30.0, "light": None, "heavy": None},
            "values": {"relevance, new": 0.1, "recall, new": None},
        }
    )
    root = parsed(draw(made_up.report(sweep=[first, *sweep[1:]])))
    alone = {figures.clusters: 22, figures.sweep_values: 15}[draw]
    assert len(places(root, "dot")) == alone


def test_lifts_by_activity_have_a_row_for_each_group():
    found = figures.by_activity(made_up.report())
    assert list(found) == ["relevance, new", "recall, new"]
    for figure in found.values():
        root = parsed(figure)
        assert len(places(root)) == 4
        assert said(root)[0] == "1 to 12 actions, 451 users"


def test_a_network_that_learns_has_lines_that_fall():
    (one, _) = made_up.training()
    root = parsed(figures.training(one))
    dots = places(root, "dot")
    held_out = sum(loss is not None for loss in one.held_out)
    assert len(dots) == len(one.losses) + held_out
    losses = [y for _, y in dots[: len(one.losses)]]
    assert losses == sorted(losses)
    assert "from 0.800 to 0.303" in root.find("desc").text
    nothing = one.model_copy(update={"steps": [], "losses": [], "held_out": []})
    assert said(parsed(figures.training(nothing))) == ["nothing to show"]
