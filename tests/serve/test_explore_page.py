"""The page for people in a real browser: type a user, move alpha, read what SciPy says.

Screenshots are left in the folder that ``PINNERSAGE_SHOTS`` names, or in the test's own.
"""

import hashlib
import json
import os
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import open_browser, requested
from scipy.cluster.hierarchy import fcluster, linkage
from served import KEYS, NOW, bearer, running
from worlds import DAY, TINY, change, clock, items_of, source_of

from pinnersage import config, day, explore, init, retrieve
from pinnersage.extract import end_of
from pinnersage.model import cluster_actions
from pinnersage.serve import keys
from pinnersage.stores import open_lake
from pinnersage.synthetic import write

pytestmark = pytest.mark.service

SHOTS = os.environ.get("PINNERSAGE_SHOTS")  # read here: tests do not see such variables
WORLD = replace(TINY, n_users=40, n_pins=2_400, n_topics=24, dimensions=64)
ALPHA = 2.5
WIDE, PHONE = (1280, 1000), (390, 844)
WAIT = 20


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"), WIDE)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The service, in a process of its own, and the home that it reads."""
    with ExitStack() as opened:
        images = opened.enter_context(pictures())
        settings = two_days(tmp_path_factory.mktemp("explore"), images)
        variables = {
            "PINNERSAGE__MODEL__MERGE_THRESHOLD": str(ALPHA),
            "PINNERSAGE__ONLINE__KEEP_DAYS": "36500",  # its clock is a real one
        }
        service = opened.enter_context(running(settings, **variables))
        reader = opened.enter_context(retrieve.open_live(settings))
        yield Place(f"http://127.0.0.1:{service.port}", images, settings, reader)


