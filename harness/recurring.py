"""What a user of a running stack has in the recurrence service: it follows from recurring tasks."""

import time
from collections.abc import Callable
from typing import Any

from focusmesh.recurrence.v1 import schedule_pb2, schedule_service_pb2
from focusmesh.todo.v1 import task_service_pb2
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import wait_until

DAY = 86400


class Recurring:
    """Makes what RPCs of the recurrence service are called about."""

    def __init__(self, call: Callable[[str, Message], Any], shown_in: dict[str, tuple[str, str]]) -> None:
        """call: an RPC in the name of the user. shown_in: by what resource an entry of a log is shown."""
        self._call, self._shown_in = call, shown_in
        self._logged = ""

    def fitting(self, method: str, names: list[str]) -> dict[str, Any]:
        """Values of a valid request that must exist, or belong together."""
        given: dict[str, Any] = {}
        if method == "ListCompletions":
            given["schedule_id"] = self.logged()
        elif "schedule_id" in names:
            schedule = self.schedule()
            given["schedule_id"] = schedule.id
            if method == "UpdateSeries":
                given |= {"slot": schedule.open_slot, "changes": self._moved(schedule)}
        if "completion_id" in names:
            given["completion_id"] = self._completion()
        return given

    def schedule(self) -> schedule_pb2.Schedule:
        """The schedule of a new daily task that reminds a day before."""
        request = task_service_pb2.CreateTaskRequest(
            title="Water the plants",
            due_time=Timestamp(seconds=int(time.time()) + 3 * DAY),
            recurrence=recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY),
            time_zone="UTC",
            reminder_offsets=["-P1D"],
        )
        return self._settled(self._call("CreateTask", request).task.series_id, "")

    def logged(self) -> str:
        """Id of a schedule whose log has two entries."""
        if not self._logged:
            self._logged = self._complete(self._complete(self.schedule())).id
        return self._logged

    def _completion(self) -> str:
        schedule = self._complete(self.schedule())
        request = schedule_service_pb2.ListCompletionsRequest(schedule_id=schedule.id)
        completion_id: str = self._call("ListCompletions", request).completions[0].id
        self._shown_in[completion_id] = ("schedule_id", schedule.id)
        return completion_id

    def _complete(self, schedule: schedule_pb2.Schedule) -> schedule_pb2.Schedule:
        self._call("CompleteTask", task_service_pb2.CompleteTaskRequest(task_id=schedule.open_task_id))
        return self._settled(schedule.id, schedule.open_task_id)

    def _settled(self, schedule_id: str, before: str) -> schedule_pb2.Schedule:
        """The schedule, once another task than `before` is open."""
        found: list[schedule_pb2.Schedule] = []

        def has_another() -> bool:
            listed = self._call("ListSchedules", schedule_service_pb2.ListSchedulesRequest(page_size=5)).schedules
            known = [each for each in listed if each.id == schedule_id]
            found.extend(each for each in known if each.open_task_id not in ("", before))
            return bool(found)

        wait_until(has_another, "the next instance is open")
        return found[0]

    @staticmethod
    def _moved(schedule: schedule_pb2.Schedule) -> schedule_service_pb2.SeriesChanges:
        due = Timestamp(seconds=schedule.next_due_time.seconds + 60)
        return schedule_service_pb2.SeriesChanges(update_mask=FieldMask(paths=["due_time"]), due_time=due)
