"""The providers that Porch can ask over HTTP, as data: dialect, address, the variables that people have set.

As of November 2026. Most addresses were read in the providers' documentation; those of Fireworks, Moonshot, Hugging
Face and Z.ai, and some links to their keys' pages, are as commonly used and were not tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from porch.models.addresses import ModelNotConfigured, read_key, read_url
from porch.models.catalogue import is_gone, known_models
from porch.providers.failures import show_url

Dialect = Literal["chat", "responses", "messages"]


@dataclass(frozen=True, slots=True)
class Place:
    """A provider. `url` is its own address, None for a server that people run themselves.

    `key` and `address` are variables: of its key ("" where it has none), and of another address to use. `keeper` is
    the provider whose key it shares, `quirks` names its profile in the dialect. `usual` ones are shown to
    everybody, the others to who set them up; `lists` says that it tells its models, `prefix` what stands before
    their names there. `first` is a model to try it with: cheap, quick, and open to every account. At `key_page` one
    gets a key.
    """

    name: str
    label: str
    key: str = ""
    url: str | None = None
    key_page: str = ""
    dialect: Dialect = "chat"
    first: str = ""
    prefix: str = ""
    lists: bool = True
    usual: bool = False
    quirks: str = ""
    address: str = ""
    keeper: str = ""

    @property
    def variable(self) -> str:
        """The variable of its address."""
        return self.address or f"{self.name.upper().replace('-', '_')}_BASE_URL"

    @property
    def profile(self) -> str:
        """The name of its quirks."""
        return self.quirks or self.name

    @property
    def holder(self) -> str:
        """The provider under whose name its key is kept."""
        return self.keeper or self.name


PLACES: dict[str, Place] = {
    place.name: place
    for place in (
        Place(
            "openai",
            "OpenAI",
            "OPENAI_API_KEY",
            "https://api.openai.com/v1",
            "https://platform.openai.com/api-keys",
            first="gpt-4o-mini",
            usual=True,
        ),
        Place(
            "openai-responses",
            "OpenAI Responses",
            "OPENAI_API_KEY",
            "https://api.openai.com/v1",
            "https://platform.openai.com/api-keys",
            dialect="responses",
            first="gpt-4o-mini",
            quirks="openai",
            address="OPENAI_BASE_URL",
            keeper="openai",
        ),
        Place(
            "anthropic",
            "Anthropic",
            "ANTHROPIC_API_KEY",
            "https://api.anthropic.com",
            "https://platform.claude.com/settings/keys",
            dialect="messages",
            first="claude-haiku-4-5",
            usual=True,
        ),
        Place(
            "openrouter",
            "OpenRouter",
            "OPENROUTER_API_KEY",
            "https://openrouter.ai/api/v1",
            "https://openrouter.ai/settings/keys",
            first="openai/gpt-4o-mini",
            usual=True,
        ),
        Place(
            "google",
            "Google Gemini",
            "GEMINI_API_KEY",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "https://aistudio.google.com/apikey",
            prefix="models/",
        ),
        Place(
            "mistral",
            "Mistral",
            "MISTRAL_API_KEY",
            "https://api.mistral.ai/v1",
            "https://console.mistral.ai/api-keys",
            first="mistral-small-latest",
        ),
        Place(
            "groq",
            "Groq",
            "GROQ_API_KEY",
            "https://api.groq.com/openai/v1",
            "https://console.groq.com/keys",
            first="openai/gpt-oss-20b",
        ),
        Place(
            "deepseek",
            "DeepSeek",
            "DEEPSEEK_API_KEY",
            "https://api.deepseek.com",
            "https://platform.deepseek.com/api_keys",
        ),
        Place("xai", "xAI", "XAI_API_KEY", "https://api.x.ai/v1", "https://console.x.ai"),
        Place(
            "together",
            "Together AI",
            "TOGETHER_API_KEY",
            "https://api.together.xyz/v1",
            "https://api.together.ai/settings/api-keys",
        ),
        Place(
            "fireworks",
            "Fireworks AI",
            "FIREWORKS_API_KEY",
            "https://api.fireworks.ai/inference/v1",
            "https://app.fireworks.ai/settings/users/api-keys",
        ),
        Place(
            "cerebras",
            "Cerebras",
            "CEREBRAS_API_KEY",
            "https://api.cerebras.ai/v1",
            "https://cloud.cerebras.ai",
        ),
        Place(
            "perplexity",
            "Perplexity",
            "PERPLEXITY_API_KEY",
            "https://api.perplexity.ai",
            "https://www.perplexity.ai/settings/api",
            first="sonar",
            lists=False,
        ),
        Place(
            "moonshot",
            "Moonshot AI",
            "MOONSHOT_API_KEY",
            "https://api.moonshot.ai/v1",
            "https://platform.moonshot.ai/console/api-keys",
        ),
        Place(
            "alibaba",
            "Alibaba Model Studio",
            "DASHSCOPE_API_KEY",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "https://bailian.console.alibabacloud.com",
        ),
        Place("zai", "Z.ai", "ZAI_API_KEY", "https://api.z.ai/api/paas/v4", "https://z.ai/manage-apikey"),
        Place(
            "huggingface",
            "Hugging Face",
            "HF_TOKEN",
            "https://router.huggingface.co/v1",
            "https://huggingface.co/settings/tokens",
        ),
        Place("azure", "Azure OpenAI", "AZURE_OPENAI_API_KEY", address="AZURE_OPENAI_BASE_URL"),
        Place("vllm", "vLLM", "VLLM_API_KEY"),
        Place("llamacpp", "llama.cpp", "LLAMACPP_API_KEY"),
        Place("lmstudio", "LM Studio", "LMSTUDIO_API_KEY"),
    )
}


@dataclass(frozen=True, slots=True)
class Found:
    """A place as the environment has it. Neither `key` nor a password shows in a repr.

    `given` says that the address is from there.
    """

    place: Place
    url: str
    key: str | None
    given: bool

    def __repr__(self) -> str:
        return f"Found({self.place.name!r}, {show_url(self.url)!r})"

    @property
    def elsewhere(self) -> bool:
        """Whether another server than the provider's own stands behind its name."""
        return self.url != self.place.url


def find_place(environ: Mapping[str, str], place: Place) -> Found | None:
    """Where it is asked and with which key; None where neither is set. Raises ModelNotConfigured.

    An address that is given needs no key; a key is enough only where the provider has an address of its own.
    """
    key = read_key(environ, place.key)
    given = read_url(environ, place.variable, None)
    url = given or place.url
    if url is None or (given is None and key is None):
        return None
    return Found(place, url, key, given is not None)


def is_elsewhere(environ: Mapping[str, str], place: Place) -> bool:
    """Whether its variable names another server than the provider's own."""
    try:
        return read_url(environ, place.variable, place.url) != place.url
    except ModelNotConfigured:
        return True


def root(found: Found) -> str:
    """The address below which the dialect's paths lie.

    Anthropic's own clients are given an address without the version, which others write all the same.
    """
    versioned = found.place.dialect != "messages" or found.url.endswith("/v1")
    return found.url if versioned else f"{found.url}/v1"


def try_first(provider: str) -> str:
    """The whole name of a model to try a provider with, "" where none is known that every account has."""
    place = PLACES.get(provider)
    if place is None or not place.first:
        return ""
    first = place.first
    if is_gone(provider, first):
        first = next(iter(known_models(provider)), "")
    return f"{provider}:{first}" if first else ""
