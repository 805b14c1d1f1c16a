"""A handler that keeps the event loop of its service is named in the log."""

import pytest

from harness.waiting import until
from tests.contract.mesh.shapes import Caller
from tests.support.tokens import Signer


async def test_a_handler_that_keeps_the_loop_is_reported(
    call: Caller, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    assert await call("Once", "compute", token=signer.token()) == ["compute"]
    await until(lambda: "event loop was kept" in caplog.text, "the handler is reported")
    assert "compute" in caplog.text
