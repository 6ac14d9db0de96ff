from porch.client import AnswerFailed, ApiError, Porch, TimedOut
from porch.contract.errors import PorchError

with Porch() as porch:
    try:
        porch.ask("@home/hello", "[[fail after=2 overloaded]]")
    except AnswerFailed as failed:
        print(failed.category, failed.error.retryable, "after:", failed.answer.text)
    try:
        porch.ask("@home/hello", "[[stall]]", timeout=0.5)
    except TimedOut as slow:
        print(slow.code)
    try:
        porch.ask("@home/nobody", "Hello?")
    except ApiError as refused:
        print(refused.status, refused.code)
    except PorchError as other:
        print("whatever else Porch may raise:", other)
