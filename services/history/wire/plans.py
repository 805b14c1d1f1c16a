"""Converts events of the calendar, and what was planned in it."""

from collections.abc import Sequence

from focusmesh.history.v1 import plan_summary_pb2 as pb

from mesh.events.envelope import ConsumedEvent
from mesh.runtime import clock
from services.history.model import PlanBucket, PlanFigures, PlanGroup, PlannedOccurrence, Zone
from services.history.rules import days
from services.history.wire import instant_from_json

_GROUP_FROM_PB = {
    pb.PLAN_GROUP_OCCURRENCE: PlanGroup.OCCURRENCE,
    pb.PLAN_GROUP_EVENT: PlanGroup.EVENT,
    pb.PLAN_GROUP_SERIES: PlanGroup.SERIES,
    pb.PLAN_GROUP_WEEK: PlanGroup.WEEK,
}
_STATE_TO_PB = {
    None: pb.PLAN_STATE_UNSPECIFIED,
    "planned": pb.PLAN_STATE_PLANNED,
    "completed": pb.PLAN_STATE_COMPLETED,
    "cancelled": pb.PLAN_STATE_CANCELLED,
}
_TIME_IS_OVER = ("occurrence-started", "occurrence-ended")


def occurrence_from_event(event: ConsumedEvent, zones: Sequence[Zone]) -> PlannedOccurrence | None:
    """The occurrence that an event of the calendar is about, as it shows it; None when it is about a whole event."""
    shown = event.data["payload"]["occurrence"]
    if shown is None:
        return None
    start = instant_from_json(shown["start_time"])
    return PlannedOccurrence(
        event.user_id,
        event.subject,
        shown["slot"],
        event.data["payload"]["series_id"],
        shown["title"],
        start,
        shown["planned_minutes"],
        days.date_at(zones, start),
        shown["status"],
        shown["focus_session_id"],
    )


def is_history(event: ConsumedEvent, occurrence: PlannedOccurrence) -> bool:
    """Whether an event makes an occurrence one that was planned: it ended or was started. One that takes whole days is
    no time that was planned for work, unless it was started."""
    return event.type in _TIME_IS_OVER and (
        occurrence.session_id is not None or not event.data["payload"]["is_all_day"]
    )


def group_from_pb(group: "pb.PlanGroup.ValueType") -> PlanGroup:
    """How what was planned is grouped."""
    return _GROUP_FROM_PB[group]


def figures_to_pb(figures: PlanFigures) -> pb.PlanFigures:
    """The message of figures."""
    return pb.PlanFigures(**figures._asdict())


def bucket_to_pb(bucket: PlanBucket) -> pb.PlanBucket:
    """The message of a group."""
    message = pb.PlanBucket(
        date="" if bucket.date is None else bucket.date.isoformat(),
        event_id=bucket.event_id,
        series_id=bucket.series_id,
        slot=bucket.slot,
        title=bucket.title,
        state=_STATE_TO_PB[bucket.status],
        focus_session_id=bucket.session_id,
        figures=figures_to_pb(bucket.figures),
    )
    clock.set_timestamp(message.planned_start_time, bucket.start_time)
    return message
