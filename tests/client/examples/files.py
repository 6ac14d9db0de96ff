from pathlib import Path

from porch.client import Porch, attach

Path("terms.txt").write_text("The porch is open to all.", encoding="utf-8")

with Porch() as porch:
    answer = porch.ask("@home/hello", ["[[say I have read it.]]", attach("terms.txt")])
    print(answer.text)
