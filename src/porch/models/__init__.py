"""The models of this installation, by name."""

from porch.models.addresses import ModelNotConfigured
from porch.models.availability import BUNDLED_LABEL, Availability
from porch.models.catalogue import ModelCard
from porch.models.makers import LocalModel
from porch.models.service import Models, ResolvedModel
from porch.models.trials import Probe, Trial

__all__ = [
    "BUNDLED_LABEL",
    "Availability",
    "LocalModel",
    "ModelCard",
    "ModelNotConfigured",
    "Models",
    "Probe",
    "ResolvedModel",
    "Trial",
]
