"""What is known of that which reminders and deliveries are of."""

from collections.abc import Collection

from mesh.database.connection import Connection
from services.notification.model import Notification, Reminder, States
from services.notification.store.calendar import find_events, find_occurrences, find_successors
from services.notification.store.tasks import find_tasks


async def find_states(connection: Connection, rows: Collection[Reminder | Notification]) -> States:
    """Reads the last states of the tasks, events and occurrences of these rows."""
    tasks = {row.task_id for row in rows if row.task_id}
    events = {row.event_id for row in rows if row.event_id}
    slots = {(row.event_id, slot) for row in rows if row.event_id and (slot := row.payload.get("slot"))}
    successors = await find_successors(connection, slots) if slots else {}
    slots |= {(other, slot) for (_, slot), other in successors.items()}
    events |= set(successors.values())
    return States(
        await find_tasks(connection, tasks) if tasks else {},
        await find_events(connection, events) if events else {},
        await find_occurrences(connection, slots) if slots else {},
        successors,
    )
