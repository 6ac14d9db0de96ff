from porch.client import Porch

with Porch() as porch:
    answer = porch.ask("@home/hello", "[[say Good evening.]]")
    print(answer.text)
    print(answer.status, answer.model)
    answer = porch.ask(str(answer.conversation), "[[call clock]] [[say It is {result}.]]")
    print([use.name for use in answer.tools], len(answer.parts))
