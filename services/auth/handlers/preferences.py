"""The RPCs of PreferenceService, one method each."""

from focusmesh.auth.v1 import preference_service_pb2 as pb
from focusmesh.auth.v1 import preference_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.rpc.call import Context
from services.auth import wire
from services.auth.store import accounts


class PreferenceHandlers(rpc.PreferenceServiceServicer):
    """Preferences of any user, for other services."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def GetUserPreferences(
        self,
        request: pb.GetUserPreferencesRequest,
        context: Context,
    ) -> pb.GetUserPreferencesResponse:
        async with self.db.connection() as connection:
            preferences = await accounts.get_preferences(connection, request.user_id)
        return pb.GetUserPreferencesResponse(preferences=wire.preferences_to_pb(preferences))
