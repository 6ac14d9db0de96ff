"""Who may come in here at all: the operator alone, or other people too, and how they become one of them."""

from dataclasses import dataclass
from typing import Literal

from porch.contract.errors import Forbidden, SetupError
from porch.identity import people_store
from porch.storage.database import Database

SignUp = Literal["open", "invitation", "closed"]


class MultiUserOff(Forbidden):
    """Raised where other people than the operator are asked for, and the installation is one person's."""

    code = "multi_user_off"


@dataclass(frozen=True, slots=True)
class Doors:
    """Whether there may be several people, and who may sign up."""

    multi_user: bool
    sign_up: SignUp = "invitation"

    def require(self) -> None:
        """Raise MultiUserOff unless there may be several people."""
        if not self.multi_user:
            raise MultiUserOff(
                "This Porch has one user, its operator. Whoever runs it can let in others with multi_user = true "
                "(PORCH_MULTI_USER)."
            )

    def require_sign_up(self, *, invited: bool) -> None:
        """Raise Forbidden where nobody new may come in, or nobody without an invitation."""
        self.require()
        if self.sign_up == "closed":
            raise Forbidden("Nobody can sign up here at present. Ask whoever runs this Porch.")
        if self.sign_up == "invitation" and not invited:
            raise Forbidden("To sign up here one needs an invitation. Ask somebody who is here for a link.")


CLOSED = Doors(multi_user=False)


async def check_people(database: Database, doors: Doors) -> None:
    """Raise SetupError where there are more people than may come in: nobody is locked out without a word."""
    if doors.multi_user:
        return
    async with database.system() as connection:
        people = await people_store.count_people(connection)
    if people > 1:
        raise SetupError(
            f"multi_user is off, and {people} people have accounts here. Start with multi_user = true "
            "(PORCH_MULTI_USER=true); it can be turned off while the operator is the only one."
        )
