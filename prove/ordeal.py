"""The ordeal: everything that is killed, then everything that is restarted, then everybody who signs out."""

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

    machine: Stack
    plan: Plan
    accounts: Accounts
    leavers: Sequence[User]
    """Users with sessions of their own, who sign out in the end."""
    outages: list[Outage] = field(default_factory=list)
    unwell: list[str] = field(default_factory=list)
    """Programs that do not work a while after the last fault; the gateway, when it holds a replica for away."""
    rollings: list[Rolling] = field(default_factory=list)
    logout: Promise | None = None

    async def __call__(self, load: Load) -> None:
        """Strikes, restarts, signs out. Raises StackError when something does not come back."""
        await self._strike()
        await asyncio.sleep(self.plan.rest_seconds)
        self.unwell = await asyncio.to_thread(self._ask_everybody)
        await self._restart(load)
        leavers = [await asyncio.to_thread(self.accounts.sign_in, user) for user in self.leavers]
        self.logout = await logout.prove(self.machine, self.accounts, leavers)

    def _ask_everybody(self) -> list[str]:
        return [name for name in self.machine.programs if not self.machine.healthy(name)]

    async def _strike(self) -> None:
        await asyncio.sleep(self.plan.calm_seconds)
        for name in faults.names(self.machine):
            outage = await asyncio.to_thread(faults.strike, self.machine, name)
            note(f"{outage.how} of {name}: back after {outage.seconds:.1f} s")
            self.outages.append(outage)
            await asyncio.sleep(self.plan.calm_seconds)

    async def _restart(self, load: Load) -> None:
        names = tuple(service.name for service in self.machine.services)
        step = self.plan.together
        for together in (names[place : place + step] for place in range(0, len(names), step)):
            began, sent = time.monotonic(), len(load.attempts)
            await asyncio.gather(*(asyncio.to_thread(self.machine.restart_service, name) for name in together))
            # Calls that were on their way count too.
            await asyncio.sleep(1.0)
            self.rollings.append(Rolling(together, began, time.monotonic()))
            seconds = time.monotonic() - began
            note(f"restarted {', '.join(together)} in {seconds:.1f} s, under {len(load.attempts) - sent} requests")
