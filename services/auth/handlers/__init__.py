"""The RPCs of auth, one class per service of the contract."""

from services.auth.handlers.contacts import ContactHandlers
from services.auth.handlers.emails import EmailHandlers, MailLimit
from services.auth.handlers.guests import GuestHandlers
from services.auth.handlers.keys import KeyHandlers, OwnKeys
from services.auth.handlers.passwords import PasswordWorker
from services.auth.handlers.preferences import PreferenceHandlers
from services.auth.handlers.sessions import SessionHandlers
from services.auth.handlers.users import UserHandlers

__all__ = [
    "ContactHandlers",
    "EmailHandlers",
    "GuestHandlers",
    "KeyHandlers",
    "MailLimit",
    "OwnKeys",
    "PasswordWorker",
    "PreferenceHandlers",
    "SessionHandlers",
    "UserHandlers",
]
