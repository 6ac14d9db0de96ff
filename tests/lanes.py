"""How the tests are dealt out to the workers: what takes longest begins first, and browsers run side by side with
other things rather than with each other.

A file is one worker's, since its tests share what is dear to make. Those of the browser are two workers', one for the
chat and one for all other pages, for a Chromium with its driver and its server takes half a gigabyte; those of foreign
clients, which share a server and the packages that npm brings first, are one's.
"""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

BROWSER = "tests/browser/"
FOREIGN = "tests/faces/foreign/"
CHAT = "tests/browser/test_chat"
TOGETHER = (CHAT, BROWSER, FOREIGN)
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
    "tests/conformance/test_real_servers.py",
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
    """How many workers keep so many cores busy: most of the time a test waits for a page, a lease or a start."""
    return 2 * cores


def lane(nodeid: str) -> str:
    """What a test is dealt out with: its file, or all that begins with a name in TOGETHER."""
    file = nodeid.partition("::")[0]
    return next((begin for begin in TOGETHER if file.startswith(begin)), file)


class Lanes(LoadScopeScheduling):
    """Deals out lanes, in the order of their collection.

    What brought its process down has failed and is not run again, or it would bring down one after the other.
    """

    def remove_node(self, node: WorkerController) -> str | None:
        units = self.assigned_work[node].values()
        crashed = next((name for unit in units for name, done in unit.items() if not done), None)
        if crashed:
            self.assigned_work[node][lane(crashed)][crashed] = True
        super().remove_node(node)
        return crashed

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)
