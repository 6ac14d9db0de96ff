"""What the demo model's child process runs: load the weights, serve OpenAI-compatible HTTP on 127.0.0.1.

`python -m porch.models.local.serve WEIGHTS LOG`. One JSON line on standard output says how to reach it
(`url`, `api_key`, `load_seconds`) or what went wrong (`error`). Each line on standard input is a system
prompt, as a JSON string, to be evaluated ahead. When standard input ends, the parent is gone, and so is this.
"""

import faulthandler
import importlib
import json
import os
import secrets
import sys
import threading
import time
from pathlib import Path
from typing import Any

MODEL_NAME = "smollm2"
CONTEXT_TOKENS = 2048
"""Prompt and answer of one conversation together. Reading a full one takes about 16 s on one thread."""
CONVERSATIONS = 2
"""How many answers are written at once; further ones wait."""
ANSWER_TOKENS = 512
"""How long an answer gets when the request sets no `max_tokens`."""

PROMPT_CACHE_MIB = 64
PING_SECONDS = 5
NICENESS = 5


def main() -> int:
    weights, log = sys.argv[1:3]
    parent = os.dup(1)
    os.nice(NICENESS)
    api_key = secrets.token_urlsafe(24)
    started = time.perf_counter()
    try:
        _divert_output(log)
        server = _load(weights, api_key)
    except Exception as error:
        _report(parent, {"error": f"{type(error).__name__}: {error}"})
        return 1
    _report(
        parent,
        {
            "url": server.listening_address,
            "api_key": api_key,
            "load_seconds": round(time.perf_counter() - started, 3),
        },
    )
    for line in sys.stdin:
        threading.Thread(target=_evaluate_ahead, args=(server, json.loads(line)), daemon=True).start()
    os._exit(0)  # nothing here is worth saving, and the native threads need not be waited for


def _divert_output(log: str) -> None:
    """Send what native code prints to `log`, not to the pipe that the parent reads."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    faulthandler.enable(2)


def _report(descriptor: int, message: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")
    os.close(descriptor)


def _load(weights: str, api_key: str) -> Any:
    # The library is one compiled module without types.
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {MODEL_NAME}
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = 1

    # One shared context would let a long conversation fail another one in mid-answer.
    params.kv_unified = False
    params.n_parallel = CONVERSATIONS
    params.n_ctx = CONTEXT_TOKENS * CONVERSATIONS
    params.fit_params = False
    params.cache_ram_mib = PROMPT_CACHE_MIB

    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.cors_origins = "http://no-page.invalid"
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = False
    params.sse_ping_interval = PING_SECONDS

    # Without the penalty a model of this size repeats itself; warmer, it rambles.
    params.n_predict = ANSWER_TOKENS
    params.sampling.temp = 0.0
    params.sampling.penalty_repeat = 1.1
    return xllamacpp.Server(params)


def _evaluate_ahead(server: Any, instructions: str) -> None:
    messages = [{"role": "system", "content": instructions}, {"role": "user", "content": ""}]
    server.handle_chat_completions({"messages": messages, "max_tokens": 1}, _ignore)


def _ignore(_chunk: object) -> bool:
    return False


if __name__ == "__main__":
    sys.exit(main())
