"""What this installation is told: flags over PORCH_* variables over porch.toml over defaults.

Provider keys and endpoints are no settings of Porch: they stay in the environment under their usual names
(OPENAI_API_KEY, OLLAMA_HOST, …).
"""

from porch.settings.loading import Resolved, load_settings, resolve_settings
from porch.settings.model import NAMES, SECRET, Settings, redact_url

__all__ = ["NAMES", "SECRET", "Resolved", "Settings", "load_settings", "redact_url", "resolve_settings"]
