"""What no service imports before it serves: each of these costs every start, and every restart, its CPU."""

import json
import subprocess
import sys

from stack import registry

_LATER_OR_NEVER = {"alembic", "opentelemetry.exporter", "opentelemetry.sdk", "protovalidate", "sqlalchemy"}
"""Migrations import the first and the last, a service with a collector the SDK, and the first call its validation."""


def test_importing_the_services_imports_nothing_that_only_other_commands_or_later_calls_need() -> None:
    mains = ", ".join(f"services.{name}.main" for name in registry.load().services)
    program = f"import {mains}, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not _LATER_OR_NEVER & set(json.loads(done.stdout))
