"""The provider as tests hold it: its process, and what it is to do next."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLIENT, SECRET = "porch:tests", "a/secret+with:signs"


@dataclass(frozen=True)
class ProviderProcess:
    """One that runs."""

    issuer: str

    def control(self, **wanted: Any) -> None:
        """Have it do this from now on, and nothing else that is odd."""
        request = urllib.request.Request(f"{self.issuer}/control", json.dumps(wanted).encode(), method="POST")
        with urllib.request.urlopen(request) as reply:
            assert reply.status == 200

    def asked(self) -> list[str]:
        """What it was asked so far."""
        with urllib.request.urlopen(f"{self.issuer}/asked") as reply:
            return json.load(reply)


@contextmanager
def provider_process() -> Generator[ProviderProcess]:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.oidc.provider", CLIENT, SECRET],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield ProviderProcess(process.stdout.readline().strip())
        finally:
            process.stdin.close()
            process.wait(10)
