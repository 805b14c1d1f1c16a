"""Through what is delivered, and what becomes of a delivery when its time has come."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.ids import new_id
from services.notification.model import (
    Cause,
    Channel,
    Kind,
    Notification,
    Outcome,
    Recipient,
    Status,
    Targets,
    TaskState,
)
from services.notification.rules import deliveries
from services.notification.rules.quiet import quiet_until

USER, TASK = new_id(), new_id()
NOW = 1_770_640_200_000_000
HOUR, MINUTE = 3600 * SECOND, 60 * SECOND
GRACE = 24 * 3600


def instant(text: str) -> int:
    """Microseconds of an instant, such as `2026-06-10T20:30:00Z`."""
    return round(datetime.fromisoformat(text).timestamp()) * SECOND


def user(**changes: Any) -> Recipient:
    """A user in Berlin with the defaults, and these changes."""
    return Recipient(USER, "Europe/Berlin", 0, {}, None, None, None, 0, 0, False, 0, 1)._replace(**changes)


def cause(**changes: Any) -> Cause:
    """A reminder of a task that is due now."""
    plain = Cause(new_id(), USER, Kind.REMINDER, NOW, {"title": "Water the plants"}, event="7b7d")
    return plain._replace(**changes)


def made(what: Cause, who: Recipient, targets: Targets = Targets(), *, now: int = NOW) -> list[Notification]:  # noqa: B008
    """The deliveries of a cause."""
    return deliveries.made_of(what, targets, {USER: who}, now=now, settle_seconds=5)


def row(channel: Channel = Channel.WEBPUSH, **changes: Any) -> Notification:
    """A delivery to one target whose time has come."""
    wanted = {channel: [True, True] for channel in Channel}
    targets = Targets(("subscription",), ("webhook",))
    [found] = [
        each for each in made(cause(), user(channels=wanted, phone_number="+49170"), targets) if each.channel == channel
    ]
    return found._replace(**changes)


def decide(what: Notification, who: Recipient, *, at: int = NOW, task: TaskState | None = None) -> Notification:
    """What becomes of it."""
    return deliveries.decide(what, who, task, None, now=at, grace_seconds=GRACE)


def test_a_reminder_is_delivered_by_the_channels_of_the_preferences_to_every_target() -> None:
    found = made(cause(), user(), Targets(("one", "two"), ("hook",)))
    assert [(each.channel, each.target_id) for each in found] == [
        ("in_app", None),
        ("webpush", "one"),
        ("webpush", "two"),
        ("webhook", "hook"),
    ]
    assert [each.cause for each in found] == [None, None, None, "7b7d"]


def test_channels_without_a_target_are_left_out_but_for_the_one_that_was_named() -> None:
    assert [each.channel for each in made(cause(), user())] == ["in_app"]
    named = made(cause(named="webpush"), user())
    assert [(each.channel, each.target_id) for each in named] == [("in_app", None), ("webpush", None)]
    assert decide(named[1], user()).error_message == "NO_PUSH_SUBSCRIPTION"
    [_, sms] = made(cause(named="sms"), user())
    assert decide(sms, user()).error_message == "NO_PHONE_NUMBER"


@pytest.mark.parametrize("kind", [Kind.REMINDER, Kind.UPDATE])
@pytest.mark.parametrize("wanted", [[False, True], [True, False]])
def test_preferences_are_by_channel_and_kind(kind: Kind, wanted: list[bool]) -> None:
    who = user(channels=dict.fromkeys(Channel, wanted))
    assert bool(made(cause(kind=kind), who)) == wanted[kind == Kind.UPDATE]


@pytest.mark.parametrize(("late", "waits"), [(0, 0), (60, 0), (61, 5), (7200, 5)])
def test_what_is_late_waits_for_others_to_join_it(late: int, waits: int) -> None:
    [found] = made(cause(), user(), now=NOW + late * SECOND)
    assert found.next_attempt_at == NOW + (late + waits) * SECOND


def test_nothing_is_sent_before_its_time() -> None:
    [found] = made(cause(scheduled_for=NOW + HOUR), user())
    assert found.next_attempt_at == NOW + HOUR


@pytest.mark.parametrize(
    ("payload", "task", "reason"),
    [
        ({"reminder_time": 5}, {"reminder_time": 5}, None),
        ({"reminder_time": 5}, {"reminder_time": 6}, "TASK_MOVED"),
        ({"reminder_time": 5}, {"reminder_time": None}, "TASK_MOVED"),
        ({"reminder_time": 5, "due_date": 9}, {"reminder_time": 5, "due_date": 10}, None),
        ({"reminder_time": 5, "due_date": 9, "reminder": "-PT1H"}, {"due_date": 9}, None),
        ({"reminder_time": 5, "due_date": 9, "reminder": "-PT1H"}, {"due_date": 10}, "TASK_MOVED"),
        ({"reminder_time": 5}, {"reminder_time": 5, "is_open": False}, "TASK_COMPLETED"),
        ({"reminder_time": 5}, {"reminder_time": 5, "is_deleted": True}, "TASK_DELETED"),
    ],
)
def test_the_state_of_a_task_is_checked_again(
    payload: dict[str, Any], task: dict[str, Any], reason: str | None
) -> None:
    state = TaskState(TASK, USER, True, False, None, None, 0)._replace(**task)
    what = row(payload={"title": "x", **payload})
    assert decide(what, user(), task=state).error_message == reason
    assert decide(what, user(), task=None) is what


def test_what_is_turned_off_meanwhile_is_not_sent() -> None:
    off = user(channels={"webpush": [False, False]})
    assert decide(row(), off).error_message == "CHANNEL_OFF"
    named = row()._replace(payload={"title": "x", "named": True})
    assert decide(named, off) is named
    account = row(notification_type=Kind.ACCOUNT)
    assert decide(account, off) is account


@pytest.mark.parametrize(("late", "outcome"), [(GRACE - 1, None), (GRACE, Outcome.MISSED)])
def test_beyond_the_grace_it_is_missed(late: int, outcome: Outcome | None) -> None:
    assert decide(row(), user(), at=NOW + late * SECOND).outcome == outcome


def test_what_its_event_outlives_is_missed_and_deferring_is_not_lateness() -> None:
    assert decide(row(expires_at=NOW + HOUR), user(), at=NOW + HOUR).outcome == Outcome.MISSED
    deferred = row(deferred_until=NOW + 10 * HOUR)
    at = NOW + GRACE * SECOND + HOUR
    assert decide(deferred, user(), at=at) is deferred
    sent = deliveries.sent(deferred, NOW + 10 * HOUR + 30 * SECOND)
    assert (sent.outcome, deliveries.late_by(deferred, NOW + 10 * HOUR + 30 * SECOND)) == (Outcome.ON_TIME, 30)


def test_what_was_tried_in_vain_until_the_end_has_failed_and_was_not_missed() -> None:
    tried = row(attempts=3, error_message="451 later", status=Status.FAILED)
    ended = decide(tried, user(), at=NOW + GRACE * SECOND)
    assert (ended.outcome, ended.error_message) == (Outcome.FAILED, "451 later")


@pytest.mark.parametrize(("seconds", "outcome"), [(0, Outcome.ON_TIME), (60, Outcome.ON_TIME), (61, Outcome.LATE)])
def test_more_than_a_minute_is_late(seconds: int, outcome: Outcome) -> None:
    assert deliveries.sent(row(), NOW + seconds * SECOND).outcome == outcome


@pytest.mark.parametrize("channel", [Channel.IN_APP, Channel.WEBHOOK])
def test_quiet_hours_hold_back_only_what_makes_a_noise(channel: Channel) -> None:
    quiet = user(quiet_from=0, quiet_to=1439, channels={"email": [True, False]})
    what = row(channel)
    assert decide(what, quiet) is what
    assert decide(row(Channel.EMAIL), quiet).deferred_until is not None
    account = row(Channel.EMAIL, notification_type=Kind.ACCOUNT)
    assert decide(account, quiet) is account


class Worker:
    """Runs every minute, as the engine does: what is due together is one message."""

    def __init__(self, rows: list[Notification]) -> None:
        self.rows = rows
        self.messages: list[tuple[int, int]] = []

    def run(self, who: Recipient, at: int) -> None:
        """One pass at an instant."""
        due = [each for each in self.rows if each.next_attempt_at is not None and each.next_attempt_at <= at]
        decided = [deliveries.decide(each, who, None, None, now=at, grace_seconds=GRACE) for each in due]
        ready = [after for before, after in zip(due, decided, strict=True) if after is before]
        for message in deliveries.messages(ready):
            self.messages.append((at, len(message)))
        ended = {each.id: deliveries.sent(each, at) for each in ready} | {
            each.id: each for each in decided if each not in ready
        }
        self.rows = [ended.get(each.id, each) for each in self.rows]


def due_at(text: str) -> Notification:
    """A push message that is due at an instant."""
    at = instant(text)
    return row()._replace(id=new_id(), source_id=new_id(), scheduled_for=at, next_attempt_at=at)


def test_quiet_hours_over_midnight_end_in_the_morning_with_one_message() -> None:
    """Case D-quiet-hours-1."""
    who = user(quiet_from=22 * 60, quiet_to=7 * 60)
    worker = Worker([due_at(f"2026-06-{text}:00Z") for text in ("10T20:30", "10T22:30", "11T04:59")])
    at, until = instant("2026-06-10T20:00:00Z"), instant("2026-06-11T05:05:00Z")
    while at <= until:
        worker.run(who, at)
        at += MINUTE
    assert worker.messages == [(instant("2026-06-11T05:00:00Z"), 3)]


def test_what_is_put_off_is_decided_again_where_its_user_is_then() -> None:
    """Case D-quiet-hours-2."""
    berlin = user(quiet_from=22 * 60, quiet_to=7 * 60)
    worker = Worker([due_at("2026-07-01T03:00:00Z")])
    at = instant("2026-07-01T03:00:00Z")
    while at <= instant("2026-07-01T12:00:00Z"):
        moved = at >= instant("2026-07-01T04:00:00Z")
        worker.run(berlin._replace(time_zone="America/New_York") if moved else berlin, at)
        at += MINUTE
    assert worker.messages == [(instant("2026-07-01T11:00:00Z"), 1)]


@pytest.mark.parametrize(
    ("now", "begin", "end", "until"),
    [
        ("2026-03-28T23:30:00Z", 22 * 60, 2 * 60 + 30, "2026-03-29T01:30:00Z"),  # 02:30 is skipped: 03:30 in summer
        ("2026-10-24T23:30:00Z", 22 * 60, 2 * 60 + 30, "2026-10-25T00:30:00Z"),  # 02:30 comes twice: the first
        ("2026-06-10T12:00:00Z", 13 * 60, 15 * 60, "2026-06-10T13:00:00Z"),
        ("2026-06-10T13:00:00Z", 13 * 60, 15 * 60, None),
        ("2026-06-10T10:59:59Z", 13 * 60, 15 * 60, None),
        ("2026-06-10T11:00:00Z", 13 * 60, 15 * 60, "2026-06-10T13:00:00Z"),
        ("2026-12-31T22:30:00Z", 22 * 60, 7 * 60, "2027-01-01T06:00:00Z"),
    ],
)
def test_quiet_hours_go_by_the_clock_on_the_wall(now: str, begin: int, end: int, until: str | None) -> None:
    found = quiet_until(user(quiet_from=begin, quiet_to=end), instant(now))
    assert found == (None if until is None else instant(until))


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC"]


@given(
    zone=st.sampled_from(ZONES),
    now=st.integers(instant("2025-01-01T00:00:00Z") // SECOND, instant("2028-01-01T00:00:00Z") // SECOND),
    begin=st.integers(0, 1439),
    length=st.integers(1, 1439),
)
def test_the_end_of_quiet_hours_is_ahead_and_within_a_day(zone: str, now: int, begin: int, length: int) -> None:
    who = user(time_zone=zone, quiet_from=begin, quiet_to=(begin + length) % 1440)
    until = quiet_until(who, now * SECOND)
    local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(zone))
    inside = (local.hour * 60 + local.minute - begin) % 1440 < length
    assert (until is not None) == inside
    if until is not None:
        assert now * SECOND < until <= now * SECOND + DAY + 2 * HOUR
        ends = datetime.fromtimestamp(until // SECOND, UTC).astimezone(ZoneInfo(zone))
        shown = ends.hour * 60 + ends.minute
        skipped = (shown - (begin + length)) % 1440 <= 60
        assert shown == (begin + length) % 1440 or skipped


def test_what_was_tried_together_stays_together_and_what_is_new_is_one_message() -> None:
    old = [row()._replace(id=new_id(), message_id="m", attempts=1) for _ in range(2)]
    new = [row()._replace(id=new_id()) for _ in range(3)]
    assert sorted(map(len, deliveries.messages([new[0], *old, *new[1:]]))) == [2, 3]
    hooks = [row(Channel.WEBHOOK)._replace(id=new_id()) for _ in range(3)]
    assert [len(each) for each in deliveries.messages(hooks)] == [1, 1, 1]


def test_what_was_tried_together_is_sent_deferred_or_dropped_together() -> None:
    tried = [row(id=new_id(), message_id="m", attempts=1, status=Status.FAILED) for _ in range(2)]
    dropped = [deliveries.removed(each, "TASK_COMPLETED") for each in tried]
    later = tried[1]._replace(next_attempt_at=NOW + HOUR, deferred_until=NOW + HOUR)
    new = row(id=new_id())
    assert deliveries.whole([*tried, new], [dropped[0], tried[1], dropped[0]]) == [*tried, dropped[0]]
    assert deliveries.whole(tried, dropped) == dropped
    deferred = deliveries.whole(tried, [dropped[0], later])
    assert [each.deferred_until for each in deferred] == [NOW + HOUR] * 2
    assert [each.outcome for each in deferred] == [None, None]


def test_what_is_taken_up_of_a_message_that_was_dropped_is_another_message() -> None:
    tried = deliveries.leased([row(), row()], until=NOW)
    dropped = [deliveries.removed(each, "TASK_MOVED") for each in tried]
    again = [deliveries.restored(each, NOW) for each in dropped]
    ids = {message[0].message_id for message in deliveries.messages([*again, row()])}
    assert len(ids) == 3
    assert tried[0].message_id not in ids
    assert deliveries.restored(deliveries.removed(row(), "TASK_MOVED"), NOW).message_id is None


def test_a_message_has_at_most_so_many_deliveries() -> None:
    many = [row()._replace(id=str(number)) for number in range(deliveries.MOST_COMBINED + 1)]
    assert sorted(map(len, deliveries.messages(many))) == [1, deliveries.MOST_COMBINED]


def test_a_lease_keeps_the_message_id_and_counts_the_attempt() -> None:
    rows = [row()._replace(id=new_id()) for _ in range(2)]
    first = deliveries.leased(rows, until=NOW + MINUTE)
    assert len({each.message_id for each in first}) == 1
    again = deliveries.leased(first, until=NOW + 2 * MINUTE)
    assert {each.message_id for each in again} == {each.message_id for each in first}
    assert [each.attempts for each in again] == [2, 2]


@given(
    channel=st.sampled_from([Channel.EMAIL, Channel.WEBPUSH, Channel.SMS, Channel.WEBHOOK]),
    attempts=st.integers(1, 200),
    asked=st.none() | st.floats(0, 1e7),
)
def test_retries_are_bounded_and_as_late_as_the_provider_asks(
    channel: Channel, attempts: int, asked: float | None
) -> None:
    waits = deliveries.retry_seconds(channel, attempts, asked)
    retries = deliveries.RETRIES[channel]
    if attempts >= retries.most:
        assert waits is None
    else:
        assert waits is not None
        assert min(asked or 0.0, 86400) <= waits <= max(retries.longest_seconds, min(asked or 0.0, 86400))


def test_a_webhook_is_tried_for_hours() -> None:
    retries = deliveries.RETRIES[Channel.WEBHOOK]
    waits = [deliveries.retry_seconds(Channel.WEBHOOK, attempt, None) or 0.0 for attempt in range(1, retries.most)]
    assert timedelta(hours=10) < timedelta(seconds=sum(waits)) < timedelta(hours=40)


def test_a_message_tells_of_the_first_fifty() -> None:
    items = deliveries.items([row()._replace(id=new_id()) for _ in range(60)], NOW)
    assert len(items) == deliveries.MOST_ITEMS
