import pytest

from porch.contract.errors import ModelError
from porch.runs.failures import Failure, sum_up


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("It is busy. It said: Overloaded", "It is busy. It said: Overloaded. The agent's"),
        ("It is busy. It said: Overloaded.", "It is busy. It said: Overloaded. The agent's"),
        ("It is busy. It said: Try again!", "It is busy. It said: Try again! The agent's"),
        ("It said: no such model 'x'", "It said: no such model 'x'. The agent's"),
        ('It said: "Not now."', 'It said: "Not now." The agent\'s'),
    ],
)
def test_what_a_model_said_is_parted_by_a_stop_from_what_became_of_the_others(
    message: str, told: str
) -> None:
    def failed(model: str) -> Failure:
        return Failure(model, ModelError(message, code="x", category="overloaded", retryable=True))

    assert (
        sum_up([failed("a:b"), failed("c:d")]).message
        == f"{told} other models failed too: 'c:d' (overloaded)."
    )
    assert sum_up([failed("a:b")]).message == message
