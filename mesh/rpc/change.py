"""How an RPC changes a row: read it, decide, and write its next version together with the event and the response."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.rpc.call import current_call

Row = TypeVar("Row")
Response = TypeVar("Response", bound=Message)


async def change(
    db: Database,
    *,
    read: Callable[[Connection], Awaitable[Row]],
    decide: Callable[[Row], Row],
    respond: Callable[[Row], Response],
    save: Callable[[Connection, Row, SideEffects], Awaitable[None]],
    event: Callable[[Row], Event] | None = None,
) -> Response:
    """Returns the response to the current call; reads and decides again when another write came first.

    A decision that returns the row it was given changes nothing: then only the response is stored, for a retry with
    the same request_id. Raises what `read` and `decide` raise, and Overloaded after eight conflicts.
    """
    call = current_call()

    async def attempt(connection: Connection) -> Response:
        row = await read(connection)
        changed = decide(row)
        response = respond(changed)
        if changed is row:
            await outbox.store_response(connection, call.side_effects(response))
        else:
            events = () if event is None else (event(changed),)
            await save(connection, changed, call.side_effects(response, *events))
        return response

    return await db.retry_on_conflict(attempt)
