"""Servers that speak Chat Completions, each with what it wants said differently."""

from porch.providers.chat_completions.quirks import Quirks
from porch.providers.history import PLAIN_MODELS
from porch.providers.traits import find_google, find_openai

_PLAIN = Quirks()
PROFILES: dict[str, Quirks] = {
    "alibaba": Quirks(schema="json_object", reasoning="none"),
    # Whatever people put in OpenAI's place: many servers leave a model's thoughts in its text, between its tags.
    "another": Quirks(think_tags=True),
    "azure": Quirks(
        max_tokens="max_completion_tokens", files=True, plain_models=PLAIN_MODELS, traits=find_openai
    ),
    "cerebras": Quirks(max_tokens="max_completion_tokens", images=False, efforts=("low", "medium", "high")),
    "deepseek": Quirks(
        images=False,
        parallel=False,
        schema="json_object",
        thoughts="reasoning_content",
        efforts=("low", "medium", "high"),
    ),
    "fireworks": Quirks(efforts=("none", "low", "medium", "high")),
    # https://ai.google.dev/gemini-api/docs/thought-signatures names the word for calls without one.
    "google": Quirks(
        seed="",
        parallel=False,
        efforts=("none", "low", "medium", "high"),
        traits=find_google,
        seal="google",
        signed="skip_thought_signature_validator",
    ),
    "groq": Quirks(max_tokens="max_completion_tokens", efforts=("none", "low", "medium", "high")),
    "huggingface": Quirks(reasoning="none"),
    "llamacpp": Quirks(reasoning="none", think_tags=True),
    "lmstudio": Quirks(reasoning="none", parallel=False, think_tags=True),
    "mistral": Quirks(
        stream_usage=False, seed="random_seed", required="any", call_ids="nine", reasoning="none"
    ),
    "moonshot": Quirks(thoughts="reasoning_content", reasoning="none", schema="json_object"),
    "ollama": Quirks(parallel=False),
    "openai": Quirks(
        max_tokens="max_completion_tokens",
        files=True,
        plain_models=PLAIN_MODELS,
        cache="prompt_cache_key",
        traits=find_openai,
        tools_at="openai-responses",
    ),
    "openrouter": Quirks(
        files=True, reasoning="reasoning", seal="openrouter", cache="cache_control", routes=True
    ),
    "perplexity": Quirks(tools=False, parallel=False, efforts=("minimal", "low", "medium", "high")),
    "together": Quirks(efforts=("low", "medium", "high")),
    "vllm": Quirks(reasoning="none", think_tags=True),
    "xai": Quirks(
        efforts=("low", "medium", "high"),
        plain_models=("grok-2-", "grok-3-", "grok-4-", "grok-4.20-0", "grok-code-"),
    ),
    "zai": Quirks(thoughts="reasoning_content", reasoning="none", parallel=False, schema="json_object"),
}


def profile(name: str) -> Quirks:
    """The quirks of a server by its usual name; the family's defaults for one that is not known."""
    return PROFILES.get(name, _PLAIN)
