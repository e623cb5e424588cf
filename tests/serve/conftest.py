"""A service over the finished tiny world, its keys, and a client that shows one."""

import pytest
from fastapi.testclient import TestClient
from served import KEYS, NOW, bearer

from pinnersage import retrieve
from pinnersage.serve import keys
from pinnersage.serve.app import make_app


@pytest.fixture
def home(finished):
    """Settings of a home that is live and has a key of each role."""
    keys.add("ann", "reader", KEYS["ann"], NOW, finished)
    keys.add("shop", "sender", KEYS["shop"], NOW, finished)
    keys.add("boss", "admin", KEYS["boss"], NOW, finished)
    return finished


@pytest.fixture
def app(home):
    """The service."""
    return make_app(home, lambda: NOW)


@pytest.fixture
def client(app):
    """A client that shows a reader's key."""
    with TestClient(app, headers=bearer("ann")) as opened:
        yield opened


@pytest.fixture
def reader(home):
    """The live release through the library."""
    with retrieve.open_live(home) as opened:
        yield opened


@pytest.fixture
def users(reader):
    """Ids of all users, as text."""
    return [key.decode() for key, _ in reader.profiles.items()]
