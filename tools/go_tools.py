"""Tools that only Go builds, pinned by tools/go.mod and go.sum, into .build/bin: `make tools`.

python -m tools.go_tools [NAME]     all of them, or one
"""

import os
import shutil
import subprocess
import sys
import time

from tools.paths import BUILD, ROOT

BIN = BUILD / "bin"
TOOLS = ("github.com/sudorandom/protoc-gen-connect-openapi", "github.com/fullstorydev/grpcurl/cmd/grpcurl")


def install(tool: str) -> bool:
    """Builds one tool with the versions of go.sum, up to a minute the first time; tells whether it could."""
    name = tool.rsplit("/", 1)[1]
    print(f"tools: building {name} …", flush=True)
    started = time.monotonic()
    environment = {**os.environ, "GOBIN": str(BIN), "GOFLAGS": "-mod=readonly"}
    done = subprocess.run(["go", "-C", str(ROOT / "tools"), "install", tool], env=environment, check=False)
    took = f"after {time.monotonic() - started:.0f} s"
    print(f"tools: {name} {'did not build' if done.returncode else 'built'} {took}")
    return done.returncode == 0


def main() -> None:
    """Builds the tools that are named, or every one."""
    if not shutil.which("go"):
        sys.exit("tools: Go 1.26 or newer is needed to build grpcurl and the OpenAPI plugin; nothing else needs it")
    expected = [tool for tool in TOOLS if not sys.argv[1:] or tool.rsplit("/", 1)[1] in sys.argv[1:]]
    if not all(map(install, expected)):
        sys.exit(1)


if __name__ == "__main__":
    main()
