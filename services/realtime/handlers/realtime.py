"""The RPC of RealtimeService."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import cast

from focusmesh.realtime.v1 import realtime_service_pb2 as pb
from focusmesh.realtime.v1 import realtime_service_pb2_grpc as rpc

from mesh.rpc.call import Context, current_call
from services.realtime.handlers.sessions import StreamSession, StreamSessions

_LAST_WRITE_SECONDS = 1.0
"""How long a write may still take once the stream has to end."""


class RealtimeHandlers(rpc.RealtimeServiceServicer):
    """Streams of the caller."""

    def __init__(self, sessions: StreamSessions) -> None:
        self._sessions = sessions

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> AsyncIterator[pb.SubscribeResponse]:
        async with (
            self._sessions.open(current_call().identity, request.cursor) as session,
            aclosing(session.frames()) as frames,
        ):
            with _last_write_limited(session):
                async for frame in frames:
                    yield pb.SubscribeResponse(event=frame)


@contextmanager
def _last_write_limited(session: StreamSession) -> Iterator[None]:
    """Interrupts a write that a client does not accept after the stream had to end; raises the error that ends it.

    The interceptor writes each response in the task of the call. Cancelling that task interrupts the write, upon which
    the interceptor closes the generator; the GeneratorExit becomes the session's error and the cancellation is undone.
    """
    loop, task = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())
    interrupted = finished = False

    def interrupt() -> None:
        nonlocal interrupted
        if not finished:
            interrupted = True
            task.cancel()

    session.end.add_done_callback(lambda _: loop.call_later(_LAST_WRITE_SECONDS, interrupt))
    try:
        yield
    except (GeneratorExit, asyncio.CancelledError):
        if not interrupted:
            raise
        task.uncancel()
        raise session.end.result() from None
    finally:
        finished = True
