"""The server's log: one line an event on standard error, or one JSON object."""

import logging
import sys
from datetime import UTC, datetime

import msgspec

from porch.http.request_id import RequestIdFilter
from porch.settings import Settings


class LineFormatter(logging.Formatter):
    """`18:04:11 warning porch.runs.lease  text  [req_…]`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with its traceback behind it."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        text = f"{time} {record.levelname.lower():7} {record.name}  {_one_line(record.getMessage())}"
        if request := getattr(record, "request_id", ""):
            text += f"  [{request}]"
        return text + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def _one_line(text: str) -> str:
    """A message that cannot pass for several: what comes from outside may hold line ends and escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class JsonFormatter(logging.Formatter):
    """One JSON object with time, level, logger, message, request_id and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", "") or None,
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return msgspec.json.encode({name: value for name, value in fields.items() if value}).decode(
            "utf-8", "replace"
        )


def configure_logging(settings: Settings) -> None:
    """Send the log of this process to standard error, at the settings' level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_json else LineFormatter())
    handler.addFilter(RequestIdFilter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # What these say about single requests and connections is noise beside our own lines.
    for name in ("uvicorn.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING if settings.log_level == "info" else logging.NOTSET)
