"""The start of a server as a person sees it: the server's sentences, told as steps with their times."""

import sys
import time
from typing import Self, TextIO

from porch.cli.steps import Steps
from porch.cli.terminal import paint

DATABASE = frozenset({"Starting PostgreSQL", "Checking the database"})
NEW_DATABASE = "Making the database (once)"
AFTER_DATABASE = "Opening the workspace"
MODEL = "Loading the demo model"


class Start(Steps):
    """Steps that understand what a starting server says."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self.began = time.monotonic()
        self.model_began: float | None = None
        self._database_began: float | None = None
        self._database_seconds = 0.0
        self._note = ""
        self._titled = False

    def title(self) -> None:
        """What this is. It is told when the start is under way, not before."""
        from porch import __version__

        self._titled = True
        self._write(f"\n  {paint('Porch', 'bold', self._file)} {paint(__version__, 'dim', self._file)}\n\n")
        self.doing("Starting Porch")

    async def __aenter__(self) -> Self:
        if not self._titled:
            self.title()
        return await super().__aenter__()

    def say(self, sentence: str) -> None:
        """Take a sentence of the server's."""
        now = time.monotonic()
        if sentence == MODEL:
            self.model_began = now
            return
        if sentence in DATABASE:
            self._database_began = now
        elif sentence == NEW_DATABASE:
            self._note = "a new database"
        elif sentence == AFTER_DATABASE and self._database_began is not None:
            self._database_seconds = now - self._database_began
            self.done("PostgreSQL", self._database_seconds, self._note)
        self.doing(sentence)

    def served(self, url: str) -> None:
        """The server takes requests."""
        self.done("Server", time.monotonic() - self.began - self._database_seconds, url)


class QuietStart(Steps):
    """Shows on a terminal what is at work, and leaves nothing behind."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def say(self, sentence: str) -> None:
        """Take a sentence of the server's."""
        self.doing(sentence)
