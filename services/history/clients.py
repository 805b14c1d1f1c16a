"""The services that history calls."""

from focusmesh.auth.v1 import user_pb2
from focusmesh.auth.v1.preference_service_pb2 import GetUserPreferencesRequest
from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub

from mesh.platform import Platform
from mesh.rpc.status import CalleeError
from mesh.runtime.clock import Clock
from services.history.model import Person, WeekStart, Zone

_WEEK_STARTS = {
    user_pb2.WEEK_START_SATURDAY: WeekStart.SATURDAY.value,
    user_pb2.WEEK_START_SUNDAY: WeekStart.SUNDAY.value,
}


class Preferences:
    """Preferences of users, from auth."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._stub, self._clock = PreferenceServiceStub(platform.client("auth").channel), clock

    async def person(self, user_id: str) -> Person:
        """Where a user is now; one whose account is closed counts as deleted. Raises DependencyUnavailable."""
        since = self._clock()
        try:
            response = await self._stub.GetUserPreferences(GetUserPreferencesRequest(user_id=user_id))
        except CalleeError as error:
            if error.reason != "USER_NOT_FOUND":
                raise
            return Person(user_id, (), WeekStart.MONDAY.value, True)
        found = response.preferences
        zones = (Zone(since, found.time_zone, found.day_start_minutes),)
        return Person(user_id, zones, _WEEK_STARTS.get(found.week_start, WeekStart.MONDAY.value), False)
