"""Files that hold secrets: written whole, and at no moment readable by another account."""

import os
import tempfile
from pathlib import Path

from porch.contract.errors import SetupError


def write_private(path: Path, content: bytes) -> None:
    """Puts a file of mode 0600 in the place of the one before, which stays as it was if that fails.

    Raises SetupError when its folder cannot be written.
    """
    try:
        # mkstemp creates with mode 0600, whatever the umask.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SetupError(
            f"{str(path)!r} cannot be written: {error.strerror}. Make its folder writable for this "
            "account, or choose another with --data-dir."
        ) from error
