"""Refusals: what is not answered, with which status, and that nothing is given away."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from served import KEYS, NOW, bearer

from pinnersage.errors import ConfigError
from pinnersage.serve import gate, keys, metrics, orders, routes
from pinnersage.serve.app import make_app
from pinnersage.stores import open_keyvalue

QUESTIONS = [
    ("GET", "/v1/recommendations?user=1"),
    ("POST", "/v1/recommendations"),
    ("GET", "/v1/medoids?user=1"),
    ("POST", "/v1/features"),
    ("GET", "/v1/similar?pin=1"),
    ("GET", "/metrics"),
]
SENDS = [("POST", "/v1/events")]
ORDERS = [("POST", "/v1/block"), ("POST", "/v1/unblock"), ("POST", "/v1/erase")]


def test_every_route_is_in_one_of_the_lists(app):
    known = {(m, path.split("?")[0]) for m, path in QUESTIONS + SENDS + ORDERS}
    open_to_all = {("GET", "/health"), ("GET", "/ready")}
    described = {
        (method.upper(), path) for path, at in app.openapi()["paths"].items() for method in at
    }
    assert described == known | open_to_all


@pytest.mark.parametrize(("method", "path"), QUESTIONS + SENDS + ORDERS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {KEYS['boss']}"},
        {"Authorization": KEYS["boss"]},
        {"Cookie": "pinnersage_key=wrong"},
    ],
)
def test_without_a_key_nothing_is_answered(app, method, path, headers):
    with TestClient(app) as client:
        for body in (b"", b"{", b"[" * 100_000, b'{"users": [1], "pin": 1, "reason": "x"}'):
            answer = client.request(method, path, content=body, headers=headers)
            assert answer.status_code == 401, body
            assert answer.headers["www-authenticate"] == "Bearer"
            assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(("method", "path"), ORDERS)
def test_a_key_that_may_ask_may_not_order_nor_may_a_browser(client, home, method, path):
    about = "user" if path == "/v1/erase" else "pin"
    order = {about: 1, "reason": "x"}
    assert client.request(method, path, json=order).status_code == 403
    cookie = {"Cookie": f"pinnersage_key={KEYS['boss']}", "Authorization": ""}
    assert client.request(method, path, json=order, headers=cookie).status_code == 401
    assert not (home.home / "takedown").exists()


def test_a_removed_key_opens_nothing_within_seconds(app, home):
    seconds = [1e9]
    app.state.doorkeeper._record._clock = lambda: seconds[0]
    with TestClient(app, headers=bearer("ann")) as client:
        assert client.get("/metrics").status_code == 200
        keys.remove("ann", home)
        seconds[0] += 5
        assert client.get("/metrics").status_code == 401


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({}, "user: Field required"),
        ({"user": ""}, "user: String should have at least 1 character"),
        ({"user": "x" * 600}, "user: String should have at most 511 characters"),
        ({"user": "é" * 400}, "800 bytes as UTF-8"),
        ({"user": "1", "draw": "-1"}, "draw: Input should be greater than or equal to 0"),
        ({"user": "1", "draw": "x"}, "draw: Input should be a valid integer"),
        ({"user": "1", "min_cosine": "nan"}, "min_cosine"),
        ({"user": "1", "min_cosine": "2"}, "min_cosine: Input should be less than or equal to 1"),
        ({"user": "1", "allocation": "all"}, "allocation: Input should be 'equal'"),
        ({"user": "1", "exclude": ["1"] * 101}, "exclude: List should have at most 100 items"),
        ({"user": "1", "min_cosin": "1"}, "min_cosin: Extra inputs are not permitted"),
    ],
)
def test_a_question_that_breaks_a_rule_is_told_which(client, query, says):
    answer = client.get("/v1/recommendations", params=query)
    assert answer.status_code == 422
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 422, "Field required"),
        (b"{", 422, "JSON decode error"),
        (b"\xff\xfe", 422, "the body at 0: JSON decode error"),
        (b"[]", 422, "Input should be a valid dictionary"),
        (b'{"users": []}', 422, "users: List should have at least 1 item"),
        (b'{"users": [null]}', 422, "users.0"),
        (b'{"users": ["\\ud800"]}', 422, "users.0"),
        (b'{"users": [1e99]}', 422, "users.0"),
        (b'{"users": [true]}', 422, "users.0"),
        (b'{"users": [' + b"9" * 101 + b"]}", 422, "more than 100 digits"),
        (b'{"users": [1], "draw": 1.5}', 422, "draw"),
        (b'{"users": ' + json.dumps(list(range(101))).encode() + b"}", 422, "limit 100"),
        (b'{"users": [' + b"9" * 5000 + b"]}", 400, "error parsing the body"),
        (b'{"users": ' + b"[" * 100_000, 400, "error parsing the body"),
    ],
)
def test_a_body_that_breaks_a_rule_is_told_which(client, body, status, says):
    answer = client.post(
        "/v1/recommendations", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize("known_length", [True, False])
def test_a_body_that_is_too_large_is_413(client, known_length):
    body = b'{"users": ["' + b"x" * 2_000_000 + b'"]}'
    parts = body if known_length else iter([body[:1_000_000], body[1_000_000:]])
    answer = client.post(
        "/v1/recommendations", content=parts, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert "larger than 1,048,576 bytes" in answer.json()["error"]


def test_a_query_that_is_too_long_is_414(client):
    answer = client.get(f"/v1/recommendations?user={'x' * gate.MAX_QUERY_BYTES}")
    assert answer.status_code == 414


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/docs",
        "/redoc",
        "/v1/medoids/../../../etc/passwd",
        "/..%2f..%2fpinnersage.toml",
        "/%2e%2e/service/keys.json",
        "/static/../service/keys.json",
        "/v1/similar%00?pin=1",
        "//v1/medoids?user=1",
        "/v1/medoids;x?user=1",
    ],
)
def test_a_path_that_is_no_route_is_404(client, path):
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code in (404, 307), path
    assert "root:" not in answer.text
    assert "sha256" not in answer.text


def test_another_method_is_405_and_says_which_are_allowed(client):
    answer = client.delete("/v1/medoids")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_more_than_the_limit_at_once_is_503_but_probes_answer(home):
    settings = home.model_copy(
        update={"service": home.service.model_copy(update={"max_requests": 1})}
    )
    app = make_app(settings, lambda: NOW)
    with TestClient(app, headers=bearer("ann")) as client:
        inside = {}

        def while_one_is_under_way(_request):
            inside["second"] = client.get("/v1/medoids?user=1")
            inside["health"] = client.get("/health").status_code

        app.state.doorkeeper = Meanwhile(app.state.doorkeeper, while_one_is_under_way)
        first = client.get("/v1/recommendations?user=1")
    assert first.status_code == 200
    assert inside["second"].status_code == 503
    assert inside["second"].headers["retry-after"] == "1"
    assert inside["health"] == 200


class Meanwhile:
    """A doorkeeper in front of whom something happens, once."""

    def __init__(self, doorkeeper, happens):
        self.doorkeeper, self.happens = doorkeeper, happens

    def key_of(self, text):
        happens, self.happens = self.happens, None
        if happens:
            happens(text)
        return self.doorkeeper.key_of(text)


def test_what_is_damaged_here_is_503_and_its_path_is_for_the_log_alone(client, home, caplog):
    record = home.home / "service" / keys.RECORD
    client.app.state.doorkeeper._record._clock = lambda: 1e12
    record.write_bytes(b"{}")

    answer = client.get("/v1/medoids?user=1")

    assert answer.status_code == 503
    assert str(home.home) not in answer.text
    assert "damaged" in caplog.text


def test_a_damaged_value_is_no_answer_and_no_leak(client, home, monkeypatch, users):
    (version,) = open_keyvalue(home).versions()
    reader = type(open_keyvalue(home).open(version))
    monkeypatch.setattr(reader, "get", lambda _self, _key: b"no profile at all")

    answer = client.get("/v1/recommendations", params={"user": users[0]})

    assert answer.status_code == 503
    assert "no profile" not in answer.text


def test_every_answer_forbids_being_kept_guessed_at_or_framed(client):
    for path in ("/health", "/v1/medoids?user=1", "/v1/medoids", "/nothing", "/login"):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_no_route_gives_away_where_files_are(client, home):
    for path in ("/ready", "/openapi.json", "/metrics", "/login"):
        text = client.get(path).text
        assert str(home.home) not in text
        assert str(Path.home()) not in text


def test_a_mistake_of_ours_is_500_counted_and_carries_our_headers(client, monkeypatch, caplog):
    monkeypatch.setattr(routes, "stamp", lambda _reader: 1 / 0)
    counted = metrics.REQUESTS.labels("/v1/recommendations", 500)
    before = counted._value.get()

    answer = client.get("/v1/recommendations?user=1")

    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert answer.headers["cache-control"] == "no-store"
    assert counted._value.get() == before + 1
    assert "ZeroDivisionError" in caplog.text


def test_a_body_that_does_not_come_is_408_and_gives_its_place_back(home, monkeypatch):
    monkeypatch.setattr(gate, "SECONDS", 0.3)
    settings = home.model_copy(
        update={"service": home.service.model_copy(update={"max_requests": 1})}
    )
    with (
        served_here(make_app(settings, lambda: NOW)) as port,
        socket.create_connection(("127.0.0.1", port), 30) as slow,
    ):
        head = "POST /v1/features HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
        slow.sendall(f"{head}Authorization: {bearer('ann')['Authorization']}\r\n\r\n".encode())
        assert b" 408 " in slow.recv(4096)
        with socket.create_connection(("127.0.0.1", port), 30) as stranger:
            stranger.sendall(f"{head}\r\n".encode())
            assert b" 401 " in stranger.recv(4096), "who has no key is not waited for"


def test_probes_answer_while_every_thread_is_busy_and_orders_take_none(home, monkeypatch):
    settings = home.model_copy(update={"service": home.service.model_copy(update={"threads": 1})})
    go_on = threading.Event()
    monkeypatch.setattr(orders.takedown, "order", lambda *_: go_on.wait(30) and 1 / 0)
    with served_here(make_app(settings, lambda: NOW)) as port:
        address = f"http://127.0.0.1:{port}"
        asking = httpx.Client(base_url=address, headers=bearer("boss"), timeout=60)
        with asking, ThreadPoolExecutor(3) as pool:
            order = {"pin": 1, "reason": "x"}
            waiting = [pool.submit(asking.post, "/v1/block", json=order) for _ in range(3)]
            time.sleep(0.5)
            assert asking.get("/health").status_code == 200
            assert asking.get("/ready").status_code == 200
            assert asking.get("/v1/recommendations?user=1").status_code == 200
            go_on.set()
            assert {one.result().status_code for one in waiting} == {500}


def test_what_the_disk_refuses_is_not_told_to_who_gave_the_order(client, home, monkeypatch):
    def refuses(*_):
        raise ConfigError(f"{home.home}/takedown/pins.json cannot be used: Permission denied.")

    monkeypatch.setattr(orders.takedown, "order", refuses)
    answer = client.post("/v1/block", json={"pin": 1, "reason": "x"}, headers=bearer("boss"))
    assert answer.status_code == 503
    assert str(home.home) not in answer.text


@contextmanager
def served_here(app):
    """The service in a thread of this process: its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)


