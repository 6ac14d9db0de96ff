"""The server's log keeps one event to a line, whatever people put into it."""

import logging

from porch.web.logs import JsonFormatter, LineFormatter


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("porch.test", logging.WARNING, __file__, 1, "Said: %s", (text,), None)


def test_a_message_cannot_pass_for_two_lines_or_colour_the_terminal() -> None:
    line = LineFormatter().format(record("one\n12:00:00 error forged\x1b[31m"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert "forged" in line


def test_json_lines_hold_level_logger_and_message() -> None:
    line = JsonFormatter().format(record("one\ntwo"))
    assert "\n" not in line
    assert '"level":"warning"' in line
    assert '"logger":"porch.test"' in line
