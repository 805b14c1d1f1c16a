"""What the pomodoro service publishes."""

import json

import pytest
from focusmesh.pomodoro.events.v1.focus_session_event_pb2 import (
    FocusSessionSnapshot,
    IntervalSnapshot,
    SessionTaskSnapshot,
    SpanSnapshot,
)
from google.protobuf.descriptor import Descriptor

from mesh.events.envelope import LARGEST_ENVELOPE
from mesh.events.outbox import envelope
from mesh.runtime.ids import new_id
from services.pomodoro import events
from services.pomodoro.model import MOST_TASKS, MOST_TRANSITIONS
from services.pomodoro.rules import tasks
from tests.unit.pomodoro.drive import Driven


def started(*names: str, **plan: object) -> Driven:
    session = Driven(names=names, **plan)  # type: ignore[arg-type]  # a plan
    session.at("10:00").start()
    return session


def fields(descriptor: Descriptor) -> list[str]:
    return [field.name for field in descriptor.fields]


def test_a_snapshot_has_every_field_of_the_contract_and_no_other() -> None:
    payload = events.session_updated(started("a").at("10:26").focus).payload
    assert list(payload) == fields(FocusSessionSnapshot.DESCRIPTOR)
    assert list(payload["tasks"][0]) == fields(SessionTaskSnapshot.DESCRIPTOR)
    assert list(payload["intervals"][0]) == fields(IntervalSnapshot.DESCRIPTOR)
    assert list(payload["intervals"][0]["spans"][0]) == fields(SpanSnapshot.DESCRIPTOR)


def test_an_end_is_published_with_its_own_instant_and_the_intervals_that_have_ended() -> None:
    session = started("a")
    session.at("10:10").pause()
    session.at("10:15").resume()
    ended = session.at("12:00").ended[0]
    event = json.loads(envelope(events.session_phase_changed(ended), ""))
    assert (event["type"], event["time"], event["partitionkey"]) == (
        "session-phase-changed",
        "2026-03-02T10:30:00Z",
        "u",
    )
    payload = event["data"]["payload"]
    assert payload["tasks"][0]["focused_seconds"] == payload["total_focused_seconds"] == 1500
    assert payload["intervals"] == [
        {
            "number": 1,
            "kind": "focus",
            "planned_seconds": 1500,
            "start_time": "2026-03-02T10:00:00Z",
            "end_time": "2026-03-02T10:30:00Z",
            "seconds": 1500,
            "is_pomodoro": True,
            "spans": [
                {"start_time": "2026-03-02T10:00:00Z", "end_time": "2026-03-02T10:10:00Z", "task_id": "a"},
                {"start_time": "2026-03-02T10:15:00Z", "end_time": "2026-03-02T10:30:00Z", "task_id": "a"},
            ],
        }
    ]


def test_the_spans_of_an_interval_say_which_task_they_count_to() -> None:
    session = started("a", "b")
    session.at("10:10").select("b")
    session.focus = tasks.remove(session.at("10:20").focus, session.act, "a")
    [interval] = events.session_updated(session.at("10:27").focus).payload["intervals"]
    assert [span["task_id"] for span in interval["spans"]] == [None, "b"]
    assert sum((span["end_time"] - span["start_time"]).total_seconds() for span in interval["spans"]) == 1500


def test_the_current_interval_of_a_running_session_is_shown_as_of_the_event() -> None:
    session = started("a", "b").at("10:10")
    session.select("b")
    payload = events.session_updated(session.focus).payload
    assert (payload["progress_seconds"], payload["total_focused_seconds"], payload["intervals"]) == (600, 600, [])


def test_the_current_interval_of_an_archived_session_is_over() -> None:
    session = started().at("10:10")
    session.pause()
    [interval] = events.session_archived(session.focus).payload["intervals"]
    assert (interval["seconds"], interval["is_pomodoro"]) == (600, False)


@pytest.mark.parametrize("verb", ["skip", "interrupt"])
def test_the_largest_session_fits_into_an_envelope(verb: str) -> None:
    session = Driven(names=tuple(new_id() for _ in range(MOST_TASKS)), auto_start_focus=True)
    worst = tuple(task._replace(title="\x01" * 255, description="\x01" * 1000) for task in session.focus.tasks)
    session.focus = session.focus._replace(tasks=worst)
    session.at("00:00").start()
    while len(session.focus.transitions) < MOST_TRANSITIONS:
        session.to(session.now + 1_234_567)
        session.skip() if verb == "skip" else session.interrupt(1)
    session.focus = session.focus._replace(session=session.focus.session._replace(title="\x01" * 255))
    assert len(envelope(events.session_updated(session.focus), "")) < LARGEST_ENVELOPE
