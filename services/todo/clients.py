"""The services that todo calls."""

from focusmesh.auth.v1.preference_service_pb2 import GetUserPreferencesRequest
from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub

from mesh.platform import Platform

_SECONDS = 1.0
"""After so long auth counts as away."""


class Users:
    """Where users are, from auth."""

    def __init__(self, platform: Platform) -> None:
        self._preferences = PreferenceServiceStub(platform.client("auth").channel)

    async def time_zone(self, user_id: str) -> str:
        """The time zone of a user, now; raises DependencyUnavailable while auth is away."""
        request = GetUserPreferencesRequest(user_id=user_id)
        response = await self._preferences.GetUserPreferences(request, timeout=_SECONDS)
        return response.preferences.time_zone