# --- the login of a browser ----------------------------------------------------------------------


def test_a_key_that_is_typed_opens_what_may_be_asked_until_logout(app):
    with TestClient(app, base_url="https://testserver") as browser:
        assert browser.get("/v1/medoids?user=1").status_code == 401
        entered = browser.post("/login", data={"key": KEYS["ann"]}, follow_redirects=False)
        assert entered.status_code == 303
        cookie = entered.headers["set-cookie"]
        for word in ("HttpOnly", "SameSite=strict", "Secure"):
            assert word in cookie
        assert browser.get("/metrics").status_code == 200
        browser.post("/logout", follow_redirects=False)
        assert browser.get("/metrics").status_code == 401


def test_a_wrong_key_is_asked_for_again(app):
    with TestClient(app) as browser:
        for key in ("wrong", "", "<script>"):
            answer = browser.post("/login", data={"key": key})
            assert answer.status_code == 401
            assert "This key opens nothing" in answer.text
            assert "set-cookie" not in answer.headers
            assert "<script>" not in answer.text


def test_where_authentication_is_off_whoever_comes_is_answered(home):
    settings = home.model_copy(
        update={"service": home.service.model_copy(update={"authentication": False})}
    )
    with TestClient(make_app(settings, lambda: NOW)) as client:
        assert client.get("/v1/recommendations?user=1").status_code == 200
        order = client.post("/v1/block", json={"pin": 1, "reason": "x"})
        assert order.json()["by"] == "anybody"
