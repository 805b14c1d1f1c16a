"""Writes gen/python/focusmesh/scopes.py: the scopes that a signed-in user's access token carries.

They are those of every RPC that users or guests may call; the scope of an administrator's or an internal RPC is never
among them. So a new service's scopes are granted without a change of auth.

usage: python -m tools.scopes OUT
"""

import sys
from pathlib import Path

from tools import contract
from tools.contract import Contract

GRANTED = ("USER", "GUEST")


def user_scopes(described: Contract) -> list[str]:
    """Every scope that a signed-in user needs, sorted."""
    return sorted({rpc.scope for rpc in described.rpcs if rpc.access in GRANTED and rpc.scope})


def module(described: Contract) -> str:
    """The source of the module."""
    lines = [f'    "{scope}",\n' for scope in user_scopes(described)]
    return (
        '"""Generated from the policies in protos/ by `make proto`; never edited."""\n\n'
        f"USER_SCOPES: tuple[str, ...] = (\n{''.join(lines)})\n"
        '"""What a signed-in user may do with their own resources."""\n'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(module(contract.current()))
