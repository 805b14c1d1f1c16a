"""Where users are, from auth."""

from focusmesh.auth.v1.preference_service_pb2 import GetUserPreferencesRequest
from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub

from mesh.platform import Platform
from mesh.rpc.status import CalleeError

_SECONDS = 1.0
"""After so long auth counts as away."""


class Users:
    """The users of auth."""

    def __init__(self, platform: Platform) -> None:
        self._stub = PreferenceServiceStub(platform.client("auth").channel)

    async def time_zone(self, user_id: str) -> str | None:
        """The zone of a user now; None when the account is closed. Raises DependencyUnavailable."""
        try:
            request = GetUserPreferencesRequest(user_id=user_id)
            response = await self._stub.GetUserPreferences(request, timeout=_SECONDS)
        except CalleeError as error:
            if error.reason != "USER_NOT_FOUND":
                raise
            return None
        return response.preferences.time_zone
