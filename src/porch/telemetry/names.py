"""What a measurement is called: OpenTelemetry's names for generative AI where there is one, our own beside them.

Source: https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai (status: development). No other
module spells these names, so that a change of theirs is a change of one file.
"""

from typing import Final

OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - the name of a measurement
AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"

# Of these the conventions know nothing.
TIME_TO_FIRST_TEXT: Final = "porch.run.time_to_first_text"
STREAM_ERRORS: Final = "porch.stream.errors"
START_FAILURES: Final = "porch.runs.start_failures"
RUNS_STARTED: Final = "porch.runs.started"
RUNS_TAKEN_OVER: Final = "porch.runs.taken_over"
TAKEOVER_DURATION: Final = "porch.runs.takeover.duration"
RUNS_ACTIVE: Final = "porch.runs.active"
TAILS: Final = "porch.tails.open"
REPLICAS: Final = "porch.replicas.others"
BUS_UP: Final = "porch.bus.up"
STREAMS_OPEN: Final = "porch.streams.open"
JOURNAL_LAG: Final = "porch.journal.lag"
JOURNAL_WAITING: Final = "porch.journal.waiting"
MEMORY_USED: Final = "porch.memory.used"
MEMORY_LIMIT: Final = "porch.memory.limit"
MEMORY_SHORT: Final = "porch.memory.short"
WORK_REFUSED: Final = "porch.work.refused"
READERS_WAITING: Final = "porch.readers.waiting"
FIGURES_DROPPED: Final = "porch.figures.dropped"

# Attributes.
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
STREAMED: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
SECONDS_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - the name of an attribute
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL: Final = "gen_ai.tool.call.id"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
CONVERSATION: Final = "gen_ai.conversation.id"
ERROR_TYPE: Final = "error.type"
RUN: Final = "porch.run.id"
WORKSPACE: Final = "porch.workspace"
TAKEOVERS: Final = "porch.run.takeovers"
SECONDS_TO_FIRST_TEXT: Final = "porch.run.time_to_first_text"

# Operations.
CHAT: Final = "chat"
INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"

# Bucket boundaries: those of the conventions, and what a journal takes.
SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS: Final = tuple(float(4**power) for power in range(14))
LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0, 2.5, 5.0)

# Our prefix of a model's name, where the conventions have another word for who answers.
_PROVIDERS: Final = {
    "openai-responses": "openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "moonshot": "moonshot_ai",
}


def provider_of(model: str) -> str:
    """The provider of `provider:model`, as the conventions spell it."""
    provider = model.partition(":")[0]
    return _PROVIDERS.get(provider, provider)


def own_name(model: str) -> str:
    """The provider's own name in `provider:model`."""
    return model.partition(":")[2] or model
