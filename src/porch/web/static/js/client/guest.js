/** A visitor of another site: a token for one agent, kept under that site's origin and renewed unseen. */
import { PorchError } from "./error.js";

const SOON_MS = 60_000;
const FRESH_MS = 300_000;
const ANSWER_MS = 30_000;
const CHECKED_MS = 60_000;

/**
 * @typedef {{token?: string, expires?: number, got?: number, guest?: string, conversation?: string|null,
 *   about?: {name?: string, title?: string, description?: string, suggestions?: string[]}}} Kept
 */

// What is kept where the browser refuses storage: it lives as long as the page.
const memory = /** @type {Map<string, string>} */ (new Map());

export class Guest {
  #base;
  #path;
  #key;
  #welcome = 0; // when this site was seen to be let in
  #renewing = /** @type {Promise<string>|null} */ (null);

  /** @param {{base: string, agent: string|null}} about `base` is the server's address; `agent` is "@workspace/name". */
  constructor({ base, agent }) {
    const [, workspace, name] = /^@([^/]+)\/([^/]+)$/.exec(agent ?? "") ?? [];
    this.agent = agent ?? "";
    this.#base = base;
    this.#path = name ? `/@${encodeURIComponent(workspace)}/${encodeURIComponent(name)}/guests` : null;
    this.#key = `porch-guest:${base}/${this.agent}`;
  }

  /** What the server told of the agent, as far as it was asked yet. */
  get about() {
    return this.#kept().about ?? {};
  }

  /** The conversation to show again, null for none. @returns {string|null} */
  get conversation() {
    return this.#kept().conversation ?? null;
  }

  set conversation(id) {
    this.#keep({ ...this.#kept(), conversation: id });
  }

  /** A token that is good as far as this browser knows. Throws PorchError. @returns {Promise<string>} */
  async token() {
    const { token, expires = 0, got = 0 } = this.#kept();
    // A clock that is wrong must not have a token fetched for each request.
    const due = Date.now() >= Math.max(expires - SOON_MS, got + FRESH_MS);
    return token && !due ? token : this.renewed(token);
  }

  /** Another token instead of one that is no longer taken. Throws PorchError. @param {string} [stale] @returns {Promise<string>} */
  renewed(stale) {
    this.#renewing ??= locked(this.#key, () => this.#renew(stale)).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renew(stale) {
    const before = this.#kept();
    if (before.token && before.token !== stale) return before.token; // another tab was first
    const { token, expires_at: expires, guest, agent } = await this.#enter(before.token);
    const same = before.guest === guest;
    this.#keep({ token, expires: Date.parse(expires), got: Date.now(), guest, conversation: same ? before.conversation : null, about: agent });
    return token;
  }

  /** Throw the server's refusal of this site, if that is why a request could not be read. Throws PorchError. */
  async check() {
    // Each check makes a token, of which a guest has so many; a network that comes and goes asks often.
    if (Date.now() - this.#welcome < CHECKED_MS) return;
    const response = await this.#send(this.#kept().token).catch(() => null);
    if (response?.status === 403) throw await PorchError.of(response);
    if (response?.ok) this.#welcome = Date.now();
  }

  async #enter(token) {
    const response = await this.#ask(token);
    // A token of no use is worse than none.
    if (token && [401, 403].includes(response.status)) return this.#enter(undefined);
    if (response.status === 404) throw this.#notHere();
    if (!response.ok) throw await PorchError.of(response);
    const answer = await response.json().catch(() => null);
    if (typeof answer?.token === "string") return answer;
    throw new PorchError("The server's answer to a new visitor cannot be read. Try again in a moment.", { code: "unknown" });
  }

  async #ask(token) {
    if (this.#path === null) {
      throw new PorchError(`The agent ${JSON.stringify(this.agent)} is not of the form @workspace/name.`, { code: "invalid_input", status: 422 });
    }
    try {
      return await this.#send(token);
    } catch (error) {
      if (!(await this.#isThere())) throw PorchError.unreachable(error);
    }
    // The server is there: either that was a moment's trouble, or it tells this site nothing.
    return this.#send(token).catch((error) => {
      throw this.#notHere(error);
    });
  }

  #notHere(cause) {
    const sentence = `${this.agent} cannot be talked to on ${location.origin}. If this is your site: the agent must be published, and its Embed page must name this address.`;
    return new PorchError(sentence, { code: "not_embedded", status: 404, cause });
  }

  #send(token) {
    return fetch(this.#base + this.#path, {
      method: "POST",
      headers: { Accept: "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) },
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  }

  async #isThere() {
    try {
      const response = await fetch(`${this.#base}/embed.js`, { credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      return response.ok;
    } catch {
      return false;
    }
  }

  /** @returns {Kept} */
  #kept() {
    try {
      return JSON.parse(read(this.#key) ?? "{}") ?? {};
    } catch {
      return {};
    }
  }

  /** @param {Kept} kept */
  #keep(kept) {
    const text = JSON.stringify(kept);
    try {
      localStorage.setItem(this.#key, text);
      memory.delete(this.#key);
    } catch {
      memory.set(this.#key, text); // full or refused
    }
  }
}

function read(key) {
  try {
    return memory.get(key) ?? localStorage.getItem(key);
  } catch {
    return memory.get(key);
  }
}

function locked(name, act) {
  return navigator.locks ? navigator.locks.request(name, act) : act();
}
