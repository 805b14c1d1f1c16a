"""Tokens that a test signs itself."""

import pytest

from tests.e2e.tokens import Signer


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Signs the tokens of a run."""
    return Signer()
