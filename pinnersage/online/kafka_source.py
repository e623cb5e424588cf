"""Kafka: events through a topic that is keyed by user, for those who have a Kafka already.

A user's events are in one partition, and a partition has one consumer of the group at a time. An
offset is committed when what lies before it is settled, and only then; what a consumer had in hand
when its partitions went to another comes again there.

Tested against the mock cluster inside librdkafka, with its own protocol over its own sockets; no
real broker was there. The extra ``kafka`` brings the client. What a broker asks of its clients
comes from the environment: see ``FROM_ENVIRONMENT``.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pinnersage.config import Settings
from pinnersage.errors import ConfigError, TransientError
from pinnersage.online.events import NotTakenError
from pinnersage.online.sources import Delivery, Refusal

GROUP = "pinnersage"
DEAD = "-dead"
"""At the end of a topic's name: the topic of what was refused."""
MAX_DEAD_BYTES = 4096
"""Of a dead letter as much is kept."""
ANSWER_SECONDS = 10.0
"""Longest wait for the brokers."""
FROM_ENVIRONMENT = (
    "security.protocol",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
)
"""Properties of librdkafka that are variables here: ``KAFKA_SASL_PASSWORD``, and so on."""


def library() -> Any:
    """Return confluent-kafka, which is an extra."""
    try:
        import confluent_kafka  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        raise ConfigError(
            "online.source is kafka, and its client is not there. Install the extra: "
            "pip install 'pinnersage[kafka]'"
        ) from error
    return confluent_kafka


def brokers_of(settings: Settings) -> str:
    """Return the addresses that the settings name."""
    if not settings.online.brokers:
        raise ConfigError("online.source is kafka, and online.brokers is not set: host:port,…")
    return settings.online.brokers


class KafkaSender:
    """Puts events into the topic; threads may share it. See ``Sender``.

    Parameters
    ----------
    brokers : str
        host:port, several with commas between.
    topic : str
    """

    def __init__(self, brokers: str, topic: str) -> None:
        self.name, self.topic = f"kafka {brokers}", topic
        self._producer = library().Producer(
            client(brokers)
            | {
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # the one that Java's clients have
                "linger.ms": 1,
                "delivery.timeout.ms": round(ANSWER_SECONDS * 1000),
            }
        )

    def send(self, events: Sequence[tuple[str, bytes]]) -> None:
        """See ``Sender``.

        Raises
        ------
        NotTakenError
            An event is larger than the brokers take; none after it was sent.
        """
        self.put([(user.encode(), data, {}) for user, data in events], self.topic)

    def put(self, given: Sequence[tuple[bytes, bytes, dict[str, str]]], topic: str) -> None:
        """Put keys, values and headers into a topic; they are there on return."""
        failed: list[Any] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(error)

        for key, data, headers in given:
            self._put(topic, key, data, headers, delivered)
        left = self._producer.flush(ANSWER_SECONDS)
        if failed or left:
            why = failed[0].str() if failed else f"{left:,} not confirmed in {ANSWER_SECONDS:g} s"
            raise TransientError(
                f"{self.name}: topic {topic} did not take {len(failed) + left:,} of "
                f"{len(given):,}: {why}. Sending them again is right. See runbook: events wait."
            )

    def _put(self, topic: str, key: bytes, data: bytes, headers: Any, delivered: Any) -> None:
        kafka = library()
        try:
            self._producer.produce(topic, data, key, headers=headers, on_delivery=delivered)
            self._producer.poll(0)
        except BufferError as error:
            raise TransientError(
                f"{self.name}: its queue is full. Sending again is right. See runbook: events wait."
            ) from error
        except kafka.KafkaException as error:
            code = error.args[0].code()
            if code == kafka.KafkaError.MSG_SIZE_TOO_LARGE:
                raise NotTakenError("oversized", f"It has {len(data):,} bytes.") from error
            raise TransientError(f"{self.name}: {error.args[0].str()}. Send it again.") from error

    def close(self) -> None:
        """See ``Sender``."""
        self._producer.flush(ANSWER_SECONDS)


