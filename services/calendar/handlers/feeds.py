"""The RPCs of CalendarFileService that are about feeds, one method each."""

from focusmesh.calendar.v1 import calendar_file_service_pb2 as pb
from focusmesh.calendar.v1 import calendar_file_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.calendar.errors import FeedsFull
from services.calendar.model import Feed
from services.calendar.rules import feeds as rules
from services.calendar.store import feeds as store
from services.calendar.store.changes import Calendars
from services.calendar.wire.feeds import feed_to_pb


class FeedHandlers(rpc.CalendarFileServiceServicer):
    """Feeds of the caller."""

    def __init__(self, db: Database, calendars: Calendars, clock: Clock) -> None:
        self.db, self.calendars, self.clock = db, calendars, clock

    async def CreateFeed(self, request: pb.CreateFeedRequest, context: Context) -> pb.CreateFeedResponse:
        token, now, user_id = rules.new_token(), self.clock(), current_call().user_id
        feed = Feed(new_id(), user_id, request.name, rules.hash_of(token), request.include_tasks, now, None, "", now)
        async with self.calendars.user(user_id, alone=True) as (tx, _):
            if len(await store.list_feeds(tx, user_id)) >= rules.MOST_FEEDS:
                raise FeedsFull(limit=rules.MOST_FEEDS)
            await store.insert_feed(tx, feed)
        return pb.CreateFeedResponse(feed=feed_to_pb(feed), path=rules.path_of(token))

    async def ListFeeds(self, request: pb.ListFeedsRequest, context: Context) -> pb.ListFeedsResponse:
        async with self.db.connection() as connection:
            feeds = await store.list_feeds(connection, current_call().user_id)
        return pb.ListFeedsResponse(feeds=map(feed_to_pb, feeds))

    async def DeleteFeed(self, request: pb.DeleteFeedRequest, context: Context) -> pb.DeleteFeedResponse:
        call = current_call()

        async def decide(connection: Connection) -> pb.DeleteFeedResponse:
            feed = await store.get_feed(connection, call.user_id, request.feed_id)
            response = pb.DeleteFeedResponse(feed=feed_to_pb(feed))
            await store.delete_feed(connection, feed, call.side_effects(response))
            return response

        return await self.db.retry_on_conflict(decide)
