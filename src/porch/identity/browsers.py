"""Which browser a session was opened in, in words that its owner knows."""

# In this order: Edge and Opera name Chrome as well, Chrome names Safari.
BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def describe_browser(agent: str | None) -> str:
    """`Firefox on Linux` from a User-Agent header, as far as it says."""
    text = agent or ""
    browser = next((name for mark, name in BROWSERS if mark in text), None)
    system = next((name for mark, name in SYSTEMS if mark in text), None)
    if browser is None:
        return f"A browser on {system}" if system else "A browser that did not say its name"
    return f"{browser} on {system}" if system else browser
