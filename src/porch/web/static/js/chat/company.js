/** The others in a conversation that is open to members: who is there just now, and word of what they do. */

const AGAIN_MS = 5_000;
const OVER = new Set([401, 403, 404]);

/** Asks while the page is looked at; of a browser's tabs one does. Dispatches "stir", and "people" ({detail: [{id, name, you}]}). */
export class Company extends EventTarget {
  constructor(client, conversation) {
    super();
    this.client = client;
    this.conversation = conversation;
    this.closing = new AbortController();
    this.watching = null;
  }

  set open(open) {
    if (open === this.opened) return;
    this.opened = open;
    if (!open) return this.#rest();
    document.addEventListener("visibilitychange", () => this.#turn(), { signal: this.closing.signal });
    this.#turn();
  }

  close() {
    this.closing.abort();
    this.#rest();
  }

  #turn() {
    if (this.opened && document.visibilityState === "visible") this.#begin();
    else this.#rest();
  }

  #rest() {
    this.watching?.abort();
    this.watching = null;
  }

  #begin() {
    if (this.watching || this.closing.signal.aborted) return;
    this.watching = new AbortController();
    const { signal } = this.watching;
    const watch = () => this.#watch(signal);
    if (!navigator.locks) watch();
    else navigator.locks.request(`porch-live:${this.conversation}`, { signal }, watch).catch(() => {});
  }

  async #watch(signal) {
    let seen = null;
    while (!signal.aborted) {
      try {
        const company = await this.client().watch(this.conversation, { seen, signal });
        if (signal.aborted || !company.open) return;
        if (this.activity !== undefined && this.activity !== company.activity) this.dispatchEvent(new Event("stir"));
        this.activity = company.activity;
        seen = company.version;
        this.dispatchEvent(new CustomEvent("people", { detail: company.present }));
      } catch (error) {
        if (signal.aborted || OVER.has(error.status)) return;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }
}

/** Who else is here, as a sentence. */
export function told(people) {
  const names = people.filter(({ you }) => !you).map(({ name }) => name);
  return names.length ? `${new Intl.ListFormat("en").format(names)} ${names.length > 1 ? "are" : "is"} here` : "";
}
