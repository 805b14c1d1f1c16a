"""The checker of the proofs: silent about what is right, and loud about everything that can go wrong."""

from datetime import UTC, datetime, timedelta

from prove import checker
from prove.checker import Attempt, Delivered, Delivery, Message, Record, Task

ANN, BEN = "ann", "ben"
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
EVENTS, UPDATES = "task-events", "task-updates"


def message(task: str, version: int, offset: int, *, event: str = "", topic: str = EVENTS, **other: object) -> Message:
    found = Message(topic, 0, offset, event or f"{task}.{version}", "task-updated", ANN, task, version, NOON, NOON)
    return found._replace(**other)  # type: ignore[arg-type]


def record(position: int, task: str, version: int, *, user: str = ANN) -> Record:
    return Record(user, position, f"{task}.{version}", "task-created" if version == 1 else "task-updated", task)


def write(task: str, version: int, *, request: str = "", code: str = "OK", operation: str = "update") -> Attempt:
    return Attempt("rest", operation, ANN, request or f"{task}.{version}", 0.0, 0.1, code, task, version)


def create(request: str, task: str = "", *, code: str = "OK") -> Attempt:
    return write(task, 1 if task else 0, request=request, code=code, operation="create")


def test_success_and_unavailable_are_the_only_responses() -> None:
    fine = [write("a", 1), write("", 0, code="UNAVAILABLE")]
    assert checker.unexpected_responses(fine) == []
    assert checker.unexpected_responses([*fine, write("", 0, code="INTERNAL")]) == [
        "update by rest ended with INTERNAL"
    ]


def test_a_create_that_is_tried_again_makes_one_task() -> None:
    tries = [create("r", code="UNAVAILABLE"), create("r", "a"), create("r", "a")]
    assert checker.created_twice(tries, [Task("a", ANN, "r", 1)]) == []


def test_a_create_that_makes_two_tasks_is_found_by_its_responses_and_in_the_database() -> None:
    assert checker.created_twice([create("r", "a"), create("r", "b")], [])
    unacknowledged = [create("r", code="UNAVAILABLE"), create("r", code="UNAVAILABLE")]
    assert checker.created_twice(unacknowledged, [Task("a", ANN, "r", 1), Task("b", ANN, "r", 1)])


def test_an_acknowledged_write_is_recorded_once() -> None:
    writes, published = [write("a", 1), write("a", 2)], [message("a", 1, 0), message("a", 2, 1)]
    recorded = [record(1, "a", 1), record(2, "a", 2)]
    assert checker.lost_writes(writes, published, recorded) == []
    assert len(checker.lost_writes(writes, published, recorded[:1])) == 1
    assert len(checker.lost_writes(writes, published[:1], recorded)) == 1
    assert len(checker.lost_writes(writes, published, [*recorded, record(3, "a", 2)])) == 1


def test_a_write_without_a_response_may_be_lost() -> None:
    assert checker.lost_writes([write("a", 2, code="UNAVAILABLE")], [], []) == []


def test_records_of_creations_are_counted_by_task() -> None:
    assert checker.recorded_creates([record(1, "a", 1), record(2, "a", 2), record(3, "b", 1)]) == {"a": 1, "b": 1}


def test_what_committed_is_in_every_topic() -> None:
    tasks = [Task("a", ANN, "r", 2)]
    published = [message("a", 1, 0), message("a", 2, 1), message("a", 2, 0, topic=UPDATES)]
    assert checker.unpublished(tasks, published, [EVENTS]) == []
    assert checker.unpublished(tasks, published, [EVENTS, UPDATES]) == ["task a is at version 2; task-updates lacks 1"]


def test_a_batch_that_is_delivered_again_breaks_no_order() -> None:
    again = [message("a", version, offset) for offset, version in enumerate((1, 2, 1, 2, 3))]
    assert checker.disorder(again) == []


def test_versions_that_fall_or_leave_a_gap_are_disorder() -> None:
    assert checker.disorder([message("a", 2, 0), message("a", 1, 1)])
    assert checker.disorder([message("a", 1, 0), message("a", 3, 1)])
    assert checker.disorder([message("a", 1, 0), message("a", 1, 1, event="other")])


def test_offsets_count_and_not_the_order_of_reading() -> None:
    assert checker.disorder([message("a", 2, 8), message("a", 1, 7)]) == []


def test_a_task_in_two_partitions_is_disorder() -> None:
    assert checker.disorder([message("a", 1, 0), message("a", 2, 1, partition=1)])


def test_the_log_holds_each_published_event_once() -> None:
    published = [message("a", 1, 0), message("a", 2, 1)]
    whole = [record(1, "a", 1), record(2, "a", 2)]
    assert checker.wrong_records(whole, published) == []
    assert checker.wrong_records([*whole, record(3, "a", 2)], published)
    assert checker.wrong_records(whole[:1], published) == ["event a.2 is published and not recorded"]
    assert checker.wrong_records(whole, published[:1])[0] == "event a.2 is recorded and not published"


