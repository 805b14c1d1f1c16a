"""Events in the tables, with their rows."""

from collections.abc import Mapping

from mesh.database.pool import Database
from mesh.events.outbox import SideEffects
from services.calendar.model import CalendarEvent, OccurrenceRow
from services.calendar.rules import changes
from services.calendar.store.changes import save
from tests.support.calendar_model import ZONE, rows_of


async def kept(
    db: Database, event: CalendarEvent, *rows: OccurrenceRow
) -> tuple[CalendarEvent, Mapping[str, OccurrenceRow]]:
    """An event with these rows, which is stored."""
    own = [row._replace(event_id=event.id, user_id=event.user_id) for row in rows]
    change = changes.created(event, rows_of(*own), ZONE)
    async with db.transaction() as tx:
        await save(tx, [change], SideEffects((), None, ""))
    return change.event, change.rows
