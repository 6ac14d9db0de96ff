from porch.client import Porch

with Porch() as porch:
    workspace = porch.me()["workspaces"][0]["handle"]
    narrator = {"name": "narrator", "instructions": "Tell stories.", "model": "scripted:test"}
    porch.agents.create(workspace, narrator)
    porch.agents.publish(workspace, "narrator")
    print(sorted(agent["handle"] for agent in porch.agents.list(workspace)))
    conversation = porch.conversations.create(workspace, "narrator")
    porch.ask(conversation["id"], "Once upon a time")
    messages = {message["id"]: message for message in porch.conversations.messages(conversation["id"])}
    branch = [messages[porch.conversations.get(conversation["id"])["head"]]]
    while parent := branch[0]["parent"]:
        branch.insert(0, messages[parent])
    print([message["role"] for message in branch])
