from porch.client import Porch

with Porch() as porch:
    for text in porch.stream("@home/hello", "[[say Good evening to you.]]").text_stream():
        print(text, end="", flush=True)
    print()
