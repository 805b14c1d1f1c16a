"""Tokens that a test signs itself."""

import pytest

from tests.support.tokens import Signer


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Signs the tokens of a run."""
    return Signer()
