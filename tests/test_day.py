"""A whole day without Airflow."""

from worlds import DAY

from pinnersage import day, retrieve


def quiet(step, report):
    """Progress that nobody watches."""


def test_a_day_ends_in_recommendations(settings):
    reports = day.run(DAY, settings, quiet)

    with retrieve.open_live(settings) as reader:
        assert len(reader.profiles) == reports["publish"].users
        user = next(iter(reader.profiles.items()))[0].decode()
        made = reader.recommend(user)
    assert made.candidates
    assert reports["index"].recall >= settings.index.min_recall


def test_second_run_changes_nothing(settings):
    day.run(DAY, settings, quiet)
    before = snapshot(settings.home)

    day.run(DAY, settings, quiet)

    assert snapshot(settings.home) == before


def snapshot(home):
    """Every file of lake, stores and releases with its bytes."""
    folders = ("lake", "releases", "stores")
    files = (path for folder in folders for path in (home / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(home)): path.read_bytes() for path in files}
