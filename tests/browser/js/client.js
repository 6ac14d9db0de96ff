import { figures } from "/static/js/chat/figures.js";
import { PorchClient, PorchError } from "/static/js/client/client.js";
import { RunFeed } from "/static/js/client/feed.js";
import { RunState, messageItems } from "/static/js/client/run-state.js";
import { SseDecoder } from "/static/js/client/sse.js";
import { ConversationTabs } from "/static/js/client/tabs.js";

const bytesOf = (text) => new TextEncoder().encode(text);

function decode(pieces) {
  const decoder = new SseDecoder();
  return [...pieces.flatMap((piece) => decoder.feed(piece)), ...decoder.finish()];
}

export function events(text) {
  return decode([bytesOf(text)]);
}

/** The places at which cutting the same bytes gives other events; -1 for one byte at a time. */
export function badSplits(text) {
  const bytes = bytesOf(text);
  const whole = JSON.stringify(decode([bytes]));
  const bad = [];
  for (let at = 0; at <= bytes.length; at += 1) {
    if (JSON.stringify(decode([bytes.slice(0, at), bytes.slice(at)])) !== whole) bad.push(at);
  }
  if (JSON.stringify(decode(Array.from(bytes, (byte) => new Uint8Array([byte])))) !== whole) bad.push(-1);
  return bad;
}

export function refusals() {
  const told = (act) => {
    try {
      act();
      return null;
    } catch (error) {
      return error.name;
    }
  };
  return [
    told(() => new SseDecoder().feed(new Uint8Array([0x64, 0xff]))),
    told(() => new SseDecoder({ maxLength: 10 }).feed(bytesOf("data: 0123456789\n\n"))),
    told(() => new SseDecoder({ maxLength: 10 }).feed(bytesOf("data: 0\n\ndata: 1\n\ndata: 2\n\n"))),
  ];
}

const parsed = (stream) => events(stream).map(({ data }) => JSON.parse(data));

function picture(state) {
  const { generation, ...rest } = JSON.parse(JSON.stringify(state));
  return JSON.stringify(rest, (key, value) => (key.startsWith("_") ? undefined : value));
}

function fold(list) {
  const state = new RunState();
  for (const event of list) state.apply(event);
  return state;
}

export function folded(stream) {
  return JSON.parse(picture(fold(parsed(stream))));
}

export function foldedEvents(list) {
  return JSON.parse(picture(fold(list)));
}

export function figuresOf(list) {
  return figures(fold(list));
}

/** The seqs at which a rewind, or hearing things twice, leaves another state than the plain story. */
export function badRewinds(stream) {
  const list = parsed(stream);
  const whole = picture(fold(list));
  const bad = [];
  for (let keep = 0; keep <= list.length; keep += 1) {
    const until = Math.min(list.length, keep + 7);
    const ghost = { type: "stream.chunk", part: list.find((event) => event.part)?.part, delta: "ghost", epoch: 1, seq: until + 1 };
    const state = fold([...list.slice(0, until), ...list.slice(0, until), ghost, { type: "stream.resync", keep_through: keep }, ...list.slice(keep)]);
    if (picture(state) !== whole && until < list.length) bad.push(keep);
  }
  return bad;
}

const bare = (items) => items.map((item) => (item.kind === "call"
  ? [item.call, item.name, item.arguments, item.result?.output ?? null, item.result?.error ?? null]
  : [item.kind, item.text]));

/** The same story from the stream and from the stored message. */
export function twoTellings({ stream, parts }) {
  return [bare(fold(parsed(stream)).steps.flatMap((step) => step.items)), bare(messageItems(parts))];
}

/** Start a run and follow it to its end, over whatever connection the page has. */
export async function run({ token, conversation, input, idempotencyKey }) {
  const client = new PorchClient({ token });
  const state = new RunState();
  const seen = [];
  for await (const event of client.startRun(conversation, input, { idempotencyKey })) {
    seen.push(event);
    state.apply(event);
  }
  return told(seen, state);
}

export async function follow({ token, run: id, after }) {
  const state = new RunState();
  const seen = [];
  for await (const event of new PorchClient({ token }).follow(id, { after })) {
    seen.push(event);
    state.apply(event);
  }
  return told(seen, state);
}

