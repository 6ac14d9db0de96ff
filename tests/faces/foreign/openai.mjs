// Talks to an agent by the package `openai`, as its makers publish it.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const given = JSON.parse(process.argv.at(-1));
const client = new OpenAI({ baseURL: given.url + (given.path ?? "/openai/v1"), apiKey: given.token, maxRetries: 0 });
const model = given.agent;
const messages = [{ role: "user", content: given.says }];
const parameters = { type: "object", properties: { at: { type: "string" } } };
const chatTools = [{ type: "function", function: { name: "weather", description: "Tells the weather.", parameters } }];
const Place = z.object({ city: z.string() });

const acts = {
  async models() {
    const found = [];
    for await (const one of client.models.list()) found.push(one.id);
    return { found };
  },
  async chat() {
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const told = { text: "", reason: null, usage: null };
    for await (const chunk of stream) {
      told.text += chunk.choices[0]?.delta.content ?? "";
      told.reason = chunk.choices[0]?.finish_reason ?? told.reason;
      told.usage = chunk.usage ?? told.usage;
    }
    return told;
  },
  // Its own loop: it calls our function, brings the result and asks again until there is an answer.
  async tools() {
    const asked = [];
    const weather = { name: "weather", description: "Tells the weather.", parameters, parse: JSON.parse };
    const run = client.chat.completions.runTools({
      model,
      messages,
      stream: true,
      tools: [{ type: "function", function: { ...weather, function: ({ at }) => (asked.push(at), "raining") } }],
    });
    return { text: await run.finalContent(), asked };
  },
  async calls() {
    const answer = await client.chat.completions.create({ model, messages, tools: chatTools });
    const { finish_reason, message } = answer.choices[0];
    return { finish_reason, calls: message.tool_calls.map((call) => call.function) };
  },
  async parsed() {
    const chat = await client.chat.completions.parse({
      model,
      messages,
      response_format: zodResponseFormat(Place, "place"),
    });
    const response = await client.responses.parse({
      model,
      input: given.says,
      text: { format: zodTextFormat(Place, "place") },
    });
    return { chat: chat.choices[0].message.parsed, response: response.output_parsed };
  },
  async respond() {
    const stream = client.responses.stream({ model, input: given.says });
    const types = [];
    for await (const event of stream) types.push(event.type);
    const first = await stream.finalResponse();
    const second = await client.responses.create({ model, input: "[[say Again.]]", previous_response_id: first.id });
    return { types, first: first.output_text, second: second.output_text };
  },
  async kept() {
    const made = await client.responses.create({ model, input: given.says });
    const again = await client.responses.retrieve(made.id);
    const asked = [];
    for await (const item of client.responses.inputItems.list(made.id)) asked.push(item.content[0].text);
    const cancelled = await client.responses.cancel(made.id);
    await client.responses.delete(made.id);
    const gone = await client.responses.retrieve(made.id).catch((error) => [error.status, error.code]);
    return { again: again.output_text, asked, cancelled: cancelled.status, gone };
  },
};

let told;
try {
  told = await acts[given.act]();
} catch (error) {
  told = { error: { kind: error.constructor.name, status: error.status ?? null, code: error.code, message: error.message } };
}
console.log(JSON.stringify(told));
