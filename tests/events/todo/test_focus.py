"""From what a focus session reports on the broker to the sums that a task shows."""

from typing import Any

import grpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc

from harness.waiting import until
from mesh.events.outbox import Event
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from tests.support.session_events import HISTORY_TOPIC, TOPIC, a_correction, a_session_event
from tests.support.task_events import publish
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub


class Session:
    """A session in which one todo task is worked on."""

    def __init__(self, user_id: str, task_id: str) -> None:
        self._user_id, self._task_id, self._id = user_id, task_id, new_id()

    def event(self, version: int, seconds: int, pomodoros: int = 0, *, delete_time: str | None = None) -> Event:
        """What it reports at a version."""
        worked = {"focused_seconds": seconds, "pomodoro_count": pomodoros}
        return a_session_event(self._user_id, **self._fields(version, worked, delete_time))

    def correction(self, version: int, seconds: int, pomodoros: int = 0, *, delete_time: str | None = None) -> Event:
        """What history says of it at a version of its own."""
        worked = {"focused_seconds": seconds, "pomodoro_count": pomodoros}
        return a_correction(self._user_id, **self._fields(version, worked, delete_time))

    def _fields(self, version: int, worked: dict[str, int], delete_time: str | None) -> dict[str, Any]:
        tasks = [{"todo_task_id": self._task_id} | worked]
        return {"session_id": self._id, "version": version, "tasks": tasks, "delete_time": delete_time}


async def test_a_task_shows_what_was_worked_on_it_whatever_comes_late_or_twice(
    channel: grpc.aio.Channel, producer: Producer, signer: Signer
) -> None:
    user = UserStub(rpc.TaskServiceStub(channel), pb, signer)
    task = (await user.CreateTask(title="Write", estimated_pomodoros=4)).task
    one, other = Session(user.user_id, task.id), Session(user.user_id, task.id)

    async def shows(seconds: int, pomodoros: int) -> None:
        async def seen() -> bool:
            [shown] = (await user.ListTasks()).tasks
            return (shown.focus_seconds, shown.pomodoros) == (seconds, pomodoros)

        await until(seen, f"the task shows {seconds} s and {pomodoros} pomodoros")

    first, second, third = one.event(1, 0), one.event(2, 600), one.event(3, 1500, 1)
    await publish(producer, TOPIC, [first, third, second, third, first, other.event(1, 60)])
    await shows(1560, 1)
    await publish(producer, TOPIC, [one.event(4, 1500, 1, delete_time="2026-03-02T10:00:00Z"), second])
    await shows(60, 0)
    await publish(producer, TOPIC, [one.event(5, 1500, 1), third])
    await shows(1560, 1)
    await publish(producer, HISTORY_TOPIC, [one.correction(2, 900), one.correction(1, 5), one.correction(2, 900)])
    await shows(960, 0)
    await publish(producer, HISTORY_TOPIC, [one.correction(3, 900, delete_time="2026-03-02T10:00:00Z")])
    await shows(60, 0)
    await publish(producer, HISTORY_TOPIC, [one.correction(4, 900)])
    await shows(960, 0)
    shown = (await user.GetTask(task_id=task.id)).task
    assert (shown.etag, shown.update_time, shown.estimated_pomodoros) == (task.etag, task.update_time, 4)
