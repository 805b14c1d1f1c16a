"""The auth service: `python -m services.auth.main`."""

from pathlib import Path

from focusmesh.auth.v1.contact_service_pb2_grpc import add_ContactServiceServicer_to_server
from focusmesh.auth.v1.email_service_pb2_grpc import add_EmailServiceServicer_to_server
from focusmesh.auth.v1.guest_service_pb2_grpc import add_GuestServiceServicer_to_server
from focusmesh.auth.v1.key_service_pb2_grpc import add_KeyServiceServicer_to_server
from focusmesh.auth.v1.preference_service_pb2_grpc import add_PreferenceServiceServicer_to_server
from focusmesh.auth.v1.session_service_pb2_grpc import add_SessionServiceServicer_to_server
from focusmesh.auth.v1.user_service_pb2_grpc import add_UserServiceServicer_to_server
from focusmesh.scopes import GUEST_SCOPES, USER_SCOPES

from mesh.app import App, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from mesh.runtime.signing_keys import private_key, public_key
from services.auth.cache import GuestSessions
from services.auth.handlers import (
    ContactHandlers,
    EmailHandlers,
    GuestHandlers,
    KeyHandlers,
    MailLimit,
    OwnKeys,
    PasswordWorker,
    PreferenceHandlers,
    SessionHandlers,
    UserHandlers,
)
from services.auth.jobs import (
    DeletionPublisher,
    MailPurger,
    MailRequester,
    RegistrationCompleter,
    RevocationReseeder,
    SessionPurger,
)
from services.auth.model import LEAST_GUEST_HOURS, MOST_GUEST_HOURS
from services.auth.rules.tokens import RefreshTokens, Signer
from services.auth.settings import Settings


def build(settings: Settings, keys: KeySource | None = None) -> App:
    """Wires the service; raises OSError or ValueError when a key cannot be read. keys: replaces its own."""
    signer = _signer(settings)
    platform = Platform("auth", settings, keys or OwnKeys(signer))
    db, redis = platform.database(), platform.redis
    worker = PasswordWorker(threads=settings.password_threads, queue=settings.password_queue)
    refresh_tokens = RefreshTokens(settings.refresh_hash_key)
    guests = GuestSessions(redis, settings.guests_per_network)
    mail_limit, strict = MailLimit(redis, refresh_tokens), settings.require_verified_email
    user_handlers = UserHandlers(db, worker, mail_limit, clock.now, require_verified_email=strict)
    email_handlers = EmailHandlers(db, redis, worker, refresh_tokens, mail_limit, clock.now)
    return platform.app(
        [
            (add_UserServiceServicer_to_server, user_handlers),
            (
                add_SessionServiceServicer_to_server,
                SessionHandlers(
                    db,
                    redis,
                    worker,
                    signer,
                    refresh_tokens,
                    clock.now,
                    guests=guests,
                    guest_life=_guest_life(settings),
                    require_verified_email=strict,
                ),
            ),
            (add_EmailServiceServicer_to_server, email_handlers),
            (add_ContactServiceServicer_to_server, ContactHandlers(db, refresh_tokens, clock.now)),
            (add_GuestServiceServicer_to_server, GuestHandlers(redis, guests, refresh_tokens, clock.now)),
            (add_KeyServiceServicer_to_server, KeyHandlers(signer)),
            (add_PreferenceServiceServicer_to_server, PreferenceHandlers(db)),
        ],
        database=db,
        components=[
            worker,
            RevocationReseeder(db, redis, clock.now),
            RegistrationCompleter(db, clock.now),
            MailRequester(db, clock.now),
            MailPurger(db, clock.now),
            DeletionPublisher(db, redis, clock.now),
            SessionPurger(db, clock.now, settings.session_retention_days),
        ],
    )


def _guest_life(settings: Settings) -> int:
    if not LEAST_GUEST_HOURS <= settings.guest_hours <= MOST_GUEST_HOURS:
        raise ValueError(f"guests live {LEAST_GUEST_HOURS} to {MOST_GUEST_HOURS} hours, not {settings.guest_hours}")
    return settings.guest_hours * 3600 * clock.SECOND


def _signer(settings: Settings) -> Signer:
    published = [Path(name.strip()) for name in settings.published_key_files.split(",") if name.strip()]
    return Signer(
        private_key(Path(settings.signing_key_file).read_bytes()),
        [public_key(path.read_bytes()) for path in published],
        issuer=settings.issuer,
        audience=settings.audience,
        scopes=USER_SCOPES,
        guest_scopes=GUEST_SCOPES,
        access_seconds=settings.access_token_seconds,
    )


if __name__ == "__main__":
    main("auth", Settings, build)
