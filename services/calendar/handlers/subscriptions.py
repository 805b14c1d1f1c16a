"""The RPCs of CalendarSubscriptionService, one method each."""

from collections.abc import Callable

from focusmesh.calendar.v1 import calendar_subscription_service_pb2 as pb
from focusmesh.calendar.v1 import calendar_subscription_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.outgoing.guard import Guard
from mesh.rpc.call import Context, current_call
from mesh.runtime.clock import Clock
from mesh.runtime.errors import FieldViolation
from mesh.runtime.ids import new_id
from services.calendar.errors import SubscriptionsFull, UrlNotAllowed
from services.calendar.model import CalendarSubscription
from services.calendar.rules import subscriptions as rules
from services.calendar.store import subscriptions as store
from services.calendar.store.changes import Calendars
from services.calendar.wire.subscriptions import subscription_to_pb


class SubscriptionHandlers(rpc.CalendarSubscriptionServiceServicer):
    """Calendars of others that the caller follows."""

    def __init__(
        self, db: Database, calendars: Calendars, guard: Guard, clock: Clock, wake_reader: Callable[[], None]
    ) -> None:
        self.db, self.calendars, self.guard, self.clock, self.wake_reader = db, calendars, guard, clock, wake_reader

    async def CreateSubscription(
        self, request: pb.CreateSubscriptionRequest, context: Context
    ) -> pb.CreateSubscriptionResponse:
        call, now, url = current_call(), self.clock(), self._callable(request.url)
        subscription = CalendarSubscription(
            id=new_id(),
            user_id=call.user_id,
            name=request.name,
            url=url,
            http_etag=None,
            http_last_modified=None,
            event_count=0,
            issue_count=0,
            read_at=None,
            tried_at=None,
            next_read_at=now,
            leased_until=None,
            failures=0,
            error="",
            created_at=now,
            deleted_at=None,
            version=1,
        )
        response = pb.CreateSubscriptionResponse(subscription=subscription_to_pb(subscription))
        async with self.calendars.user(call.user_id, alone=True) as (tx, _):
            if len(await store.list_subscriptions(tx, call.user_id)) >= rules.MOST_SUBSCRIPTIONS:
                raise SubscriptionsFull(limit=rules.MOST_SUBSCRIPTIONS)
            await store.insert_subscription(tx, subscription, call.side_effects(response))
        self.wake_reader()
        return response

    async def GetSubscription(self, request: pb.GetSubscriptionRequest, context: Context) -> pb.GetSubscriptionResponse:
        async with self.db.connection() as connection:
            found = await store.get_subscription(connection, current_call().user_id, request.subscription_id)
        return pb.GetSubscriptionResponse(subscription=subscription_to_pb(found))

    async def ListSubscriptions(
        self, request: pb.ListSubscriptionsRequest, context: Context
    ) -> pb.ListSubscriptionsResponse:
        async with self.db.connection() as connection:
            found = await store.list_subscriptions(connection, current_call().user_id)
        return pb.ListSubscriptionsResponse(subscriptions=map(subscription_to_pb, found))

    async def RefreshSubscription(
        self, request: pb.RefreshSubscriptionRequest, context: Context
    ) -> pb.RefreshSubscriptionResponse:
        call, now = current_call(), self.clock()

        async def decide(connection: Connection) -> pb.RefreshSubscriptionResponse:
            found = await store.get_subscription(connection, call.user_id, request.subscription_id)
            subscription = rules.refreshed(found, now)
            response = pb.RefreshSubscriptionResponse(subscription=subscription_to_pb(subscription))
            await store.move_reading(connection, subscription, call.side_effects(response))
            return response

        response = await self.db.retry_on_conflict(decide)
        self.wake_reader()
        return response

    async def DeleteSubscription(
        self, request: pb.DeleteSubscriptionRequest, context: Context
    ) -> pb.DeleteSubscriptionResponse:
        call, now = current_call(), self.clock()

        async def decide(connection: Connection) -> tuple[CalendarSubscription, pb.DeleteSubscriptionResponse]:
            found = await store.get_subscription(connection, call.user_id, request.subscription_id)
            response = pb.DeleteSubscriptionResponse(subscription=subscription_to_pb(found))
            ended = found._replace(deleted_at=now)
            await store.end_subscription(connection, ended, call.side_effects(response))
            return ended, response

        ended, response = await self.db.retry_on_conflict(decide)
        await store.remove(self.db, ended)  # when it does not come that far, the reader does it
        return response

    def _callable(self, url: str) -> str:
        address = rules.address_of(url)
        try:
            self.guard.parse(address)
        except ValueError as error:
            raise UrlNotAllowed(problem=str(error), fields=[FieldViolation("url", str(error))]) from None
        return address
