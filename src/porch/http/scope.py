"""What the common layers leave in a request's ASGI scope for those further in."""

RAW_SEND = "porch.send"
"""The server's own `send`. A stream sends its start through all layers, which add to it, and its body by this,
since no layer has anything to say about a token."""
