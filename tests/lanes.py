"""How the tests are dealt out to the workers: what takes longest begins first, and browsers run side by side with
other things rather than with each other.

A file is one worker's, since its tests share what is dear to make. Those of the browser are one worker's together, for
a Chromium with its driver and its server takes half a gigabyte; and so are those of foreign clients, which share a
server and the packages that npm brings first.
"""

from xdist.scheduler import LoadScopeScheduling

BROWSER = "tests/browser/"
FOREIGN = "tests/faces/foreign/"
TOGETHER = (BROWSER, FOREIGN)
# Files that take long or need a model come first, so that nobody is left alone with one at the end.
FIRST = (
    BROWSER,
    FOREIGN,
    "tests/test_docs.py",
    "tests/chaos/test_storm.py",
    "tests/cli/test_hello.py",
    "tests/models/local/test_process.py",
    "tests/cli/test_commands.py",
    "tests/agents/test_conversation_plans.py",
    "tests/chaos/",
    "tests/cli/",
    "tests/storage/",
    "tests/runs/",
    "tests/web/",
)


def rank(nodeid: str) -> int:
    """Where a test stands in the order of dealing out: the lowest first."""
    return next((at for at, name in enumerate(FIRST) if nodeid.startswith(name)), len(FIRST))


def workers(cores: int) -> int:
    """How many workers keep so many cores busy: half of the time a test waits for a page, a lease or a start."""
    return cores + cores // 2


def lane(nodeid: str) -> str:
    """What a test is dealt out with: its file, or all of a folder in TOGETHER."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


class Lanes(LoadScopeScheduling):
    """Deals out lanes, in the order of their collection."""

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)
