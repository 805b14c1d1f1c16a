"""Dead letters: which ones still wait, derived from the records of their topic alone."""

from mesh.events import dead_letters
from mesh.events.dead_letters import Command
from mesh.events.envelope import Message
from mesh.events.producer import ProducerRecord

TOPIC = "task-events.audit.dlq"


class Partition:
    """A dead-letter partition as the broker would keep it."""

    def __init__(self) -> None:
        self.records: list[Message] = []

    def add(self, record: ProducerRecord) -> Message:
        assert record.topic == TOPIC
        headers = tuple((name, value if isinstance(value, bytes) else value.encode()) for name, value in record.headers)
        key = record.key.encode() if isinstance(record.key, str) else record.key
        self.records.append(Message(TOPIC, 0, len(self.records), key, record.value, headers, 0))
        return self.records[-1]

    def letter(self, key: bytes, offset: int) -> Message:
        return self.add(dead_letters.letter(original(key, offset), "audit", "ValueError: no"))

    def waiting(self) -> list[tuple[bytes | None, int]]:
        return [(letter.message.key, letter.offset) for letter in dead_letters.outstanding(self.records)]


def original(key: bytes, offset: int) -> Message:
    return Message("task-events", 2, offset, key, b'{"id": 1}', (("traceparent", b"00-ab"),), 0)


def test_a_letter_is_the_untouched_message_with_error_headers() -> None:
    sent = dead_letters.letter(original(b"ann", 17), "audit", "ValueError: no")
    assert (sent.topic, sent.key, sent.value) == (TOPIC, b"ann", b'{"id": 1}')
    assert sent.headers[0] == ("traceparent", b"00-ab")
    partition = Partition()
    partition.add(sent)
    [found] = dead_letters.outstanding(partition.records)
    assert (found.reason, found.topic, found.partition, found.offset) == ("ValueError: no", "task-events", 2, 17)
    assert found.time


def test_letters_wait_in_the_order_they_came() -> None:
    partition = Partition()
    for key, offset in [(b"ann", 3), (b"bob", 4), (b"ann", 6)]:
        partition.letter(key, offset)
    assert partition.waiting() == [(b"ann", 3), (b"bob", 4), (b"ann", 6)]


def test_a_message_given_up_twice_by_a_crash_is_one_letter() -> None:
    partition = Partition()
    partition.letter(b"ann", 3)
    partition.letter(b"ann", 3)
    assert partition.waiting() == [(b"ann", 3)]


def test_a_release_covers_its_key_up_to_where_it_read_and_no_further() -> None:
    partition = Partition()
    last = partition.letter(b"ann", 3)
    partition.letter(b"bob", 4)
    order = partition.add(dead_letters.replay_command(TOPIC, b"ann", Command("c1", frozenset())))
    partition.letter(b"ann", 9)
    command = dead_letters.command_in(order)
    assert command is not None
    partition.add(dead_letters.released(order, command, last.offset))
    assert partition.waiting() == [(b"bob", 4), (b"ann", 9)]


def test_a_refused_replay_releases_nothing() -> None:
    partition = Partition()
    order = partition.letter(b"ann", 3)
    partition.add(dead_letters.refused(order, Command("c1", frozenset()), "ValueError: still"))
    assert partition.waiting() == [(b"ann", 3)]


def test_a_command_says_what_to_leave_out() -> None:
    partition = Partition()
    order = partition.add(dead_letters.replay_command(TOPIC, b"ann", Command("c1", frozenset({5, 2}))))
    assert dead_letters.command_in(order) == Command("c1", frozenset({2, 5}))
    assert dead_letters.command_in(partition.letter(b"ann", 3)) is None


def test_topics_of_letters_name_their_group() -> None:
    assert dead_letters.topic_of("task-events", "audit") == TOPIC
