from porch.client import Porch
from porch.contract.events import StreamChunk

with Porch() as porch:
    run = porch.run("@home/hello", "[[say Sleep well.]]").run
    with porch.resume(run) as stream:
        for event in stream:
            if isinstance(event, StreamChunk):
                break
        cursor = str(stream.cursor)

# Hours later, in another process:
with Porch() as porch:
    print(porch.resume(run, after=cursor).answer().text)
