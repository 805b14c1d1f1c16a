"""What new sessions take from the settings of their user, which auth has."""

from contextlib import suppress

from focusmesh.auth.v1.preference_service_pb2 import GetUserPreferencesRequest
from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub

from mesh.rpc.call import current_call
from mesh.rpc.status import CalleeError
from mesh.runtime.errors import DeadlineExceeded, DependencyUnavailable
from services.pomodoro import wire
from services.pomodoro.model import Preferences

_SECONDS = 1.0
"""After so long the defaults of the specification stand for the settings of the user."""


class UserSettings:
    """Asks auth."""

    def __init__(self, preferences: PreferenceServiceStub) -> None:
        self._preferences = preferences

    async def read(self) -> tuple[Preferences, bool]:
        """The settings of the user that the call is about, and whether they are the defaults because auth did not tell
        them; of a guest, who has none, the defaults."""
        if current_call().identity.guest_until:
            return Preferences(), False
        asked = GetUserPreferencesRequest(user_id=current_call().user_id)
        with suppress(DependencyUnavailable, DeadlineExceeded, CalleeError):
            response = await self._preferences.GetUserPreferences(asked, timeout=_SECONDS)
            return wire.preferences_from_pb(response.preferences), False
        return Preferences(), True
