from porch.client import AnswerCancelled, Porch
from porch.contract.events import StreamChunk

with Porch() as porch:
    stream = porch.stream("@home/hello", "[[say Well,]] [[stall]]")
    for event in stream:
        if isinstance(event, StreamChunk):
            porch.cancel(event.run)
    try:
        stream.answer()
    except AnswerCancelled as stopped:
        print("stopped after:", stopped.answer.text)