def test_the_log_goes_through_versions_and_positions_in_order() -> None:
    published = [message("a", 1, 0), message("a", 2, 1)]
    assert checker.wrong_records([record(1, "a", 2), record(2, "a", 1)], published)
    assert checker.wrong_records([record(1, "a", 1), record(3, "a", 2)], published)


def shown(task: str, version: int) -> Delivered:
    return Delivered("screen", ANN, f"{task}.{version}", task, version)


def test_a_subscriber_is_shown_everything_once_and_in_order() -> None:
    published = [message("a", version, version, topic=UPDATES) for version in (1, 2)]
    unknown = message("x", 1, 9, topic=UPDATES, user_id=BEN)

    def violations(*changes: Delivered) -> list[str]:
        return checker.wrong_deliveries({"screen": ANN}, changes, [*published, unknown], UPDATES)

    assert violations(shown("a", 1), shown("a", 2)) == []
    assert violations(shown("a", 1)) == ["screen missed event a.2"]
    assert violations(shown("a", 1), shown("a", 2), shown("a", 2)) == ["screen saw event a.2 2 times"]
    assert violations(shown("a", 2), shown("a", 1)) == ["screen: task a goes from version 2 to 1"]
    assert violations(shown("a", 1), shown("a", 2), shown("x", 1)) == ["screen saw event x.1, which is not its user's"]


def end(session: str, *, event: str = "e", late: float = 0.0, published: float = 0.0) -> Message:
    return message(
        session,
        2,
        0,
        event=event,
        type="session-phase-changed",
        time=NOON + timedelta(seconds=late),
        published=NOON + timedelta(seconds=published),
    )


def test_an_interval_ends_once_at_its_instant_and_is_published_after_it() -> None:
    ends = {"a": NOON, "b": NOON}
    assert checker.wrong_ends(ends, [end("a"), end("b", published=3), end("a", published=1), end("c", late=9)]) == []
    [missing] = checker.wrong_ends(ends, [end("a")])
    [twice] = checker.wrong_ends(ends, [end("a"), end("a", event="f"), end("b")])
    [late] = checker.wrong_ends(ends, [end("a", late=0.1), end("b")])
    [early] = checker.wrong_ends(ends, [end("a", published=-0.1), end("b")])
    assert missing == "the interval of session b ended 0 times"
    assert twice == "the interval of session a ended 2 times"
    assert "session a ended 0:00:00.100000 from its instant" in late
    assert "session a was published 0:00:00.100000 early" in early


def delivery(message_id: str, *, state: str = "SENT", reason: str = "") -> Delivery:
    return Delivery(message_id, ANN, "CHANNEL_EMAIL", "", f"DELIVERY_STATE_{state}", message_id, reason, None)


def test_a_message_is_taken_once_and_shown_as_sent_or_never_and_says_why() -> None:
    found = [delivery("m"), delivery("r", state="FAILED", reason="550 no such mailbox")]
    refused = lambda each: each.id == "r"  # noqa: E731
    assert checker.wrong_sends(found, ["m"], refused) == []
    assert len(checker.wrong_sends(found, ["m", "m"], refused)) == 1
    assert len(checker.wrong_sends(found, [], refused)) == 1
    assert len(checker.wrong_sends(found, ["m", "r"], refused)) == 1
    assert len(checker.wrong_sends(found, ["m", "unknown"], refused)) == 1
    assert len(checker.wrong_sends([found[0], delivery("r", state="FAILED")], ["m"], refused)) == 1
    assert len(checker.wrong_sends([delivery("m", state="PENDING", reason="waits")], ["m"], refused)) == 1


def fired(kind: str, event: str, *, early: timedelta = timedelta()) -> Message:
    return message("task", 1, 0, event=event, type=kind, time=NOON - early, published=NOON - early)


def test_a_reminder_fires_once_and_is_shown_once_and_not_early() -> None:
    right = [fired(checker.REMINDER_FIRED, "f"), fired(checker.REMINDER_SHOWN, "s")]
    due = {ANN: NOON}
    assert checker.wrong_reminders(due, [*right, right[0]]) == []
    assert len(checker.wrong_reminders(due, right[:1])) == 1
    assert len(checker.wrong_reminders(due, [*right, fired(checker.REMINDER_FIRED, "again")])) == 1
    early = fired(checker.REMINDER_SHOWN, "s", early=timedelta(seconds=1))
    assert len(checker.wrong_reminders(due, [right[0], early])) == 1


def test_the_ledger_has_one_sent_row_for_each_delivery() -> None:
    expected = [(ANN, "in_app"), (ANN, "email")]
    sent = [(ANN, "in_app", "sent"), (ANN, "email", "sent")]
    assert checker.wrong_ledger(expected, sent) == []
    assert len(checker.wrong_ledger(expected, sent[:1])) == 1
    assert len(checker.wrong_ledger(expected, [*sent, sent[0]])) == 1
    assert len(checker.wrong_ledger(expected, [*sent, (BEN, "email", "sent")])) == 1
    assert len(checker.wrong_ledger(expected, [sent[0], (ANN, "email", "failed")])) == 1
