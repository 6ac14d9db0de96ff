"""The one way out of the process."""

from porch.egress.client import Egress, EgressSettings, Fetched
from porch.egress.failures import EgressError, Redirected
from porch.egress.reach import Place, Reach, read_place, same_origin
from porch.egress.reply import Reply

__all__ = [
    "Egress",
    "EgressError",
    "EgressSettings",
    "Fetched",
    "Place",
    "Reach",
    "Redirected",
    "Reply",
    "read_place",
    "same_origin",
]
