"""Idempotency by request_id: the first response commits with its write, and is replayed to retries.

Nothing is looked up before a write: the primary key of the stored response makes a second write impossible, and only a
failed call looks for a stored response.
"""

import hashlib
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from psycopg.errors import UniqueViolation

from mesh.database.erasure import erase_of
from mesh.database.pool import Database
from mesh.events.outbox import StoredResponse
from mesh.events.shares import ShareExhausted
from mesh.runtime.errors import Overloaded, RequestIdReused, ResourceExhausted, ServiceError, Unavailable

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The caller of public RPCs, whose request_ids are as good as secrets: whoever sends one gets its response."""
KEPT_HOURS = 24


def fingerprint(request: Message) -> bytes:
    """A hash that distinguishes requests with the same request_id; covers no secrets (debug_redact)."""
    secrets = _secrets(request.DESCRIPTOR)
    if secrets:
        redacted = type(request)()
        redacted.CopyFrom(request)
        for name in secrets:
            redacted.ClearField(name)
        request = redacted
    return hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=32).digest()


def stored_response(user_id: str, method: str, request: Message, response: Message) -> StoredResponse | None:
    """The response to store with the write; None when the caller sent no request_id."""
    request_id: str = request.request_id  # type: ignore[attr-defined]  # only called for requests that have one
    if not request_id:
        return None
    return StoredResponse(user_id or NOBODY, method, request_id, fingerprint(request), response.SerializeToString())


async def load_response(database: Database, user_id: str, method: str, request: Message) -> bytes | None:
    """The stored response to this request, or None; raises RequestIdReused when its id came with another request."""
    request_id: str = request.request_id  # type: ignore[attr-defined]
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT fingerprint, response FROM idempotency"
            " WHERE user_id = %s::uuid AND method = %s AND request_id = %s::uuid",
            (user_id or NOBODY, method, request_id),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    if row[0] != fingerprint(request):
        raise RequestIdReused(request_id=request_id)
    response: bytes = row[1]
    return response


def may_be_replay(error: Exception) -> bool:
    """Whether a failed call may be a retry; False when it is refused for load or haste, or the database is unavailable.

    What is full may be full of what the first call wrote: quotas, and the user's share of responses and events.
    """
    if isinstance(error, UniqueViolation):
        return error.diag.constraint_name == "idempotency_pkey"
    if isinstance(error, Overloaded | Unavailable):
        return isinstance(error, ShareExhausted)
    return isinstance(error, ServiceError) and not (isinstance(error, ResourceExhausted) and error.retry_after)


async def delete_old(database: Database, limit: int) -> int:
    """Deletes up to `limit` responses older than a day; returns how many."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "DELETE FROM idempotency WHERE ctid = ANY(ARRAY("
            "SELECT ctid FROM idempotency WHERE created_at < now() - make_interval(hours => %s) LIMIT %s))",
            (KEPT_HOURS, limit),
        )
        return cursor.rowcount


erase_responses = erase_of("idempotency")
"""Stored responses of a user whose account was deleted."""


@cache
def _secrets(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in descriptor.fields if field.GetOptions().debug_redact)
