from porch.client import Porch

with Porch() as porch:
    workspace = porch.me()["workspaces"][0]["handle"]
    narrator = {"name": "narrator", "instructions": "Tell stories.", "model": "scripted:test"}
    porch.agents.create(workspace, narrator)
    porch.agents.publish(workspace, "narrator")
    print(sorted(agent["handle"] for agent in porch.agents.list(workspace)))
    conversation = porch.conversations.create(workspace, "narrator")
    porch.ask(conversation["id"], "Once upon a time")
    print([message["role"] for message in porch.conversations.messages(conversation["id"])])
