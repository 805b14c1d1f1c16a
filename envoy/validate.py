"""Asks Envoy whether it accepts the configurations of one machine and of the cluster: `python -m envoy.validate`."""

import subprocess
import sys
import tempfile
from pathlib import Path

from envoy import generate
from envoy.clusters import Endpoints
from envoy.process import binary
from envoy.settings import GatewaySettings
from stack.layout import main_ports, main_state

_SECONDS = 60


class ConfigurationError(Exception):
    """Envoy does not accept the configuration."""


def validate(endpoints: Endpoints, settings: GatewaySettings) -> None:
    """Raises ConfigurationError with what Envoy says; opens no port."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.json"
        generate.write(config, endpoints, settings)
        asked = [str(binary()), "--mode", "validate", "--config-path", str(config), "--log-level", "error"]
        response = subprocess.run(asked, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    if response.returncode:
        raise ConfigurationError(_first_words(response.stderr or response.stdout))


def _first_words(complaint: str) -> str:
    """Envoy's message, without the configuration that it prints after or within it."""
    lines = complaint.strip().partition("): {\n")[0].splitlines()
    return "\n".join(line[:500] for line in (lines if len(lines) < 4 else [lines[0], lines[-1]]))


def main() -> int:
    """Checks both targets; returns the exit status."""
    machine = generate.machine(main_ports(), main_state())
    for target, (endpoints, settings) in (("machine", machine), ("cluster", generate.cluster())):
        try:
            validate(endpoints, settings)
        except ConfigurationError as error:
            sys.stderr.write(f"The gateway's configuration for the {target} is refused:\n{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
