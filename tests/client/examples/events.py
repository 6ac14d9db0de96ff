from porch.client import Porch, Resync
from porch.contract.events import RunFinished, StreamChunk, ToolCallFinished

with Porch() as porch, porch.stream("@home/hello", "[[call clock]] [[say Done.]]") as stream:
    for event in stream:
        match event:
            case ToolCallFinished(name=name, arguments=arguments):
                print("calls", name, arguments)
            case StreamChunk(delta=delta):
                print("says", delta)
            case Resync(keep_through=seq):
                print("forget all after", seq)
            case RunFinished(reason=reason):
                print("ends with", reason)
            case _:
                pass
