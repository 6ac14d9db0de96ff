// Reads recorded streams with the clients themselves, as if a server had sent them, and tells what they made of each.
import { readFileSync } from "node:fs";
import { HttpAgent } from "@ag-ui/client";
import { DefaultChatTransport, readUIMessageStream } from "ai";

const given = JSON.parse(readFileSync(JSON.parse(process.argv.at(-1)).file, "utf8"));
const answer = (stream) => async () =>
  new Response(stream, { headers: { "content-type": "text/event-stream; charset=utf-8" } });

async function agUi(stream) {
  const errors = [];
  const agent = new HttpAgent({ url: "http://localhost/", threadId: "t1", fetch: answer(stream) });
  agent.setMessages(structuredClone(given.asked));
  const subscriber = { onRunErrorEvent: ({ event }) => void errors.push(event.message) };
  await agent.runAgent({ runId: "r1" }, subscriber).catch((error) => errors.push(error.message));
  return { errors, messages: agent.messages };
}

async function aiSdk(stream) {
  const errors = [];
  const transport = new DefaultChatTransport({ api: "http://localhost/", fetch: answer(stream) });
  let last;
  try {
    const chunks = await transport.sendMessages({ chatId: "c1", messages: [], trigger: "submit-message" });
    const onError = (error) => errors.push(error.message);
    for await (const message of readUIMessageStream({ stream: chunks, onError })) last = message;
  } catch (error) {
    errors.push(error.message);
  }
  return { errors, messages: last ? [last] : [] };
}

const found = [];
for (const stream of given.streams) found.push(await { agUi, aiSdk }[given.client](stream));
console.log(JSON.stringify(found));
