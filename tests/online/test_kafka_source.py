"""Kafka beyond the contract: brokers that are away, the client that is not there, what is told."""

import sys
from unittest import mock

import confluent_kafka
import pytest
from worlds import change

from pinnersage.errors import ConfigError, TransientError
from pinnersage.online import kafka_source
from pinnersage.online.events import NotTakenError
from pinnersage.online.kafka_source import KafkaSender, KafkaSource, client
from pinnersage.online.sources import open_sender, open_source


@pytest.fixture
def brokers():
    cluster = confluent_kafka.Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1})
    known = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{one.host}:{one.port}" for one in known)
    del cluster


def received(source):
    """What comes first."""
    for _ in range(30):
        if got := source.receive(10, 1):
            source.settle(got, [])
            return [delivery.data for delivery in got]
    raise AssertionError("nothing came")


@pytest.fixture
def nobody(monkeypatch):
    monkeypatch.setattr(kafka_source, "ANSWER_SECONDS", 1.0)
    return "127.0.0.1:1"


def test_brokers_that_are_away_are_waited_for_by_the_caller(nobody):
    sender, source = KafkaSender(nobody, "t"), KafkaSource(nobody, "t")
    with pytest.raises(TransientError, match=r"topic t did not take 2 of 2.*events wait"):
        sender.send([("u1", b"x"), ("u2", b"y")])
    with pytest.raises(TransientError, match="is away"):
        [source.receive(1, 1) for _ in range(20)]
    with pytest.raises(TransientError, match="is away"):
        source.waiting()
    source.close()
    source.close()


def test_a_topic_that_is_missing_is_named(brokers):
    source = KafkaSource(brokers, "nowhere")
    with pytest.raises(TransientError, match="has no topic nowhere yet"):
        [source.receive(1, 1) for _ in range(20)]
    source.close()


def test_what_was_in_hand_of_a_partition_that_is_anothers_now_keeps_nothing_up(brokers):
    sender = KafkaSender(brokers, "t")
    sender.send([("u", b"x")])
    source = KafkaSource(brokers, "t")
    source._out = {3: [17]}
    assert received(source) == [b"x"]
    source.close()


def test_a_commit_that_a_broker_refuses_is_an_outage_and_the_events_come_again(brokers):
    KafkaSender(brokers, "t").send([("u", b"x")])
    source = KafkaSource(brokers, "t")
    refused = mock.Mock(error=confluent_kafka.KafkaError(27))  # a rebalance is under way
    consumer = source._consumer
    source._consumer = mock.Mock(wraps=consumer, commit=lambda **_: [refused])
    for _ in range(2):
        got = []
        while not got:
            got = source.receive(10, 1)
        with pytest.raises(TransientError, match="changes hands"):
            source.settle(got, [])
    assert source.waiting() == 1
    source._consumer = consumer
    source.close()


def test_an_event_that_is_larger_than_brokers_take_is_refused_for_good(brokers):
    sender = KafkaSender(brokers, "t")
    with pytest.raises(NotTakenError, match="2,000,000 bytes"):
        sender.send([("u", b"x" * 2_000_000)])
    sender.send([("u", b"x")])
    sender.close()


@pytest.mark.parametrize("opened", [open_source, open_sender])
def test_without_the_client_it_says_how_to_get_it(settings, monkeypatch, opened):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    kafka = change(settings, online={"source": "kafka", "brokers": "127.0.0.1:1"})
    with pytest.raises(ConfigError, match=r"pip install 'pinnersage\[kafka\]'"):
        opened(kafka)


@pytest.mark.parametrize("opened", [open_source, open_sender])
def test_without_brokers_it_says_what_to_set(settings, opened):
    with pytest.raises(ConfigError, match=r"online\.brokers is not set"):
        opened(change(settings, online={"source": "kafka"}))


def test_a_login_comes_from_the_environment_and_is_in_no_message(monkeypatch, nobody):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("KAFKA_SASL_MECHANISMS", "PLAIN")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "me")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("KAFKA_OPTS", "-Xmx1g")
    assert client("b:1") == {
        "bootstrap.servers": "b:1",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "me",
        "sasl.password": "hunter2",
    }
    with pytest.raises(TransientError) as raised:
        KafkaSender(nobody, "t").send([("u", b"x")])
    assert "hunter2" not in str(raised.value)
