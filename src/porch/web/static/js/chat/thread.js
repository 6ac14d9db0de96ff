/** The messages of a conversation: a tree, of which one branch is shown. */
export class Thread {
  constructor() {
    this.messages = new Map();
    this.children = new Map(); // by parent's id, "" for those that begin the conversation
    this.head = null;
    this.cursor = null; // where older messages go on; null when all are here
    this.loaded = false;
  }

  /** Take messages in; one that is there already keeps its place on the page. */
  add(messages) {
    for (const message of messages) {
      const known = this.messages.get(message.id);
      if (known) {
        Object.assign(known, message);
        continue;
      }
      this.messages.set(message.id, { parent: null, run: null, ...message });
      const parent = message.parent ?? "";
      const siblings = this.children.get(parent) ?? [];
      siblings.push(message.id);
      siblings.sort(); // ids are in the order of time
      this.children.set(parent, siblings);
    }
  }

  get(id) {
    return this.messages.get(id);
  }

  /** The shown branch as far as it is loaded, oldest first; up to `last` when given. */
  branch(last = this.head) {
    const found = [];
    for (let at = this.messages.get(last); at; at = this.messages.get(at.parent)) found.push(at);
    return found.reverse();
  }

  /** Whether the shown branch goes further back than what is loaded. */
  get goesOn() {
    const first = this.branch()[0];
    return Boolean(first?.parent) && this.cursor !== null;
  }

  /** The versions of a message, oldest first. Only complete when what they follow is loaded. */
  siblings(id) {
    const parent = this.messages.get(id)?.parent;
    if (parent ? !this.messages.has(parent) : this.cursor !== null) return [id];
    return this.children.get(parent ?? "") ?? [id];
  }

  /** The newest end of the branch that runs through a message. */
  leaf(id) {
    let at = id;
    for (let next = this.children.get(at); next?.length; next = this.children.get(at)) at = next.at(-1);
    return at;
  }

  /** An answer to a message, the newest one. */
  answerTo(id) {
    return this.children.get(id)?.findLast((child) => this.messages.get(child).role === "assistant") ?? null;
  }
}

/** The words of a message, without reasoning and tools. */
export function plainText(message) {
  return (message.parts ?? [])
    .filter((part) => part.type === "text" || part.type === "refusal")
    .map((part) => part.text)
    .join("\n\n");
}
