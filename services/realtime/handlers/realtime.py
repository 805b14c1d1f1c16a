"""The RPC of RealtimeService."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from focusmesh.realtime.v1 import realtime_service_pb2 as pb
from focusmesh.realtime.v1 import realtime_service_pb2_grpc as rpc

from mesh.rpc.call import Context, current_call
from services.realtime.handlers.sessions import StreamSession, StreamSessions

_LAST_FRAME_SECONDS = 1.0
"""How long a frame that is on its way may take once the stream has to end."""


class RealtimeHandlers(rpc.RealtimeServiceServicer):
    """Streams of the caller."""

    def __init__(self, sessions: StreamSessions) -> None:
        self._subscriptions = sessions

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> AsyncIterator[pb.SubscribeResponse]:
        async with (
            self._subscriptions.open(current_call().identity, request.cursor) as subscription,
            aclosing(_answers(subscription)) as responses,
        ):
            async for response in responses:
                yield response


async def _answers(subscription: StreamSession) -> AsyncGenerator[pb.SubscribeResponse, None]:
    """The frames. A client that does not take the last one cannot keep the stream from ending.

    The task is cancelled then, which closes this generator, which says why in place of the cancellation.
    """
    task, loop = cast("asyncio.Task[None]", asyncio.current_task()), asyncio.get_running_loop()
    subscription.end.add_done_callback(lambda _: loop.call_later(_LAST_FRAME_SECONDS, task.cancel))
    async with aclosing(subscription.frames()) as frames:
        async for frame in frames:
            try:
                yield pb.SubscribeResponse(event=frame)
            except GeneratorExit:
                if subscription.end.done():
                    task.uncancel()
                    raise subscription.end.result() from None
                raise
