/**
 * What a page can ask of a Porch server. No dependency, no build step:
 *
 *   const porch = new PorchClient({ csrf: document.querySelector("meta[name=csrf-token]")?.content });
 *   const { id } = await porch.createConversation("@home/hello");
 *   for await (const event of porch.startRun(id, "Good evening!")) state.apply(event);
 */
import { PorchError } from "./error.js";
import { RunFeed } from "./feed.js";

export { PorchError, RunFeed };

const API = "/api/v1";
const ANSWER_MS = 60_000;
const RETRY_MS = [100, 400, 1000];

/** A fresh key for one write; the same write sent twice carries the same key. @returns {string} */
export function newIdempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class PorchClient {
  #base;
  #headers;
  #session;
  #guest;

  /**
   * @param {{base?: string, token?: string|null, csrf?: string|null, guest?: import("./guest.js").Guest|null}} [options]
   *   Without a token and a guest the browser's own session is used, and `csrf` goes with every write. A guest's
   *   token is renewed as it ends.
   */
  constructor({ base = "", token = null, csrf = null, guest = null } = {}) {
    this.#base = base.replace(/\/+$/, "");
    this.#session = !token && !guest;
    this.#guest = guest;
    this.#headers = token ? { Authorization: `Bearer ${token}` } : csrf ? { "X-CSRF-Token": csrf } : {};
  }

  /**
   * Send one request and answer as soon as its headers are there. Throws TypeError when nothing answers, and
   * PorchError when a guest gets no token.
   * @param {string} method
   * @param {string} path from the root, such as "/api/v1/me"
   * @param {unknown} body JSON, undefined for none
   * @param {{headers?: Record<string, string>, signal?: AbortSignal|null}} [options]
   * @returns {Promise<Response>}
   */
  async open(method, path, body, { headers = {}, signal = null } = {}) {
    if (!this.#guest) return this.#send(method, path, body, { ...(method === "GET" && this.#session ? {} : this.#headers), ...headers }, signal);
    const send = (token) => this.#send(method, path, body, { Authorization: `Bearer ${token}`, ...headers }, signal);
    const token = await this.#guest.token();
    const response = await send(token).catch(async (error) => {
      // To a site that was taken out, a refusal looks like a network that fails.
      if (!signal?.aborted) await this.#guest.check();
      throw error;
    });
    return response.status === 401 ? send(await this.#guest.renewed(token)) : response;
  }

  #send(method, path, body, headers, signal) {
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    return fetch(this.#base + path, {
      method,
      headers: { ...type, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: this.#session ? "same-origin" : "omit",
      cache: "no-store",
      redirect: "error",
      signal,
    });
  }

  /**
   * One request and its JSON answer, null where it is empty. Sent again while the server cannot be reached or is
   * busy; a POST only where `idempotencyKey` makes that harmless. Throws PorchError, and AbortError for `signal`.
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {{idempotencyKey?: string|null, signal?: AbortSignal|null}} [options]
   * @returns {Promise<any>}
   */
  async request(method, path, body, { idempotencyKey = null, signal = null } = {}) {
    const headers = { Accept: "application/json", ...(idempotencyKey ? { "Idempotency-Key": idempotencyKey } : {}) };
    const again = method !== "POST" || idempotencyKey !== null;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#once(method, path, body, headers, signal);
      } catch (error) {
        if (!(error instanceof PorchError && error.passing && again) || attempt >= RETRY_MS.length) throw error;
        await pause(Math.max(RETRY_MS[attempt], Math.min((error.retryAfter ?? 0) * 1000, 5000)), signal);
      }
    }
  }

  /** The bytes at a path, such as a message's picture. Throws PorchError. @param {string} path @returns {Promise<Blob>} */
  async download(path) {
    try {
      const response = await this.open("GET", path);
      if (!response.ok) throw await PorchError.of(response);
      return await response.blob();
    } catch (error) {
      throw error instanceof PorchError ? error : PorchError.unreachable(error);
    }
  }

  /**
   * A new conversation with an agent; `draft` makes it one with the agent's unpublished draft.
   * @param {string} agent "@workspace/name"
   * @param {{draft?: boolean, signal?: AbortSignal|null}} [options]
   * @returns {Promise<{id: string}>}
   */
  createConversation(agent, { draft = false, signal = null } = {}) {
    const [, workspace, name] = /^@([^/]+)\/([^/]+)$/.exec(agent) ?? [];
    if (!name) throw new PorchError(`The agent ${JSON.stringify(agent)} is not of the form @workspace/name.`, { code: "invalid_input", status: 422 });
    const path = `${API}/workspaces/${encodeURIComponent(workspace)}/agents/${encodeURIComponent(name)}/conversations`;
    return this.request("POST", path, draft ? { draft: true } : {}, { idempotencyKey: newIdempotencyKey(), signal });
  }

  /** One conversation: title, head, active_run. @param {string} id @returns {Promise<any>} */
  conversation(id) {
    return this.request("GET", conversationPath(id));
  }

  /**
   * A page of its messages, of all branches; each names its parent.
   * @param {string} id
   * @param {{limit?: number, cursor?: string|null, order?: "oldest"|"newest"}} [options]
   * @returns {Promise<{items: any[], next_cursor: string|null}>}
   */
  messages(id, given = {}) {
    return this.request("GET", `${conversationPath(id)}/messages${queryOf(given)}`);
  }

  /**
   * A page of its runs, newest first: how each answer ended, and what it took.
   * @param {string} id
   * @param {{limit?: number, cursor?: string|null}} [options]
   * @returns {Promise<{items: any[], next_cursor: string|null}>}
   */
  runs(id, given = {}) {
    return this.request("GET", `${conversationPath(id)}/runs${queryOf(given)}`);
  }

  /**
   * Who else is in a conversation, once that is something else than the version `seen`.
   * @param {string} id
   * @param {{seen?: string|null, signal?: AbortSignal|null}} [options]
   * @returns {Promise<{version: string, activity: string, open: boolean, present: {id: string, name: string, you: boolean}[]}>}
   */
  watch(id, { seen = null, signal = null } = {}) {
    return this.request("GET", `${conversationPath(id)}/live${queryOf({ seen })}`, undefined, { signal });
  }

  /** One run: how it ended, and what it took. @param {string} id @returns {Promise<any>} */
  run(id) {
    return this.request("GET", `${API}/runs/${encodeURIComponent(id)}`);
  }

  /**
   * Rename it, or move its head to another branch.
   * @param {string} id
   * @param {{title?: string, head?: string}} change
   * @returns {Promise<any>}
   */
  updateConversation(id, change) {
    return this.request("PATCH", conversationPath(id), change, { idempotencyKey: newIdempotencyKey() });
  }

  /**
   * Say something and follow the answer. However often it is sent, the message counts once. Nothing is sent before
   * the feed is iterated.
   * @param {string} conversation
   * @param {string|({type: "text", text: string}|{type: "image"|"file", media_type: string, data: string, name?: string|null})[]} input text, or
   *   parts; `data` is base64
   * @param {{parent?: string|null, idempotencyKey?: string, signal?: AbortSignal|null}} [options] `parent` is the
   *   message that this one follows, null for the conversation's start; absent, it follows the head.
   * @returns {RunFeed}
   */
  startRun(conversation, input, { parent, idempotencyKey = newIdempotencyKey(), signal = null } = {}) {
    const body = parent === undefined ? { input } : { input, parent };
    return new RunFeed(this, { start: { path: `${conversationPath(conversation)}/runs`, body, idempotencyKey }, signal });
  }

  /**
   * Answer a message anew, on a branch of its own.
   * @param {string} conversation
   * @param {string} message an answer, or a message that has none
   * @param {{idempotencyKey?: string, signal?: AbortSignal|null}} [options]
   * @returns {RunFeed}
   */
  regenerate(conversation, message, { idempotencyKey = newIdempotencyKey(), signal = null } = {}) {
    const path = `${conversationPath(conversation)}/messages/${encodeURIComponent(message)}/regenerate`;
    return new RunFeed(this, { start: { path, body: undefined, idempotencyKey }, signal });
  }

  /**
   * Follow a run from its start, or from after a place in it.
   * @param {string} run
   * @param {{after?: string|null, signal?: AbortSignal|null}} [options] `after` is a cursor such as "1-57".
   * @returns {RunFeed}
   */
  follow(run, { after = null, signal = null } = {}) {
    return new RunFeed(this, { run, after, signal });
  }

  /**
   * Say something that may wait for the answer before it. Answers {run, message, status}, where `status` is
   * "queued" or "running"; `follow` the run for its answer.
   * @param {string} conversation
   * @param {string|object[]} input
   * @param {{parent?: string|null, idempotencyKey?: string}} [options]
   * @returns {Promise<any>}
   */
  enqueue(conversation, input, { parent, idempotencyKey = newIdempotencyKey() } = {}) {
    const body = parent === undefined ? { input } : { input, parent };
    return this.request("POST", `${conversationPath(conversation)}/runs`, body, { idempotencyKey });
  }

  /** What waits in a conversation, in the order in which it will be answered. @param {string} id @returns {Promise<{items: any[]}>} */
  queue(id) {
    return this.request("GET", `${conversationPath(id)}/queue`);
  }

  /** Stop a run; its feed ends with `run.cancelled`. @param {string} run @returns {Promise<any>} */
  cancel(run) {
    return this.request("POST", `${API}/runs/${encodeURIComponent(run)}/cancel`, undefined, { idempotencyKey: newIdempotencyKey() });
  }

  /** A tool call that waits for a person, or what was decided: `canonical` is the text that would run. @param {string} approval @returns {Promise<any>} */
  approval(approval) {
    return this.request("GET", `${API}/approvals/${encodeURIComponent(approval)}`);
  }

  /** Let a tool call go ahead that waits for a person, as `approval.requested` showed it. @param {string} run @param {string} approval @returns {Promise<any>} */
  approve(run, approval) {
    return this.#decide(run, approval, "approve");
  }

  /** Refuse a tool call that waits for a person; the model is told. @param {string} run @param {string} approval @returns {Promise<any>} */
  deny(run, approval) {
    return this.#decide(run, approval, "deny");
  }

  #decide(run, approval, decision) {
    const path = `${API}/runs/${encodeURIComponent(run)}/approvals/${encodeURIComponent(approval)}`;
    return this.request("POST", path, { decision }, { idempotencyKey: newIdempotencyKey() });
  }

  async #once(method, path, body, headers, signal) {
    const limit = AbortSignal.timeout(ANSWER_MS);
    try {
      const response = await this.open(method, path, body, { headers, signal: signal ? AbortSignal.any([signal, limit]) : limit });
      if (!response.ok) throw await PorchError.of(response);
      const text = await response.text();
      return text ? JSON.parse(text) : null;
    } catch (error) {
      if (error instanceof PorchError || signal?.aborted) throw error;
      if (error instanceof SyntaxError) throw new PorchError("The server's answer cannot be read. Reload the page.", { code: "unknown", cause: error });
      throw PorchError.unreachable(error);
    }
  }
}

function conversationPath(id) {
  return `${API}/conversations/${encodeURIComponent(id)}`;
}

/** The query of what is given, "" where nothing is. */
function queryOf(given) {
  const known = Object.entries(given).filter(([, value]) => value !== undefined && value !== null);
  return known.length ? `?${new URLSearchParams(known.map(([key, value]) => [key, String(value)]))}` : "";
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
