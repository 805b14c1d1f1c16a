"""The RPC of RealtimeService."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from focusmesh.realtime.v1 import realtime_service_pb2 as pb
from focusmesh.realtime.v1 import realtime_service_pb2_grpc as rpc

from mesh.guard import Context, caller
from services.realtime.handlers.subscriptions import Subscriptions

_LAST_FRAME_SECONDS = 1.0
"""How long a frame that is on its way may take once the stream has to end."""


class RealtimeHandlers(rpc.RealtimeServiceServicer):
    """Streams of the caller."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> AsyncIterator[pb.SubscribeResponse]:
        async with (
            self._subscriptions.open(caller(context).identity, request.cursor) as subscription,
            aclosing(subscription.frames()) as frames,
        ):
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            if task is not None:
                subscription.end.add_done_callback(lambda _: loop.call_later(_LAST_FRAME_SECONDS, task.cancel))
            async for frame in frames:
                yield pb.SubscribeResponse(event=frame)