class KafkaSource:
    """Events of the partitions that the group gave this consumer. See ``Source``.

    Parameters
    ----------
    brokers : str
        host:port, several with commas between.
    topic : str
    session_seconds : float
        After so long without a sign of life, a consumer's partitions are others'.
    """

    def __init__(self, brokers: str, topic: str, *, session_seconds: float = 10.0) -> None:
        kafka = library()
        self.name, self.topic = f"kafka {brokers}", topic
        self._errors: list[Any] = []
        self._consumer: Any = kafka.Consumer(
            client(brokers)
            | {
                "group.id": GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": round(session_seconds * 1000),
                "error_cb": self._errors.append,
            }
        )
        # Of its own: behind a fetch, which waits for events, each question would wait as long.
        self._asks = kafka.Consumer(client(brokers) | {"group.id": GROUP})
        self._dead = KafkaSender(brokers, topic + DEAD)
        self._out: dict[int, list[int]] = {}
        """Offsets of each own partition that were received and not settled, ascending."""
        self._consumer.subscribe([topic], on_revoke=self._gone, on_lost=self._gone)
        self._open = True

    def receive(self, most: int, seconds: float) -> list[Delivery]:
        """See ``Source``."""
        kafka = library()
        try:
            self._go_back()
            first = self._consumer.poll(seconds)
            rest = self._consumer.consume(most - 1, 0) if first is not None and most > 1 else []
        except kafka.KafkaException as error:
            raise self._away(error.args[0]) from error
        messages = [] if first is None else [first, *rest]
        found = [message for message in messages if message.error() is None]
        for message in found:
            self._out.setdefault(message.partition(), []).append(message.offset())
        if found:
            self._errors.clear()
        else:
            self._raise([message.error() for message in messages])
        return [
            Delivery(message.value() or b"", (message.partition(), message.offset(), message.key()))
            for message in found
        ]

    def settle(self, deliveries: Sequence[Delivery], refused: Sequence[Refusal]) -> None:
        """See ``Source``; of a partition, what was received first is settled first."""
        kafka = library()
        self._park([refusal for refusal in refused if refusal.reason != "erased_user"])
        done: dict[int, set[int]] = defaultdict(set)
        for delivery in deliveries:
            partition, offset, _ = delivery.token
            done[partition].add(offset)
        ends, left = [], {}
        for partition, offsets in done.items():
            if partition in self._out:  # else it is another's by now, who begins where we did
                left[partition] = [at for at in self._out[partition] if at not in offsets]
                end = left[partition][0] if left[partition] else max(offsets) + 1
                ends.append(kafka.TopicPartition(self.topic, partition, end))
        if not ends:
            return
        try:
            committed = self._consumer.commit(offsets=ends, asynchronous=False)
        except kafka.KafkaException as error:
            raise self._away(error.args[0]) from error
        for part in committed:
            if part.error is not None:
                raise self._away(part.error)
        self._out |= left

    def waiting(self) -> int:
        """See ``Source``."""
        kafka = library()
        try:
            known = self._asks.list_topics(self.topic, timeout=ANSWER_SECONDS)
            parts = [
                kafka.TopicPartition(self.topic, partition)
                for partition in known.topics[self.topic].partitions
            ]
            if not parts:
                return 0
            waits = 0
            for committed in self._asks.committed(parts, timeout=ANSWER_SECONDS):
                low, high = self._asks.get_watermark_offsets(committed, timeout=ANSWER_SECONDS)
                waits += high - max(low, committed.offset)  # below 0 where nothing is committed
        except kafka.KafkaException as error:
            raise self._away(error.args[0]) from error
        return waits

    def close(self) -> None:
        """See ``Source``."""
        if self._open:
            self._open = False
            self._consumer.close()
            self._asks.close()
            self._dead.close()

    def _go_back(self) -> None:
        """Begin again where something was received and not settled, if it is still our own."""
        if not any(self._out.values()):
            return
        own = {part.partition for part in self._consumer.assignment()}
        self._out = {partition: self._out[partition] for partition in self._out if partition in own}
        for partition, offsets in self._out.items():
            if offsets:
                self._consumer.seek(library().TopicPartition(self.topic, partition, offsets[0]))
                offsets.clear()

    def _gone(self, _consumer: Any, partitions: list[Any]) -> None:
        """Forget what is another's from now on."""
        for partition in partitions:
            self._out.pop(partition.partition, None)

    def _park(self, refused: list[Refusal]) -> None:
        letters = [
            (
                refusal.delivery.token[2] or b"",
                refusal.delivery.data[:MAX_DEAD_BYTES],
                {"reason": refusal.reason, "says": refusal.says},
            )
            for refusal in refused
        ]
        if letters:
            self._dead.put(letters, self.topic + DEAD)

    def _raise(self, errors: list[Any]) -> None:
        """Raise the first error that keeps events from coming."""
        kafka = library()
        told = [*errors, *self._errors]
        self._errors.clear()
        away, login = kafka.KafkaError._ALL_BROKERS_DOWN, kafka.KafkaError._AUTHENTICATION  # noqa: SLF001 (the library's names)
        for error in told:
            if error in errors or error.code() in {away, login}:
                raise self._away(error)

    def _away(self, error: Any) -> Exception:
        kafka = library()
        if error.code() == kafka.KafkaError._AUTHENTICATION:  # noqa: SLF001 (the library's name)
            return ConfigError(f"{self.name} refused the login: {error.str()}. See KAFKA_SASL_….")
        if error.code() == kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
            return TransientError(
                f"{self.name} has no topic {self.topic} yet. Make it, with as many partitions as "
                "consumers may work at once. See runbook: events wait."
            )
        return TransientError(
            f"{self.name} is away or changes hands: {error.str()}. What was not settled comes "
            "again. See runbook: events wait."
        )


def client(brokers: str) -> dict[str, Any]:
    """Return what every client of these brokers is made with."""
    known = {
        name: os.environ.get(f"KAFKA_{name.upper().replace('.', '_')}") for name in FROM_ENVIRONMENT
    }
    return {"bootstrap.servers": brokers} | {k: v for k, v in known.items() if v}