function told(seen, state) {
  const text = state.steps.flatMap((step) => step.items).filter((item) => item.kind === "text").map((item) => item.text).join("");
  return { seqs: seen.filter((event) => event.seq).map((event) => event.seq), lost: seen.filter((event) => event.state === "lost").length, back: seen.filter((event) => event.state === "back").length, resyncs: seen.filter((event) => event.type === "stream.resync").length, status: state.status, text, run: state.run, json: JSON.stringify(seen.filter((event) => event.seq)) };
}

export async function problem({ token, path, method = "GET", body }) {
  try {
    await new PorchClient({ token }).request(method, path, body);
    return null;
  } catch (error) {
    return { is: error instanceof PorchError, status: error.status, code: error.code, message: error.message };
  }
}

/** What is asked of a server when a person decides about two calls, the first time in vain. */
export async function decisions() {
  const asked = [];
  const before = globalThis.fetch;
  globalThis.fetch = async (url, { method, headers, body }) => {
    asked.push([method, url, body, headers["Idempotency-Key"]]);
    const busy = JSON.stringify({ code: "unavailable", detail: "Starting." });
    return asked.length === 1 ? new Response(busy, { status: 503 }) : new Response("{}", { status: 200 });
  };
  try {
    const client = new PorchClient({ token: "x" });
    await client.approve("run_1", "apr_1");
    await client.deny("run_1", "../apr_2");
  } finally {
    globalThis.fetch = before;
  }
  return asked;
}

/** Where a reader stands that leaves after so many events of bytes that came all at once. */
export async function leftAt({ body, count }) {
  const response = () => new Response(bytesOf(body), { headers: { "Content-Type": "text/event-stream" } });
  const feed = new RunFeed({ open: async () => response() }, { run: "run_1" });
  for await (const event of feed) if (event.seq === count) break;
  return feed.cursor;
}

/** A client whose connections are scripted: what a feed asks, and what it tells. */
export async function scripted({ answers, run = null, after = null }) {
  const asked = [];
  const client = {
    async open(method, path, _body, { headers }) {
      asked.push([method, path, headers["Last-Event-ID"] ?? null, headers["Idempotency-Key"] ?? null]);
      const answer = answers.shift();
      if (!answer) throw new TypeError("nothing more");
      if (answer.hangsUp) throw new TypeError("Failed to fetch");
      const { status = 200, body = "", type = "text/event-stream", silent = false, headers: more = {} } = answer;
      if (status === 204) return new Response(null, { status });
      const stream = new ReadableStream({
        start(controller) {
          if (body) controller.enqueue(bytesOf(body));
          if (!silent) controller.close();
        },
      });
      return new Response(stream, { status, headers: { "Content-Type": type, ...more } });
    },
  };
  const start = run ? null : { path: "/start", body: { input: "Hi" }, idempotencyKey: "key" };
  const seen = [];
  let error = null;
  try {
    for await (const event of new RunFeed(client, { run, after, start })) seen.push(event);
  } catch (thrown) {
    error = { name: thrown.name, status: thrown.status, code: thrown.code };
  }
  return { asked, seen: seen.map(({ type, seq, state }) => state ?? (seq ? `${seq}` : type)), error };
}

/** Begin to follow a run shared with the other tabs; `shared()` tells how far it has come. */
export function share({ token, conversation, input, run: id }) {
  const client = new PorchClient({ token });
  const tabs = new ConversationTabs(conversation);
  const state = new RunState();
  const seen = [];
  const heard = [];
  tabs.addEventListener("run", ({ detail }) => heard.push(detail.run));
  tabs.addEventListener("change", ({ detail }) => heard.push(detail));
  window.tabs = tabs;
  window.heard = heard;
  window.told = () => ({ ...told(seen, state), done: window.done });
  window.done = false;
  if (!id && !input) return;
  const feed = id ? tabs.followShared(client, id) : tabs.share(client, client.startRun(conversation, input));
  window.feed = feed;
  (async () => {
    for await (const event of feed) {
      seen.push(event);
      state.apply(event);
    }
    window.done = true;
  })();
}
