"""Stands in for `docker compose` where there is no Docker: what would run in a container runs here, on real servers.

It knows the commands that a backup and a restore give. Starting, stopping and building are nothing here.
"""

import json
import os
import subprocess
import sys

WITHOUT_EFFECT = {"up", "build", "stop", "restart"}


def main() -> int:
    words = sys.argv[1:]
    while words[0].startswith("--"):
        words = words[2:]
    match words:
        case ["exec", "-T", "postgres", *command]:
            return subprocess.run(command, check=False).returncode
        case ["run", *options, "migrate"] if "python" not in options:
            return prepared()
        case ["run", *rest] if "migrate" in rest:
            return subprocess.run([sys.executable, *rest[rest.index("python") + 1 :]], check=False).returncode
        case ["config", *_]:
            sys.stdout.write(json.dumps({"name": "here", "services": {}}))
        case [name, *_] if name not in WITHOUT_EFFECT:
            sys.exit(f"{name} is not known here")
    return 0


def prepared() -> int:
    command = [sys.executable, "-m", "api_server.cli", "prepare"]
    return subprocess.run(command, env={**os.environ, "LOG_LEVEL": "WARNING"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
