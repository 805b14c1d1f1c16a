"""Writes gen/python/focusmesh/scopes.py: the scopes that access tokens of users and of guests carry.

They are those of every RPC that they may call; the scope of an administrator's or an internal RPC is never
among them. So a new service's scopes are granted without a change of auth.

usage: python -m tools.scopes OUT
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from contract.descriptors import Contract
from tools import generate


def module(described: Contract) -> str:
    """The source of the module."""
    return (
        '"""Generated from the policies in protos/ by `make proto`; never edited."""\n\n'
        f"USER_SCOPES: tuple[str, ...] = (\n{_lines(described.user_scopes)})\n"
        '"""What a signed-in user may do with their own resources."""\n'
        f"GUEST_SCOPES: tuple[str, ...] = (\n{_lines(described.guest_scopes)})\n"
        '"""What a guest may do with their own resources."""\n'
    )


def _lines(scopes: Sequence[str]) -> str:
    return "".join(f'    "{scope}",\n' for scope in scopes)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(module(generate.contract()))
