"""The RPCs of the notification service, one method each."""

from focusmesh.notification.v1 import notification_preference_service_pb2 as pb
from focusmesh.notification.v1 import notification_preference_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from services.notification import store, wire


class NotificationPreferenceHandlers(rpc.NotificationPreferenceServiceServicer):
    """Preferences of the caller."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def GetNotificationPreferences(
        self, request: pb.GetNotificationPreferencesRequest, context: Context
    ) -> pb.GetNotificationPreferencesResponse:
        async with self.db.connection() as connection:
            recipient = await store.get_recipient(connection, current_call().user_id)
        return pb.GetNotificationPreferencesResponse(preferences=wire.preferences_to_pb(recipient))