@contextmanager
def pictures():
    """A server of drawings, one for each address under ``/image/``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path.startswith("/image/")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "image/svg+xml")
            self.end_headers()
            self.wfile.write(drawing(self.path.rpartition("/")[2]) if found else b"")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def drawing(name):
    """A drawing that belongs to a name."""
    a, b, c, *_ = hashlib.sha256(name.encode()).digest()
    sky, sun, x, y = a * 360 // 256, b * 360 // 256, 20 + c % 60, 20 + b % 50
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
        f'<rect width="100" height="100" fill="hsl({sky} 45% 62%)"/>'
        f'<circle cx="{x}" cy="{y}" r="30" fill="hsl({sun} 55% 48%)"/>'
        f'<path d="M0 100L{x} 45L100 100" fill="hsl({sky} 40% 38%)"/></svg>'
    ).encode()


class Place:
    """Where the page is, and what it ought to show."""

    def __init__(self, url, images, settings, reader):
        self.url, self.images, self.settings, self.reader = url, images, settings, reader
        found = [(len(reader.profile(key.decode())), key.decode()) for key, _ in
                 reader.profiles.items()]  # fmt: skip
        self.user = sorted(found)[-4][1]
        lake = open_lake(settings)
        self.actions = explore.read_actions(lake, reader, settings, self.user)
        self.points = np.asarray(reader.embeddings.matrix[self.actions.rows], dtype=float)
        self.history = linkage(self.points, "ward")

    def n_clusters(self, alpha):
        return len(set(fcluster(self.history, np.sqrt(alpha), "distance")))

    def clusters(self, alpha):
        return cluster_actions(
            self.reader.embeddings.matrix, self.actions.ages_days, self.actions.rows, alpha
        )

    def titles(self, positions):
        pins = self.reader.embeddings.pin_ids.take(pa.array(self.actions.rows[positions]))
        pins = pins.to_pylist()
        known = retrieve.titles(self.settings, self.reader.release, pins)
        return [known[pin] for pin in pins]


def two_days(world, images):
    """A home with a key, over two days of a world most of whose pins have an image."""
    write(WORLD, world)
    pins = pq.read_table(world / "pins.parquet")
    urls = [f"{images}/image/{pin}.svg" if pin % 7 else None for pin in pins["pin_id"].to_pylist()]
    at = pins.schema.get_field_index("image_url")
    pins = pins.set_column(at, "image_url", pa.array(urls, pa.string()))
    pq.write_table(pins, world / "pins.parquet")
    items = items_of(world).model_copy(update={"image_url": "image_url"})
    init.run(world / "home", source_of(world), items)
    settings = change(config.load(world / "home"), model={"merge_threshold": ALPHA})
    for back in (0, 1):
        day.run(DAY + timedelta(days=back), clock, settings, lambda _step, _report: None)
    keys.add("ann", "reader", KEYS["ann"], NOW, settings)
    keys.add("shop", "sender", KEYS["shop"], NOW, settings)
    return settings


@pytest.fixture(scope="module")
def inside(browser, place):
    """The browser after its person has typed a key."""
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{place.url}/login")
    tab_to(browser, "key")
    press(browser, *KEYS["ann"], Keys.ENTER)
    wait_for(browser, "the page", "return document.querySelector('#ask') !== null")
    return browser


@pytest.fixture
def page(inside, place):
    """The page as it is when nobody has typed a user, wide and light."""
    resize(inside, WIDE)
    prefer(inside, "light")
    inside.get(f"{place.url}/")
    inside.get_log("performance")
    inside.get_log("browser")
    return inside


def resize(browser, size):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500},
    )


def prefer(browser, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def wait_for(browser, what, script):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, WAIT, 0.05).until(lambda b: b.execute_script(script), what)


def by_id(browser, name):
    return browser.find_element("id", name)


def press(browser, *keys):
    """Press keys wherever the focus is."""
    from selenium.webdriver import ActionChains

    chain = ActionChains(browser, duration=0)
    for key in keys:
        chain.send_keys(key)
    chain.perform()


def focused(browser):
    return browser.execute_script("return document.activeElement.id")


def tab_to(browser, name):
    from selenium.webdriver.common.keys import Keys

    for _ in range(30):
        if focused(browser) == name:
            return
        press(browser, Keys.TAB)
    raise AssertionError(f"the tab key does not reach {name}")


def look_at(browser, user):
    """Type a user by keyboard alone, and wait for an answer or an error."""
    from selenium.webdriver.common.keys import Keys

    tab_to(browser, "user")
    press(browser, *user, Keys.ENTER)
    wait_for(
        browser, "an answer",
        "return !document.querySelector('main.stale') && (!document.querySelector('#result').hidden"
        " || document.querySelector('#status.error') !== null)",
    )  # fmt: skip


def alpha(browser):
    return float(by_id(browser, "alpha").get_attribute("aria-valuenow"))


def strips(browser):
    return browser.find_elements("css selector", "#strips > li")


def show_all(browser):
    more = by_id(browser, "more")
    if more.is_displayed():
        more.click()


def agrees_with_scipy(browser, place):
    """The page's clusters are as many as SciPy's, and have our medoids and importance."""
    found = place.clusters(alpha(browser))
    n = place.n_clusters(alpha(browser))
    assert len(strips(browser)) == n == len(found.medoids)
    assert by_id(browser, "clusters-title").text == f"{n} cluster{'' if n == 1 else 's'}"
    assert (
        by_id(browser, "alpha")
        .get_attribute("aria-valuetext")
        .endswith(f"{n} cluster{'' if n == 1 else 's'}")
    )
    shown = [strip.find_element("tag name", "h3").text for strip in strips(browser)]
    assert shown == place.titles(found.medoids)
    facts = strips(browser)[0].find_element("class name", "facts").text
    assert f"importance {float(f'{found.importance[0]:.3g}'):g} " in facts
    assert f"{found.n_actions[0]} action" in facts


def shoot(browser, tmp_path, name):
    folder = Path(SHOTS or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    wait_for(
        browser, "images",
        "return [...document.images].every(i => { const at = i.getBoundingClientRect();"
        " return i.complete || at.top > innerHeight || at.bottom < 0 || at.left > innerWidth })",
    )  # fmt: skip
    browser.save_screenshot(str(folder / name))
    assert (folder / name).stat().st_size > 10_000


# --- what it shows -------------------------------------------------------------------------------


def test_a_user_typed_is_shown_with_what_was_published(page, place, tmp_path):
    look_at(page, place.user)

    show_all(page)
    agrees_with_scipy(page, place)
    assert alpha(page) == ALPHA
    assert by_id(page, "name").text == f"User {place.user}"
    assert "As published" in by_id(page, "clusters-lead").text
    medoids = page.find_elements("css selector", "#strips .pin.medoid")
    assert len(medoids) == len(strips(page))
    assert all(m.value_of_css_property("outline-style") == "solid" for m in medoids)
    shoot(page, tmp_path, "explore-1280.png")


def test_recommendations_say_why(page, place):
    look_at(page, place.user)
    made = place.reader.recommend(place.user, draw=0)
    pins = [*made.medoids, *(c.pin_id for c in made.candidates)]
    known = retrieve.titles(place.settings, place.reader.release, pins)

    rows = page.find_elements("css selector", "#rows > li")

    assert [row.find_element("tag name", "h3").text for row in rows] == [
        f"Because of “{known[pin]}”" for pin in made.medoids
    ]
    assert "nearest to this medoid of cluster" in rows[0].text
    assert "remembered from an earlier search" in rows[0].text, "we have just asked"
    first = next(c for c in made.candidates if c.medoid == made.medoids[0])
    cards = rows[0].find_elements("class name", "pin")
    assert known[first.pin_id] in cards[1].get_attribute("textContent")
    assert f"cosine {first.cosine:.3f}" in cards[1].get_attribute("textContent")


def test_another_draw_asks_others_and_the_address_remembers(page, place):
    change_answers(page, "body.recommendations.allocation = 'equal'")
    look_at(page, place.user)

    by_id(page, "another").click()
    wait_for(
        page, "draw 1", "return document.querySelector('#rows-lead').textContent.includes('draw 1')"
    )

    assert page.current_url.endswith(f"/?user={place.user}&draw=1")
    page.back()
    wait_for(
        page, "draw 0", "return document.querySelector('#rows-lead').textContent.includes('draw 0')"
    )
    assert page.current_url.endswith(f"/?user={place.user}&draw=0")


@pytest.mark.parametrize(
    ("allocation", "words"),
    [
        ("proportional", "asked, each for a share in proportion to its importance;"),
        ("round_robin", "asked in turns, the most important first;"),
    ],
)
def test_where_all_medoids_are_asked_no_other_draw_is_offered(page, place, allocation, words):
    change_answers(page, f"body.recommendations.allocation = '{allocation}'")
    look_at(page, place.user)

    assert words in by_id(page, "rows-lead").text
    assert "draw" not in by_id(page, "rows-lead").text
    assert not by_id(page, "another").is_displayed()


def test_today_is_compared_with_yesterday(page, place):
    look_at(page, place.user)
    seen = explore.user(place.reader, place.settings, place.user)
    now, then = seen["clusters"], seen["yesterday"]["clusters"]
    before = [[row for row in then if row["now"] == rank] for rank in range(len(now))]
    n_before = [sum(row["n_actions"] for row in rows) for rows in before]

    tags = [tag.get_attribute("textContent") for tag in page.find_elements("css selector", ".tag")]

    pairs = list(zip(now, before, n_before, strict=True))
    assert tags.count("new") == sum(not rows for _, rows, _ in pairs)
    assert tags.count("gone") == sum(row["now"] is None for row in then)
    assert tags.count("grown") == sum(bool(r) and c["n_actions"] > n for c, r, n in pairs)
    assert tags.count("shrunk") == sum(bool(r) and c["n_actions"] < n for c, r, n in pairs)
    assert len(set(tags)) > 1
    assert f"{DAY + timedelta(days=1)} against {DAY}" in by_id(page, "days-lead").text


# --- as of now ------------------------------------------------------------------------------------

LATER = end_of(DAY + timedelta(days=1)) + timedelta(hours=5)
NOBODY = "4711"
"""A user whom the release does not know."""


def act(place, user, *pins):
    """Post actions on some pins, a quarter of an hour apart."""
    times = [LATER + i * timedelta(minutes=15) for i in range(len(pins))]
    given = [
        {"user_id": user, "pin_id": pin, "action": "repin", "acted_at": at.isoformat()}
        for pin, at in zip(pins, times, strict=True)
    ]
    data = json.dumps({"events": given}).encode()
    headers = bearer("shop") | {"Content-Type": "application/json"}
    with urlopen(Request(f"{place.url}/v1/events", data, headers)) as answer:  # noqa: S310
        assert json.load(answer)["verdicts"] == {"kept": len(pins)}


@pytest.fixture(scope="module")
def active(place):
    """A user who has acted since: on two pins near a medoid of hers, and on three elsewhere."""
    users = sorted(key.decode() for key, _ in place.reader.profiles.items())
    user = next(one for one in users if one != place.user)
    medoids = [pin.item() for pin in place.reader.profile(user).pin_ids]
    near = [c.pin_id for c in place.reader.similar(medoids[2])[:2]]
    away = max(
        (c for pin in place.reader.popular() for c in place.reader.similar(pin)[:1]),
        key=lambda c: min(distances(place, c.pin_id, medoids)),
    )
    act(place, user, medoids[1], near[0], away.medoid, away.pin_id, near[1])
    act(place, NOBODY, away.medoid, medoids[0])
    return user


def distances(place, pin, others):
    vectors = place.reader.embeddings.matrix[place.reader.embeddings.rows_of([pin, *others])]
    return np.linalg.norm(np.asarray(vectors[1:], float) - np.asarray(vectors[0], float), axis=1)


def test_what_she_did_since_stands_beside_what_was_published(page, place, active, tmp_path):
    look_at(page, active)

    told = explore.user(
        place.reader, place.settings, active, now=LATER + timedelta(hours=12)
    )["since"]  # fmt: skip
    known = place.reader.current(active, LATER + timedelta(hours=12))
    titles = retrieve.titles(
        place.settings, place.reader.release,
        [*known.profile.pin_ids.tolist(), *(int(action.pin) for action in known.actions)],
    )  # fmt: skip
    words = {"online": "new", "both": "grown"}
    expected = [
        f"{titles[int(c['pin_id'])]} {words[c['from']]}"
        for c in told["clusters"] if c["from"] != "batch"
    ]  # fmt: skip
    shown = [
        " ".join(strip.find_element("tag name", "h3").text.split())
        for strip in page.find_elements("css selector", "#changed > li")
    ]
    assert shown == expected
    assert {text.split()[-1] for text in shown} == {"new", "grown"}
    lead = by_id(page, "now-lead").text
    assert lead.startswith("5 actions since the end of the release's day, 2026-04-07 00:00 (UTC)")
    did = [row.text for row in page.find_elements("css selector", "#did > li")]
    assert len(did) == 5
    assert did[0].startswith("2026-04-07 06:00")
    for row, action in zip(did, told["actions"], strict=True):
        assert titles[int(action["pin_id"])] in row
        assert f"→ cluster {action['cluster'] + 1}, " in row
    batch = sum(c["from"] == "batch" for c in told["clusters"])
    assert f"{batch} clusters as before" in by_id(page, "as-before").text
    rows = " ".join(row.text for row in page.find_elements("css selector", "#rows > li"))
    assert "new since the release" in rows
    for scheme in ("light", "dark"):
        prefer(page, scheme)
        for width in (1200, 400):
            resize(page, (width, 1000))
            page.execute_script("document.querySelector('#now').scrollIntoView()")
            shoot(page, tmp_path, f"explore-now-{width}-{scheme}.png")
            page.execute_script("document.querySelector('#did').scrollIntoView()")
            shoot(page, tmp_path, f"explore-did-{width}-{scheme}.png")
            assert by_id(page, "did").size["height"] < 700, "a line or a few for each"
            assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_user_whom_the_release_does_not_know_is_shown_by_what_she_did(page, active, tmp_path):
    assert active != NOBODY
    look_at(page, NOBODY)

    assert "all that is known was done since" in by_id(page, "facts").text
    tags = [tag.text for tag in page.find_elements("css selector", "#changed .tag")]
    assert set(tags) == {"new"}
    assert not by_id(page, "released").is_displayed()
    assert not by_id(page, "compared").is_displayed()
    assert page.find_elements("css selector", "#rows > li .pin")
    shoot(page, tmp_path, "explore-nobody.png")


def test_a_user_who_did_nothing_since_is_told_that_nothing_has_changed(page, place):
    look_at(page, place.user)
    assert "what is served is what was published" in by_id(page, "now-lead").text
    assert not page.find_elements("css selector", "#changed > li, #did > li")
    assert not by_id(page, "as-before").is_displayed()


def test_states_that_are_away_are_no_day_without_actions(page, place):
    change_answers(page, "body.since.answered = false")
    look_at(page, place.user)
    assert "cannot be told: the online states do not answer" in by_id(page, "now-lead").text


# --- the alpha line ------------------------------------------------------------------------------


def test_keys_move_alpha_and_the_strips_are_scipys(page, place, tmp_path):
    from selenium.webdriver.common.keys import Keys

    look_at(page, place.user)
    tab_to(page, "alpha")
    show_all(page)
    tab_to(page, "alpha")
    outline = page.find_element("id", "alpha-text").value_of_css_property("outline-style")
    assert outline == "solid", "the focus is seen"

    counts = []
    for pressed, direction in (
        ([Keys.ARROW_UP] * 5, 1), ([Keys.ARROW_RIGHT], 1), ([Keys.PAGE_UP], 1),
        ([Keys.ARROW_DOWN] * 3, -1), ([Keys.ARROW_LEFT], -1), ([Keys.PAGE_DOWN] * 2, -1),
    ):  # fmt: skip
        at = alpha(page)
        press(page, *pressed)
        assert (alpha(page) - at) * direction > 0
        agrees_with_scipy(page, place)
        counts.append(len(strips(page)))
    assert len(set(counts)) >= 3, "alpha was moved far enough to regroup"
    assert "not published" in by_id(page, "clusters-lead").text
    shoot(page, tmp_path, "explore-alpha-moved.png")

    press(page, Keys.END)
    agrees_with_scipy(page, place)
    assert len(strips(page)) == 1
    press(page, Keys.HOME)
    assert alpha(page) == 0
    show_all(page)
    agrees_with_scipy(page, place)
    tab_to(page, "alpha")
    by_id(page, "reset").send_keys(Keys.ENTER)
    assert alpha(page) == ALPHA
    assert focused(page) == "alpha"


def test_dragging_the_line_regroups(page, place):
    from selenium.webdriver import ActionChains

    look_at(page, place.user)
    show_all(page)
    pill = page.find_element("id", "alpha-text")

    ActionChains(page, duration=50).click_and_hold(pill).move_by_offset(0, -60).perform()
    agrees_with_scipy(page, place)
    held = alpha(page)
    ActionChains(page, duration=50).move_by_offset(0, 90).release().perform()

    assert held > ALPHA > alpha(page)
    agrees_with_scipy(page, place)
    assert page.get_log("browser") == []


# --- what it does not show -----------------------------------------------------------------------


def answer_with(browser, body):
    """Let the page be told this, whatever it asks."""
    browser.execute_script(
        "const body = arguments[0]; window.fetch = async () => new Response(JSON.stringify(body));",
        body,
    )


def test_a_heavy_user_is_shown_from_where_her_leaves_begin(page, place, monkeypatch):
    monkeypatch.setattr(explore, "MOST_LEAVES", 4)
    body = explore.user(place.reader, place.settings, place.user)
    least = body["tree"]["leaf_height"]
    assert least > ALPHA, "also the published clusters are too many to draw"
    answer_with(page, body)
    look_at(page, place.user)

    assert alpha(page) == least
    agrees_with_scipy(page, place)
    note = by_id(page, "tree-note").text
    assert f"those that merge below α = {least:g} are drawn as one" in note  # noqa: RUF001
    assert f"The published α is {ALPHA:g}" in note  # noqa: RUF001
    assert "alike" in by_id(page, "strips").text


def test_what_is_taken_down_is_counted_and_not_shown(page, place, monkeypatch):
    published = place.clusters(ALPHA)
    title, *_ = titles = place.titles(published.medoids)
    medoid = place.reader.profile(place.user).pin_ids[0]
    monkeypatch.setattr(place.reader.watch, "pins", lambda: frozenset({str(medoid)}))
    answer_with(page, explore.user(place.reader, place.settings, place.user))
    look_at(page, place.user)

    shown = [strip.find_element("tag name", "h3").text for strip in strips(page)]
    assert shown == titles[1:]
    assert "1 cluster is not shown" in by_id(page, "clusters-lead").text
    assert title not in page.find_element("tag name", "main").get_attribute("textContent")
    assert not by_id(page, "warning").is_displayed()


def test_a_warning_says_that_something_else_is_served(page, place):
    settings = change(place.settings, model={"merge_threshold": 40.0})
    answer_with(page, explore.user(place.reader, settings, place.user))
    look_at(page, place.user)

    assert "not what is served" in by_id(page, "warning").text


# --- where it is looked at -----------------------------------------------------------------------


def test_it_asks_nobody_but_its_own_service(page, place):
    look_at(page, place.user)
    press(page, *"x")

    asked = requested(page)

    assert any("/v1/explore" in url for url in asked)
    assert [url for url in asked if not url.startswith((place.url, place.images, "data:"))] == []
    assert page.get_log("browser") == [], "nothing was refused by the policy"


@pytest.mark.parametrize("width", [390, 320])
def test_it_fits_a_phone(page, place, tmp_path, width):
    resize(page, (width, PHONE[1]))
    look_at(page, place.user)
    show_all(page)

    shoot(page, tmp_path, f"explore-{width}.png")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    overflowing = page.execute_script(
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.strip, svg') &&"
        f" e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert all('class="plain strip"' in element for element in overflowing)
    strip = page.execute_script(
        "return [...document.querySelectorAll('.strip')].some(s => s.scrollWidth > s.clientWidth)"
    )
    assert strip, "a strip scrolls by itself"
    page.execute_script("document.querySelector('#rows-title').scrollIntoView()")
    shoot(page, tmp_path, f"explore-{width}-recommendations.png")
    small = page.execute_script(
        "return [...document.querySelectorAll('#ask input, #ask button, .alpha')]"
        ".map(e => e.getBoundingClientRect().height)"
    )
    assert min(small) >= 44, "a finger can touch it"


def test_a_finger_drags_the_line_and_scrolls_beside_it(page, place):
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    resize(page, PHONE)
    look_at(page, place.user)
    show_all(page)
    pill = by_id(page, "alpha-text")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", pill)
    at = pill.rect
    left, top = (page.execute_script(f"return {name}") for name in ("scrollX", "scrollY"))
    x, y = int(at["x"] + at["width"] / 2 - left), int(at["y"] + at["height"] / 2 - top)

    def drag(x, y):
        finger = ActionBuilder(page, mouse=PointerInput("touch", "finger"), duration=100)
        action = finger.pointer_action
        action.move_to_location(x, y).pointer_down().move_to_location(x, y - 50).pointer_up()
        finger.perform()

    drag(x, y)
    assert alpha(page) > ALPHA
    agrees_with_scipy(page, place)
    held = alpha(page)

    drag(120, y - 10)
    assert alpha(page) == held, "what is beside the line scrolls"
    assert by_id(page, "alpha").value_of_css_property("touch-action") == "none"
    assert by_id(page, "chart").value_of_css_property("touch-action") == "pan-y"


def test_it_is_dark_where_that_is_preferred(page, place, tmp_path):
    def shade():
        colour = page.find_element("tag name", "body").value_of_css_property("background-color")
        return sum(int(part) for part in colour.split("(")[1].rstrip(")").split(",")[:3])

    look_at(page, place.user)
    light = shade()
    prefer(page, "dark")

    assert shade() < 150
    assert light > 600
    resize(page, PHONE)
    shoot(page, tmp_path, "explore-dark.png")


def change_answers(browser, script):
    """Let a line of JavaScript change what the service answers, ``body``, before it is read."""
    browser.execute_script(
        "const real = window.fetch; window.fetch = async (...asked) => {"
        "  const answer = await real(...asked); const body = await answer.json();"
        f"  {script}; return new Response(JSON.stringify(body)); }};"
    )


def test_an_image_that_fails_leaves_the_title(page, place):
    gone = f"{place.images}/gone.jpg"
    change_answers(page, f"for (const p of Object.values(body.pins)) p.image_url = '{gone}'")
    look_at(page, place.user)
    page.execute_script("document.querySelector('#strips').scrollIntoView()")

    first = "document.querySelector('#strips .pin.medoid')"
    wait_for(page, "the title", f"return !{first}.querySelector('img')")

    medoid = page.find_element("css selector", "#strips .pin.medoid")
    assert place.titles(place.clusters(ALPHA).medoids[:1])[0] in medoid.text


# --- what goes wrong -----------------------------------------------------------------------------


def test_without_a_key_it_leads_to_the_login(page, place):
    cookies = page.get_cookies()
    page.delete_all_cookies()
    try:
        look_at(page, place.user)

        assert by_id(page, "status").text == "Log in to look at users."
        link = by_id(page, "status").find_element("tag name", "a")
        assert link.get_attribute("href") == f"{place.url}/login"
        assert not by_id(page, "result").is_displayed()
    finally:
        for cookie in cookies:
            page.add_cookie(cookie)


def test_logging_out_forgets_the_key(page):
    from selenium.webdriver.common.keys import Keys

    cookies = page.get_cookies()
    assert [cookie["httpOnly"] for cookie in cookies] == [True]
    try:
        out = page.find_element("css selector", "form[action='/logout'] button")
        out.send_keys(Keys.ENTER)
        wait_for(page, "the login", "return location.pathname === '/login'")
        assert page.get_cookies() == []
    finally:
        for cookie in cookies:
            page.add_cookie(cookie)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, '{"error": "Too much at once."}', "Too much at once."),
        (503, "no json", "The service is busy. Try again in a moment."),
        (500, '{"error": ["not text"]}', "The service answered 500."),
        (422, '{"error": "draw: too small"}', "The service answered 422. draw: too small"),
    ],
)
def test_an_error_is_told_in_words(page, place, status, body, words):
    look_at(page, place.user)
    page.get(f"{place.url}/")
    page.execute_script(f"window.fetch = async () => new Response('{body}', {{status: {status}}})")
    look_at(page, "x")

    assert by_id(page, "status").text == words
    assert not by_id(page, "result").is_displayed()


def test_a_user_who_is_not_there_is_said_to_be_unknown(page):
    look_at(page, "nobody")

    assert by_id(page, "status").text == "User nobody has no clusters in this release."


def test_a_service_that_is_gone_is_told_in_words(page, place):
    page.execute_cdp_cmd("Network.enable", {})
    conditions = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **conditions})
    try:
        look_at(page, place.user)
        assert "cannot be reached" in by_id(page, "status").text
    finally:
        page.execute_cdp_cmd(
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
        )


def test_what_is_written_on_a_pin_stays_text(page, place):
    bad = "<img src=x onerror=\"document.title='owned'\"><b>bold"
    change_answers(
        page,
        "const bad = `" + bad + "`; body.user_id = bad; for (const p of Object.values(body.pins))"
        " { p.title = bad; p.image_url = `javascript:document.title='owned'`; }",
    )
    look_at(page, place.user)

    assert page.find_element("css selector", "#strips h3").text == bad
    assert by_id(page, "name").text == f"User {bad}"
    assert page.find_elements("css selector", "main img") == []
    assert page.title != "owned"
