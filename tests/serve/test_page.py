"""Page: what a browser is given, and that it shows nothing without a key."""

import json
import re

import pytest
from fastapi.testclient import TestClient
from served import KEYS, NOW

from pinnersage import explore


def test_the_page_and_its_files_are_there_and_hold_nothing(app):
    with TestClient(app) as anybody:
        page = anybody.get("/")
        assert page.headers["content-type"].startswith("text/html")
        wanted = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
        assert set(wanted) == {"/explore/explore.css", "/explore/explore.js"}
        for path in wanted:
            answer = anybody.get(path)
            assert answer.status_code == 200
            assert answer.content == explore.file(path.rpartition("/")[2])
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "text/" in answer.headers["content-type"]


@pytest.mark.parametrize(
    "name",
    [
        "login.html.j2",
        "../login.html.j2",
        "..%2Flogin.html.j2",
        "%2e%2e%2fbase.html.j2",
        "%00",
        ".",
    ],
)
def test_no_other_file_is(client, name):
    assert client.get(f"/explore/{name}").status_code in {404, 405}


def test_what_it_shows_needs_a_key(app, users):
    asked = {"user": users[0]}
    with TestClient(app, base_url="https://testserver") as browser:
        assert browser.get("/v1/explore", params=asked).status_code == 401
        browser.post("/login", data={"key": KEYS["ann"]}, follow_redirects=False)
        assert browser.get("/v1/explore", params=asked).status_code == 200
        browser.post("/logout", follow_redirects=False)
        assert browser.get("/v1/explore", params=asked).status_code == 401


def test_it_is_told_what_the_library_says(client, reader, home, users):
    for user in users[:4]:
        found = client.get("/v1/explore", params={"user": user, "draw": 2}).json()
        expected = json.loads(json.dumps(explore.user(reader, home, user, draw=2, now=NOW)))
        for answer in (found, expected):
            for row in answer["recommendations"]["rows"]:
                row.pop("searched")
        assert found == expected


def test_an_unknown_user_is_not_found(client):
    answer = client.get("/v1/explore", params={"user": "nobody"})

    assert answer.status_code == 404
    assert answer.json() == {"error": "User nobody has no clusters in this release."}


@pytest.mark.parametrize(
    "query",
    [{}, {"user": ""}, {"user": "1", "draw": -1}, {"user": "1", "draw": "x"},
     {"user": "1", "more": "1"}, {"user": "1" * 600}],
)  # fmt: skip
def test_a_question_that_breaks_a_rule_is_refused(client, query):
    assert client.get("/v1/explore", params=query).status_code == 422
