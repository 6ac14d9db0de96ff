import asyncio

from porch.client import AsyncPorch


async def main() -> None:
    async with AsyncPorch() as porch:
        asked = [porch.ask("@home/hello", f"[[say Number {number}.]]") for number in range(3)]
        for answer in await asyncio.gather(*asked):
            print(answer.text)
        async for text in porch.stream("@home/hello", "[[say Good night.]]").text_stream():
            print(text, end="")
        print()


asyncio.run(main())
