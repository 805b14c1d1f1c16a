"""Checks the rules of the contract: `python -m tools.contract_check`."""

import sys

from contract import rules
from tools import generate

if __name__ == "__main__":
    found = rules.complaints(generate.contract())
    if found:
        sys.exit("\n".join(found))
    print("contract: every RPC says what it must")
