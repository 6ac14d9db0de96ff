"""The one way out of the process."""

from porch.egress.client import Egress, EgressSettings
from porch.egress.failures import EgressError
from porch.egress.reply import Reply

__all__ = ["Egress", "EgressError", "EgressSettings", "Reply"]
