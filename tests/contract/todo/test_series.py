"""Recurring tasks, as their user sees them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest
from focusmesh.auth.v1 import user_service_pb2, user_service_pb2_grpc
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.type.v1 import recurrence_pb2 as recurrence
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.runtime.ids import new_id
from services.auth import main as auth
from services.auth.settings import Settings as AuthSettings
from services.todo.rules import series
from stack.keys import Keys
from tests.contract.todo.todo_client import TaskBuilder, Todo, events
from tests.support.databases import ServiceUrl
from tests.support.errors import refused
from tests.support.serving import serving, settings_for, without_broker
from tests.support.tokens import Signer

BERLIN, TOKYO = "Europe/Berlin", "Asia/Tokyo"
DAILY = recurrence.Recurrence(frequency=recurrence.FREQUENCY_DAILY)
MONDAY = recurrence.RecurrenceDay(weekday=recurrence.WEEKDAY_MONDAY)
MONDAYS = recurrence.Recurrence(frequency=recurrence.FREQUENCY_WEEKLY, by_day=[MONDAY])


def due(text: str) -> Timestamp:
    instant = Timestamp()
    instant.FromJsonString(text)
    return instant


def change(task: task_pb2.Task, **fields: Any) -> dict[str, Any]:
    """The fields of an update; None clears."""
    given = {name: value for name, value in fields.items() if value is not None}
    return {"task_id": task.id, "update_mask": FieldMask(paths=list(fields)), **given}


async def test_a_recurring_task_shows_its_rule_in_both_forms_and_where_it_is_in_its_series(todo: Todo) -> None:
    task = (
        await todo.CreateTask(
            title="Water the plants",
            due_time=due("2026-03-02T08:00:00Z"),
            recurrence=MONDAYS,
            time_zone=BERLIN,
            repeat_from=recurrence.REPEAT_FROM_COMPLETION,
            reminder_offsets=["-P1D", "PT0S"],
        )
    ).task
    assert (task.is_recurring, task.recurrence_schedule) == (True, task_pb2.RECURRENCE_SCHEDULE_WEEKLY)
    assert (task.recurrence.frequency, task.recurrence.interval, list(task.recurrence.by_day)) == (2, 1, [MONDAY])
    assert (task.series_id, task.slot, task.time_zone) == (task.id, "2026-03-02T09:00:00", BERLIN)
    assert (task.repeat_from, list(task.reminder_offsets)) == (recurrence.REPEAT_FROM_COMPLETION, ["-P1D", "PT0S"])
    assert (await todo.GetTask(task_id=task.id)).task == task
    [listed] = (await todo.ListTasks(is_recurring=True)).tasks
    assert listed == task


async def test_the_simple_form_is_enough(todo: Todo) -> None:
    yearly = task_pb2.RECURRENCE_SCHEDULE_YEARLY
    task = (await todo.CreateTask(title="x", is_recurring=True, recurrence_schedule=yearly, time_zone=BERLIN)).task
    assert (task.recurrence.frequency, task.repeat_from) == (
        recurrence.FREQUENCY_YEARLY,
        recurrence.REPEAT_FROM_DUE_NEXT_FUTURE,
    )


async def test_events_have_all_of_it(todo: Todo, todo_url: str) -> None:
    task = (await todo.CreateTask(title="x", recurrence=MONDAYS, time_zone=BERLIN, reminder_offsets=["-P1D"])).task
    await todo.CompleteTask(task_id=task.id)
    deleted = (await todo.DeleteTask(task_id=task.id)).task
    with psycopg.connect(todo_url) as connection:
        [payload] = connection.execute(
            "SELECT convert_from(value, 'UTF8')::jsonb #> '{data, payload}' FROM outbox ORDER BY seq DESC LIMIT 1"
        ).fetchone() or [{}]
    assert payload["recurrence"]["by_day"] == ["MO"]
    assert (payload["series_id"], payload["slot"], payload["time_zone"]) == (task.id, task.slot, BERLIN)
    assert (payload["repeat_from"], payload["reminder_offsets"]) == ("from_due_next_future", ["-P1D"])
    assert payload["completed_at"][:19] == deleted.complete_time.ToJsonString()[:19]
    assert payload["deleted_at"][:19] == deleted.delete_time.ToJsonString()[:19]


async def test_how_it_recurs_changes_from_this_instance_on(todo: Todo, todo_url: str) -> None:
    task = (
        await todo.CreateTask(title="x", recurrence=DAILY, time_zone=BERLIN, due_time=due("2026-03-02T08:00:00Z"))
    ).task
    titled = (await todo.UpdateTask(**change(task, title="y", due_time=due("2026-03-02T15:00:00Z")))).task
    assert (titled.series_id, titled.slot) == (task.id, "2026-03-02T09:00:00")
    weekly = (await todo.UpdateTask(**change(task, recurrence=MONDAYS, title="z"))).task
    assert weekly.series_id not in ("", task.id)
    assert (weekly.slot, weekly.title) == ("2026-03-02T09:00:00", "z")
    once = (await todo.UpdateTask(**change(task, recurrence=None))).task
    assert not once.is_recurring
    assert not any(once.HasField(name) for name in ("recurrence", "time_zone", "series_id", "slot"))
    assert [version for _, version in events(todo_url, task.id)] == [1, 2, 3, 4]


async def test_reminder_offsets_are_changed_and_cleared_as_a_list(todo: Todo, a_task: TaskBuilder) -> None:
    task = await a_task(reminder_offsets=["-P1D"])
    with refused("FIELD_NOT_IN_MASK", field="reminder_offsets"):
        await todo.UpdateTask(
            task_id=task.id, update_mask=FieldMask(paths=["title"]), title="y", reminder_offsets=["-P2D"]
        )
    changed = (await todo.UpdateTask(**change(task, reminder_offsets=["-PT5M", "-P2D"]))).task
    assert list(changed.reminder_offsets) == ["-PT5M", "-P2D"]
    assert not (await todo.UpdateTask(**change(task, reminder_offsets=None))).task.reminder_offsets


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"is_recurring": True}, "INVALID_REQUEST", "recurrence_schedule"),
        ({"recurrence": {"interval": 2}}, "INVALID_REQUEST", "recurrence.frequency"),
        ({"recurrence": {"frequency": 1, "interval": 1001}}, "INVALID_REQUEST", "recurrence.interval"),
        ({"recurrence": {"frequency": 2, "by_month_day": [3]}}, "INVALID_REQUEST", "recurrence.by_month_day"),
        ({"recurrence": {"frequency": 1, "until_date": "2026-02-30"}}, "INVALID_REQUEST", "recurrence.until_date"),
        ({"recurrence": {"frequency": 1}, "recurrence_schedule": 2}, "RECURRENCE_CONTRADICTION", "recurrence_schedule"),
        ({"time_zone": BERLIN}, "RECURRENCE_CONTRADICTION", "time_zone"),
        ({"repeat_from": 3}, "RECURRENCE_CONTRADICTION", "repeat_from"),
        ({"recurrence": {"frequency": 1}, "time_zone": "Mars/Olympus"}, "TIME_ZONE_UNKNOWN", "time_zone"),
        ({"recurrence": {"frequency": 1}, "time_zone": ""}, "INVALID_REQUEST", "time_zone"),
        ({"recurrence": {"frequency": 1}, "repeat_from": 99}, "INVALID_REQUEST", "repeat_from"),
        ({"reminder_offsets": ["-P1D", "P1D"]}, "REMINDER_OFFSET_INVALID", "reminder_offsets[1]"),
        ({"reminder_offsets": ["-P1D", "-P1D"]}, "INVALID_REQUEST", "reminder_offsets"),
        ({"reminder_offsets": [f"-PT{hours}H" for hours in range(1, 12)]}, "INVALID_REQUEST", "reminder_offsets"),
        (
            {"recurrence": MONDAYS, "time_zone": BERLIN, "due_time": {"seconds": 0}},
            "DUE_TIME_NOT_IN_RECURRENCE",
            "due_time",
        ),
    ],
)
async def test_a_wrong_field_is_refused_by_its_name_alone_in_a_batch_and_in_an_update(
    todo: Todo, a_task: TaskBuilder, fields: dict[str, Any], reason: str, field: str
) -> None:
    task = await a_task()
    new = pb.CreateTaskRequest(title="x", **fields)
    for request, path in (
        (new, field),
        (pb.BatchCreateTasksRequest(requests=[{"title": "x"}, new]), f"requests[1].{field}"),
        (pb.UpdateTaskRequest(task_id=task.id, update_mask=FieldMask(paths=list(fields)), **fields), field),
    ):
        if "is_recurring" in fields and isinstance(request, pb.UpdateTaskRequest):
            continue  # the rule of a state, see test_rules.py
        with refused(reason) as error:
            await todo.send(request)
        assert path in error.fields, error
    assert [each.etag for each in (await todo.ListTasks()).tasks] == ["v1"]


class TestUndo:
    """What ReopenTask, DeleteTask and UndeleteTask leave as it was."""

    async def test_an_instance_keeps_its_place_through_every_verb(self, todo: Todo) -> None:
        task = (await todo.CreateTask(title="x", recurrence=DAILY, time_zone=BERLIN)).task
        for verb in ("Start", "Complete", "Reopen", "Delete", "Undelete", "Complete"):
            moved = (await getattr(todo, f"{verb}Task")(task_id=task.id)).task
            assert (moved.series_id, moved.slot, moved.recurrence) == (task.series_id, task.slot, task.recurrence)

    async def test_how_a_complete_instance_recurs_cannot_change_until_it_is_reopened(self, todo: Todo) -> None:
        task = (await todo.CreateTask(title="x", recurrence=DAILY, time_zone=BERLIN)).task
        await todo.CompleteTask(task_id=task.id)
        with refused("TASK_ALREADY_COMPLETE", task_id=task.id):
            await todo.UpdateTask(**change(task, recurrence=MONDAYS))
        await todo.ReopenTask(task_id=task.id)
        assert (await todo.UpdateTask(**change(task, recurrence=MONDAYS))).task.recurrence.by_day


class TestBound:
    """No user has more series than may be."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(series, "MOST_SERIES", 3)

    @staticmethod
    def daily() -> pb.CreateTaskRequest:
        return pb.CreateTaskRequest(title="x", recurrence=DAILY, time_zone=BERLIN)

    async def test_a_series_too_many_is_refused_however_it_would_come(self, todo: Todo, a_task: TaskBuilder) -> None:
        plain = await a_task()
        first, *_ = [(await todo.send(self.daily())).task for _ in range(3)]
        for call in (
            todo.send(self.daily()),
            todo.BatchCreateTasks(requests=[pb.CreateTaskRequest(title="x"), self.daily()]),
            todo.UpdateTask(**change(plain, recurrence=DAILY, time_zone=BERLIN)),
        ):
            with refused("TOO_MANY_SERIES", limit="3"):
                await call
        await todo.DeleteTask(task_id=first.id)
        replacing = (await todo.send(self.daily())).task
        with refused("TOO_MANY_SERIES"):
            await todo.UndeleteTask(task_id=first.id)
        await todo.UpdateTask(**change(replacing, recurrence=None))
        await todo.UndeleteTask(task_id=first.id)
        assert (await todo.another_user().send(self.daily())).task.is_recurring
        assert len((await todo.ListTasks()).tasks) == 5

    async def test_what_recurs_already_can_be_changed_completed_and_reopened_at_the_bound(self, todo: Todo) -> None:
        tasks = [(await todo.send(self.daily())).task for _ in range(3)]
        await todo.UpdateTask(**change(tasks[0], title="y"))
        await todo.UpdateTask(**change(tasks[0], recurrence=MONDAYS))
        await todo.CompleteTask(task_id=tasks[1].id)
        with refused("TOO_MANY_SERIES"):  # the next instance follows
            await todo.send(self.daily())
        await todo.ReopenTask(task_id=tasks[1].id)

    async def test_calls_that_race_do_not_pass_the_bound(self, todo: Todo) -> None:
        calls = [todo.send(self.daily()) for _ in range(8)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert len([each for each in done if not isinstance(each, BaseException)]) == 3

    async def test_a_repeated_call_gets_its_response_at_the_bound(self, todo: Todo) -> None:
        request = self.daily()
        request.request_id = new_id()
        first = await todo.send(request)
        for _ in range(2):
            await todo.send(self.daily())
        assert await todo.send(request) == first


class TestZoneOfTheUser:
    """A task that names no zone recurs in that of its user, which auth knows."""

    @pytest.fixture
    def auth_settings(self, service_url: ServiceUrl, valkey: str, keys: Keys, auth_address: str) -> AuthSettings:
        common = settings_for(
            database_url=service_url("auth"), redis_url=valkey, caller_keys=f"todo={keys.public_service_key('todo')}"
        )
        settings = vars(common) | {"listen": auth_address, "signing_key_file": str(keys.signing_key())}
        return AuthSettings(**settings, refresh_hash_key="of these tests")

    @pytest.fixture
    async def user(self, channel: grpc.aio.Channel, signer: Signer, auth_settings: AuthSettings) -> AsyncIterator[Todo]:
        """A user in Tokyo; auth serves as long as the test runs."""
        async with serving(without_broker(auth.build(auth_settings))) as auth_channel:
            users = user_service_pb2_grpc.UserServiceStub(auth_channel)
            request = user_service_pb2.RegisterRequest(
                email="someone@example.com", password="a horse and 2 staples", time_zone=TOKYO
            )
            registered = (await users.Register(request)).user
            yield Todo(channel, signer, registered.id)

    async def test_new_and_changed_tasks_take_it(self, user: Todo) -> None:
        created = (await user.CreateTask(title="x", recurrence=DAILY)).task
        batched = (await user.BatchCreateTasks(requests=[{"title": "y"}, {"title": "z", "recurrence": DAILY}])).tasks
        changed = (await user.UpdateTask(**change(batched[0], recurrence=DAILY))).task
        assert [task.time_zone for task in (created, batched[1], changed)] == [TOKYO] * 3
        named = (await user.CreateTask(title="x", recurrence=DAILY, time_zone=BERLIN)).task
        cleared = (await user.UpdateTask(**change(named, time_zone=None))).task
        assert (named.time_zone, cleared.time_zone) == (BERLIN, TOKYO)

    async def test_without_auth_no_zone_is_guessed_and_other_tasks_are_served(
        self, todo: Todo, a_task: TaskBuilder
    ) -> None:
        task = await a_task()
        for call in (todo.CreateTask(title="x", recurrence=DAILY), todo.UpdateTask(**change(task, recurrence=DAILY))):
            with refused("UNAVAILABLE") as error:
                await call
            assert error.code is grpc.StatusCode.UNAVAILABLE
        assert (await todo.UpdateTask(**change(task, title="y"))).task.title == "y"
        assert (await todo.CreateTask(title="x", recurrence=DAILY, time_zone=BERLIN)).task.is_recurring
