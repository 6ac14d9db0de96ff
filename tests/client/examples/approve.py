from porch.client import Porch


def ask_a_person(porch: Porch, agent: str, message: str) -> str:
    answer = porch.ask(agent, message)
    while answer.status == "paused":
        for request in answer.approvals:
            print(f"May it call {request.name} with {request.arguments}? {request.reason}")
            decide = porch.approve if input("[y/n] ") == "y" else porch.deny
            decide(answer.run, request.approval)
        answer = porch.resume(answer.run).answer()
    return answer.text
