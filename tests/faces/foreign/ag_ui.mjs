// Talks to an agent by @ag-ui/client: says one text after the other, answers calls of its own tools, and tells all.
import { HttpAgent } from "@ag-ui/client";

const given = JSON.parse(process.argv.at(-1));
const agent = new HttpAgent({
  url: `${given.url}/${given.agent}/ag-ui`,
  headers: { Authorization: `Bearer ${given.token}` },
  threadId: given.thread,
});
const events = [];
const errors = [];

async function run() {
  const subscriber = {
    onEvent: ({ event }) => void events.push(event),
    onRunErrorEvent: ({ event }) => void errors.push(event.message),
  };
  await agent.runAgent({ tools: given.tools ?? [] }, subscriber).catch((error) => errors.push(`${error}`));
}

for (const text of given.says) {
  agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
  await run();
  const pending = events.at(-1)?.outcome?.pendingToolCallIds ?? [];
  for (const toolCallId of pending) {
    agent.addMessage({ id: crypto.randomUUID(), role: "tool", toolCallId, content: given.answer });
  }
  if (pending.length) await run();
}

console.log(JSON.stringify({ events, errors, messages: agent.messages }));
