"""What the client library brings along: the contract, aiohttp, and nothing of the server."""

import json
import subprocess
import sys

SERVER = {
    "asyncpg",
    "click",
    "fastapi",
    "jinja2",
    "pydantic",
    "rich",
    "starlette",
    "uvicorn",
    "uvloop",
    "numpy",
}


def test_importing_it_loads_the_contract_and_nothing_of_the_server() -> None:
    code = "import json, sys, porch.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded: list[str] = json.loads(done.stdout)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("porch.")}
    assert rooms == {"client", "contract"}
    assert {name.partition(".")[0] for name in loaded} & SERVER == set()
