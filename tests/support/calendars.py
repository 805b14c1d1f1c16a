"""The calendar service's own settings."""

from typing import Any

from services.calendar.settings import Settings
from tests.support import serving
from tests.support.ports import LOOPBACK, free_ports


def settings_for(**common: Any) -> Settings:
    """Settings of a calendar service in this process, which may read calendars at loopback addresses.

    common: as `serving.settings_for` has them.
    """
    return Settings(
        **vars(serving.settings_for(**common)),
        http_listen=f"{LOOPBACK}:{free_ports(1)[0]}",
        outgoing_allowed_networks="127.0.0.1/32",
    )
