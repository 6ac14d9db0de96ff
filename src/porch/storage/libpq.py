"""Database URLs as PostgreSQL's own programs take them."""

from urllib.parse import unquote, urlsplit, urlunsplit


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """The URL for a command line, which everybody on the machine can read, and the password's environment."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    # urlsplit's hostname is lower-cased and loses brackets; what follows the last @ is kept as it stands.
    place = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{place}")), {"PGPASSWORD": unquote(parts.password)}
