"""Accounts of the benchmark, with tokens that outlive a measurement."""

import time

from harness.accounts import Accounts

_FRESH_SECONDS = 240
"""A token is replaced when it is older, so that none expires within a measurement."""


class Account:
    """One account and a token that is always fresh."""

    def __init__(self, accounts: Accounts) -> None:
        """Registers it. Raises StackError."""
        self._accounts = accounts
        self._user, self._since = accounts.sign_up(), time.monotonic()
        self.user_id = self._user.id

    @property
    def token(self) -> str:
        """An access token that is valid for minutes."""
        if time.monotonic() - self._since > _FRESH_SECONDS:
            self._user, self._since = self._accounts.sign_in(self._user), time.monotonic()
        return self._user.token
