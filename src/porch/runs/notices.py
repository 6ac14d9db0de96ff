"""What a person should know of how a model was asked."""

from porch.contract.events import Notice


def cut_notice(step: str, left_out: int, *, name: str) -> Notice:
    """The conversation did not fit."""
    count = f"the oldest {left_out} messages were" if left_out > 1 else "its oldest part was"
    text = f"The conversation is longer than {name} can read at once, so {count} left out."
    return Notice(step=step, code="context_truncated", text=text)


def unseen_notice(step: str, unseen: int, *, name: str) -> Notice:
    """Words stand for files that the model cannot be shown."""
    count = (
        f"{unseen} of the conversation's pictures and files were" if unseen > 1 else "one picture or file was"
    )
    text = f"Not everything could be shown to {name}: {count} left out of its sight, and it was told so."
    return Notice(step=step, code="files_left_out", text=text)
