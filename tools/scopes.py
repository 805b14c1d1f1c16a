"""Writes gen/python/focusmesh/scopes.py: the scopes that a signed-in user's access token carries.

They are those of every RPC that users or guests may call; the scope of an administrator's or an internal RPC is never
among them. So a new service's scopes are granted without a change of auth.

usage: python -m tools.scopes OUT
"""

import sys
from pathlib import Path

from contract.descriptors import Contract
from tools import generate


def module(described: Contract) -> str:
    """The source of the module."""
    lines = [f'    "{scope}",\n' for scope in described.user_scopes]
    return (
        '"""Generated from the policies in protos/ by `make proto`; never edited."""\n\n'
        f"USER_SCOPES: tuple[str, ...] = (\n{''.join(lines)})\n"
        '"""What a signed-in user may do with their own resources."""\n'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(module(generate.contract()))
