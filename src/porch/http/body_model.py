"""What every body that the API takes or gives inherits from."""

import warnings

from pydantic import BaseModel, ConfigDict
from pydantic.warnings import UnsupportedFieldAttributeWarning

# FastAPI silences it where it makes validators itself, which it names after parameters of functions.
warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)


class BodyModel(BaseModel):
    """A body as OpenAPI shows it and requests are checked against it.

    Its validator is made at its first use: most processes meet few of the sixty, and all of them cost a start 0.1 s.
    """

    model_config = ConfigDict(defer_build=True)
