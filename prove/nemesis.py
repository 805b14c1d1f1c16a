"""The nemesis: everything that is killed, then everything that is restarted, then everybody who signs out."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.accounts import Accounts, User
from prove import faults, logout
from prove.faults import Outage
from prove.load import Load
from prove.plan import Plan
from prove.promises import Promise, note
from stack.stack import Stack


class Rolling(NamedTuple):
    """The restart of every replica of some services, in seconds of the steady clock."""

    services: tuple[str, ...]
    began: float
    ended: float


@dataclass
class Nemesis:
    """What is done to a stack under load, and when."""

    stack: Stack
    plan: Plan
    accounts: Accounts
    signing_out: Sequence[User]
    """Users with sessions of their own, who sign out in the end."""
    outages: list[Outage] = field(default_factory=list)
    unhealthy: list[str] = field(default_factory=list)
    """Programs that do not work a while after the last fault; the gateway, when it holds a replica for away."""
    rollings: list[Rolling] = field(default_factory=list)
    logout: Promise | None = None

    async def __call__(self, load: Load) -> None:
        """Injects every fault, restarts every service, signs users out. Raises StackError when one does not return."""
        await self._inject()
        await asyncio.sleep(self.plan.recovery_seconds)
        self.unhealthy = await asyncio.to_thread(self._check_everything)
        await self._restart(load)
        signing_out = [await asyncio.to_thread(self.accounts.sign_in, user) for user in self.signing_out]
        self.logout = await logout.prove(self.stack, self.accounts, signing_out)

    def _check_everything(self) -> list[str]:
        return [name for name in self.stack.programs if not self.stack.healthy(name)]

    async def _inject(self) -> None:
        await asyncio.sleep(self.plan.interval_seconds)
        for name in faults.names(self.stack):
            outage = await asyncio.to_thread(faults.inject, self.stack, name)
            note(f"{outage.how} of {name}: back after {outage.seconds:.1f} s")
            self.outages.append(outage)
            await asyncio.sleep(self.plan.interval_seconds)

    async def _restart(self, load: Load) -> None:
        names = tuple(service.name for service in self.stack.services)
        step = self.plan.at_once
        for at_once in (names[first : first + step] for first in range(0, len(names), step)):
            began, sent = time.monotonic(), len(load.attempts)
            await asyncio.gather(*(asyncio.to_thread(self.stack.restart_service, name) for name in at_once))
            # Calls in flight count too.
            await asyncio.sleep(1.0)
            self.rollings.append(Rolling(at_once, began, time.monotonic()))
            seconds = time.monotonic() - began
            note(f"restarted {', '.join(at_once)} in {seconds:.1f} s, under {len(load.attempts) - sent} requests")
