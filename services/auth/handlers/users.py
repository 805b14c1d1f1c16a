"""The RPCs of UserService, one method each."""

from focusmesh.auth.v1 import user_service_pb2 as pb
from focusmesh.auth.v1 import user_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.call import Context, current_call
from mesh.rpc.change import change
from mesh.rpc.etag import etag_of, next_version
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.auth import events, wire
from services.auth.handlers.emails import MailLimit
from services.auth.handlers.passwords import PasswordWorker
from services.auth.model import Registration, User, UserSettings
from services.auth.rules import addresses, passwords, users
from services.auth.store import accounts


class UserHandlers(rpc.UserServiceServicer):
    """Accounts; a caller sees only their own."""

    def __init__(
        self, db: Database, worker: PasswordWorker, limit: MailLimit, clock: Clock, *, require_verified_email: bool
    ) -> None:
        """require_verified_email: respond to every registration alike, which shows nobody what addresses are known."""
        self.db, self.worker, self.limit, self.clock = db, worker, limit, clock
        self.require_verified_email = require_verified_email

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:
        call = current_call()
        user = users.register(
            new_id(), request.email, request.name, request.time_zone, request.day_start_minutes, now=self.clock()
        )
        passwords.require_uncommon(request.password)
        if self.require_verified_email:
            return await self._register_by_mail(user, request.password)
        password_hash = await self.worker.hash(request.password)
        response = pb.RegisterResponse(user=wire.user_to_pb(user))
        mail = addresses.first_mail(new_id(), user)
        published = events.user_registered(user), events.mail_requested(mail)
        async with self.db.transaction() as tx:
            await accounts.insert_account(tx, user, password_hash, mail, call.side_effects(response, *published))
        outbox.wake()
        return response

    async def _register_by_mail(self, user: User, password: str) -> pb.RegisterResponse:
        """Notes the registration.

        `services/auth/jobs.py` makes the account later: neither the response nor its time shows whether there was one.
        """
        call, response = current_call(), pb.RegisterResponse()
        await self.limit.count(user.email)
        registration = Registration(user, await self.worker.hash(password), call.traceparent)
        async with self.db.connection() as connection:
            await accounts.insert_registration(connection, registration, call.side_effects(response))
        return response

    async def GetMe(self, request: pb.GetMeRequest, context: Context) -> pb.GetMeResponse:
        async with self.db.connection() as connection:
            user = await accounts.get_user(connection, current_call().user_id)
        return pb.GetMeResponse(user=wire.user_to_pb(user))

    async def UpdateMe(self, request: pb.UpdateMeRequest, context: Context) -> pb.UpdateMeResponse:
        user_id, now, changes = current_call().user_id, self.clock(), wire.user_changes_from_pb(request)
        return await change(
            self.db,
            read=lambda connection: accounts.get_account(connection, user_id),
            decide=lambda account: users.update_account(account, changes, now=now, etag=etag_of(request)),
            respond=lambda account: pb.UpdateMeResponse(user=wire.user_to_pb(account.user)),
            save=lambda connection, account, side_effects: accounts.save_user(connection, account.user, side_effects),
            event=events.user_updated,
        )

    async def GetSettings(self, request: pb.GetSettingsRequest, context: Context) -> pb.GetSettingsResponse:
        async with self.db.connection() as connection:
            settings = await accounts.get_settings(connection, current_call().user_id)
        return pb.GetSettingsResponse(settings=wire.settings_to_pb(settings))

    async def UpdateSettings(self, request: pb.UpdateSettingsRequest, context: Context) -> pb.UpdateSettingsResponse:
        user_id, now, changes = current_call().user_id, self.clock(), wire.settings_changes_from_pb(request)
        return await change(
            self.db,
            read=lambda connection: accounts.get_settings(connection, user_id),
            decide=lambda settings: users.update_settings(settings, changes, now=now, etag=etag_of(request)),
            respond=lambda settings: pb.UpdateSettingsResponse(settings=wire.settings_to_pb(settings)),
            save=lambda connection, settings, side_effects: self._save_settings(
                connection, user_id, settings, side_effects
            ),
        )

    async def _save_settings(
        self, connection: Connection, user_id: str, settings: UserSettings, side_effects: SideEffects
    ) -> None:
        """Writes settings; another week start with the next version of the account, whose event shows it."""
        account = await accounts.get_account(connection, user_id)
        if settings.week_start == account.week_start:
            await accounts.save_settings(connection, user_id, settings, side_effects)
            return
        user = next_version(account.user, settings.updated_at)
        event = events.user_updated(account._replace(user=user, week_start=settings.week_start))
        async with connection.transaction():
            await accounts.save_user(connection, user, SideEffects([event], None, side_effects.traceparent))
            await accounts.save_settings(connection, user_id, settings, side_effects)
        outbox.wake()
