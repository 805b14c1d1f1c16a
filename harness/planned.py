"""What a user of a running stack has in the calendar service, made by its RPCs."""

from collections.abc import Callable
from typing import Any

from focusmesh.calendar.v1 import (
    calendar_file_service_pb2,
    calendar_subscription_service_pb2,
    event_pb2,
    event_service_pb2,
    occurrence_service_pb2,
)
from focusmesh.todo.v1 import task_service_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from harness.notified import NOWHERE
from harness.waiting import wait_until
from mesh.runtime.ids import new_id

START = "2027-06-15T09:00:00"
"""When the events begin."""
WINDOW = {"start_time": Timestamp(seconds=1_812_931_200), "end_time": Timestamp(seconds=1_813_104_000)}
"""The two days from 2027-06-14 on, in UTC."""
KEPT = 3
"""Feeds and subscriptions, of which a user has only a few."""


class Planned:
    """Makes what RPCs of the calendar service are called about."""

    def __init__(self, call: Callable[[str, Message], Any]) -> None:
        """call: an RPC in the name of the user."""
        self._call = call

    def fitting(self, method: str, names: list[str]) -> dict[str, Any]:
        """Values of a valid request that must exist, or belong together."""
        makers: dict[str, Callable[[], Any]] = {
            "event_id": lambda: self._event(is_deleted=method == "UndeleteEvent"),
            "occurrence_id": lambda: self._occurrence(is_cancelled=method == "RestoreOccurrence"),
            "feed_id": self._feed,
            "subscription_id": self._subscription,
        }
        given = {name: make() for name, make in makers.items() if name in names and method not in _LISTS}
        if method == "PlanTask":
            request = task_service_pb2.CreateTaskRequest(title="Write")
            given["todo_task_id"] = self._call("CreateTask", request).task.id
        elif {"start_time", "end_time"} <= set(names):
            given |= WINDOW
        elif method in ("UpdateEvent", "DeleteEvent"):
            given |= {"scope": event_service_pb2.EVENT_SCOPE_FOLLOWING, "slot": START}
        elif method == "StartOccurrence":
            given["when_running"] = occurrence_service_pb2.WHEN_SESSION_RUNS_FINISH_CURRENT
        elif method == "CreateFeed":
            self._make_room_for_a_feed()
        elif method == "CreateSubscription":
            self._make_room_for_a_subscription()
            given["url"] = f"{NOWHERE}{new_id()}.ics"
        return given

    def make_pages(self) -> None:
        """Events, occurrences, conflicts and reminders for two pages of each."""
        for _ in range(3):
            self._event(reminders=[event_pb2.EventReminder(offset="-PT10M")])

    def start_two(self) -> None:
        """Two occurrences of 2026 that were started, so that history knows their plan."""
        create = event_service_pb2.CreateEventRequest(title="Deep work", start="2026-07-01T09:00:00", time_zone="UTC")
        for _ in range(2):
            request = occurrence_service_pb2.StartOccurrenceRequest(
                occurrence_id=f"{self._call('CreateEvent', create).event.id}_20260701T090000",
                when_running=occurrence_service_pb2.WHEN_SESSION_RUNS_FINISH_CURRENT,
            )
            self._call("StartOccurrence", request)

    def _event(self, *, is_deleted: bool = False, **fields: Any) -> str:
        request = event_service_pb2.CreateEventRequest(title="Deep work", start=START, time_zone="UTC", **fields)
        event_id: str = self._call("CreateEvent", request).event.id
        if is_deleted:
            self._call("DeleteEvent", event_service_pb2.DeleteEventRequest(event_id=event_id))
        return event_id

    def _occurrence(self, *, is_cancelled: bool) -> str:
        occurrence_id = f"{self._event()}_{START.replace('-', '').replace(':', '')}"
        if is_cancelled:
            cancel = occurrence_service_pb2.CancelOccurrenceRequest(occurrence_id=occurrence_id)
            self._call("CancelOccurrence", cancel)
        return occurrence_id

    def _feed(self) -> str:
        self._make_room_for_a_feed()
        request = calendar_file_service_pb2.CreateFeedRequest(name="Phone")
        made: str = self._call("CreateFeed", request).feed.id
        return made

    def _make_room_for_a_feed(self) -> None:
        for feed in self._call("ListFeeds", calendar_file_service_pb2.ListFeedsRequest()).feeds[:-KEPT]:
            self._call("DeleteFeed", calendar_file_service_pb2.DeleteFeedRequest(feed_id=feed.id))

    def _subscription(self) -> str:
        self._make_room_for_a_subscription()
        url = f"{NOWHERE}{new_id()}.ics"
        request = calendar_subscription_service_pb2.CreateSubscriptionRequest(url=url)
        made: str = self._call("CreateSubscription", request).subscription.id

        def was_tried() -> bool:
            read = calendar_subscription_service_pb2.GetSubscriptionRequest(subscription_id=made)
            return bool(self._call("GetSubscription", read).subscription.error)

        wait_until(was_tried, "the address of a subscription is tried", seconds=30)
        return made

    def _make_room_for_a_subscription(self) -> None:
        pb = calendar_subscription_service_pb2
        for subscription in self._call("ListSubscriptions", pb.ListSubscriptionsRequest()).subscriptions[:-KEPT]:
            self._call("DeleteSubscription", pb.DeleteSubscriptionRequest(subscription_id=subscription.id))


_LISTS = {"ListEvents", "ListOccurrences", "FindConflicts", "ExportEvents"}
"""In which ids are filters."""
