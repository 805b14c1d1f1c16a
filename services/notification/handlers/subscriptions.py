"""The RPCs of PushSubscriptionService, one method each."""

from focusmesh.notification.v1 import push_subscription_service_pb2 as pb
from focusmesh.notification.v1 import push_subscription_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from mesh.runtime.clock import Clock
from mesh.runtime.errors import FieldViolation
from mesh.runtime.ids import new_id
from services.notification import wire
from services.notification.clients import Guard, check_keys
from services.notification.errors import PushEndpointInvalid, PushKeysInvalid, TooManyPushSubscriptions
from services.notification.rules.targets import MOST_SUBSCRIPTIONS
from services.notification.store import recipients
from services.notification.store import targets as store


class PushSubscriptionHandlers(rpc.PushSubscriptionServiceServicer):
    """Browsers of the caller."""

    def __init__(self, db: Database, guard: Guard, clock: Clock, application_server_key: str) -> None:
        """application_server_key: base64url; empty where no push messages are sent."""
        self.db, self.guard, self.clock, self.key = db, guard, clock, application_server_key

    async def RegisterPushSubscription(
        self, request: pb.RegisterPushSubscriptionRequest, context: Context
    ) -> pb.RegisterPushSubscriptionResponse:
        call = current_call()
        try:
            self.guard.parse(request.endpoint)
        except ValueError as error:
            raise PushEndpointInvalid(problem=str(error), fields=[FieldViolation("endpoint", str(error))]) from None
        try:
            check_keys(request.p256dh, request.auth)
        except ValueError:
            raise PushKeysInvalid from None
        async with self.db.transaction() as tx:
            await recipients.lock_recipient(tx, call.user_id)
            there = await store.list_subscriptions(tx, call.user_id)
            same = next((each for each in there if each.endpoint == request.endpoint), None)
            if same is None and len(there) >= MOST_SUBSCRIPTIONS:
                raise TooManyPushSubscriptions(limit=MOST_SUBSCRIPTIONS)
            subscription = wire.subscription_from_pb(
                request, subscription_id=same.id if same else new_id(), user_id=call.user_id, now=self.clock()
            )
            response = pb.RegisterPushSubscriptionResponse(push_subscription=wire.subscription_to_pb(subscription))
            await store.put_subscription(tx, subscription, call.side_effects(response))
        return response

    async def ListPushSubscriptions(
        self, request: pb.ListPushSubscriptionsRequest, context: Context
    ) -> pb.ListPushSubscriptionsResponse:
        async with self.db.connection() as connection:
            found = await store.list_subscriptions(connection, current_call().user_id)
        return pb.ListPushSubscriptionsResponse(
            push_subscriptions=map(wire.subscription_to_pb, found), application_server_key=self.key
        )

    async def DeletePushSubscription(
        self, request: pb.DeletePushSubscriptionRequest, context: Context
    ) -> pb.DeletePushSubscriptionResponse:
        call = current_call()

        async with self.db.transaction() as tx:
            await recipients.lock_recipient(tx, call.user_id)
            subscription = await store.get_subscription(tx, call.user_id, request.push_subscription_id)
            response = pb.DeletePushSubscriptionResponse(push_subscription=wire.subscription_to_pb(subscription))
            await store.delete_subscription(tx, subscription, call.side_effects(response))
        return response
