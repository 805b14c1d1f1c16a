"""The services that pomodoro calls."""

from focusmesh.auth.v1.preference_service_pb2_grpc import PreferenceServiceStub

from mesh.platform import Platform


def preferences(platform: Platform) -> PreferenceServiceStub:
    """Preferences of users, from auth."""
    return PreferenceServiceStub(platform.client("auth").channel)
