/** What a run's events amount to: the same whether they come live, again from the start, or after a resync. */

/**
 * @typedef {{kind: "text"|"reasoning"|"refusal", part: string|null, text: string, open: boolean,
 *   startedAt: number|null, endedAt: number|null}} TextItem
 * @typedef {{text: string, output: any, error: {code: string, message: string}|null, durationMs: number|null,
 *   open: boolean}} CallResult
 * @typedef {{kind: "call", call: string, name: string, argumentsText: string, arguments: object|null,
 *   error: {code: string, message: string}|null, open: boolean, result: CallResult|null,
 *   approval: {id: string, run: string, arguments: object, expires: string, decision: string|null, by: string|null}|null}} CallItem
 * @typedef {TextItem|CallItem} Item
 * @typedef {{id: string, model: string, items: Item[], usage: object|null, open: boolean,
 *   beganAt: number|null, spokeAt: number|null, endedAt: number|null}} Step
 */

const COUNTS = ["input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens"];

/** A fold over a run's events. Times are milliseconds since 1970 by the server's clock. */
export class RunState {
  /** Counts rewinds: what was rendered from an earlier generation is stale as a whole. */
  generation = 0;
  #journal = /** @type {any[]} */ ([]);

  constructor() {
    this.#clear();
  }

  /** The seq of the last event taken in. @returns {number} */
  get seq() {
    return this.#journal.at(-1)?.seq ?? 0;
  }

  /** A cursor to follow the run from here, null for its start. @returns {string|null} */
  get cursor() {
    const last = this.#journal.at(-1);
    return last ? `${last.epoch}-${last.seq}` : null;
  }

  /**
   * Take in one event of a feed. What was taken in before changes nothing; unknown types are skipped.
   * @param {{type: string, [key: string]: any}} event
   */
  apply(event) {
    if (event.type === "stream.resync") {
      this.#rewind(event.keep_through);
    } else if (event.type === "connection") {
      this.connected = event.state !== "lost";
    } else if (event.seq > this.seq) {
      this.#journal.push(event);
      this.#fold(event);
    }
  }

  #rewind(keep) {
    if (this.seq <= keep) return;
    const kept = this.#journal.filter((event) => event.seq <= keep);
    const { connected } = this;
    this.#clear();
    this.connected = connected;
    this.generation += 1;
    this.#journal = kept;
    for (const event of kept) this.#fold(event);
  }

  #clear() {
    /** @type {string|null} */ this.run = null;
    /** @type {"running"|"finished"|"failed"|"cancelled"|"paused"|"lost"} */ this.status = "running";
    /** @type {string|null} */ this.conversation = null;
    /** @type {string|null} The message that is answered. */ this.message = null;
    /** @type {string|null} The answer's message, once the run has finished. */ this.answer = null;
    /** @type {string|null} */ this.agent = null;
    /** @type {string|null} The model that answers. */ this.model = null;
    /** @type {Step[]} */ this.steps = [];
    /** @type {{code: string, text: string}[]} */ this.notices = [];
    /** @type {{url?: string, title?: string, text?: string, part?: string, step?: string}[]} */ this.sources = [];
    /** @type {any} Tokens and cost of all steps; null while unknown. */ this.usage = null;
    /** @type {any} Why the run failed: code, category, message, retryable. */ this.error = null;
    /** @type {string|null} Why it finished or waits; who cancelled it. */ this.reason = null;
    /** @type {number|null} */ this.startedAt = null;
    /** @type {number|null} The first word of all that stands. */ this.firstTokenAt = null;
    /** @type {number|null} */ this.endedAt = null;
    this._goings = /** @type {number[]} */ ([]);
    this.connected = true;
    this._parts = new Map();
    this._calls = new Map();
    this.#journal = [];
  }

  #fold(event) {
    this.run ??= event.run;
    FOLDS[event.type]?.(this, event, event.ts ? Date.parse(event.ts) : null);
  }

  /** The step that an event belongs to. @returns {Step} */
  _step(event) {
    let step = this.steps.findLast((known) => known.id === event.step) ?? (event.step ? undefined : this.steps.at(-1));
    if (!step) this.steps.push((step = { id: event.step ?? "", model: "", items: [], usage: null, open: true, beganAt: null, spokeAt: null, endedAt: null }));
    return step;
  }

  /** Tokens per second of the model that answered, over its own last step; null while that is not known. */
  get pace() {
    const { usage, beganAt, endedAt } = this.steps.at(-1) ?? {};
    const took = beganAt && endedAt ? endedAt - beganAt : 0;
    return usage?.output_tokens && took >= 100 ? (usage.output_tokens * 1000) / took : null;
  }

  /**
   * Milliseconds to the first word, from the run's start or from where it last went on before: nobody answers while
   * a run waits. Null while there is none.
   */
  get firstTokenMs() {
    const { firstTokenAt: first } = this;
    const from = first === null ? null : this._goings.findLast((at) => at <= first) ?? this.startedAt;
    return from === null ? null : first - from;
  }

  _speak(event, at) {
    if (this.firstTokenAt !== null && this.steps.at(-1)?.spokeAt !== null) return;
    this._step(event).spokeAt ??= at;
    this.firstTokenAt ??= at;
  }

  /** Nobody follows the run any more, though it may go on: what is here is what came. */
  leave() {
    if (this.status === "running") this._end("lost", null);
  }

  _end(status, at) {
    this.status = status;
    this.endedAt = at;
    for (const step of this.steps) closeStep(step, at);
  }
}

const FOLDS = {
  "run.started"(state, event, at) {
    const { agent, conversation, message } = event;
    Object.assign(state, { agent, conversation, message, startedAt: at, status: "running" });
    if (at !== null) state._goings.push(at);
  },
  "run.paused"(state, event) {
    Object.assign(state, { status: "paused", reason: event.reason });
  },
  "run.resumed"(state, event, at) {
    if (at !== null) state._goings.push(at);
    Object.assign(state, { status: "running", reason: null });
  },
  "run.finished"(state, event, at) {
    state._end("finished", at);
    Object.assign(state, { reason: event.reason, answer: event.message, usage: withCost(event.usage, state.usage) });
  },
  "run.failed"(state, event, at) {
    state._end("failed", at);
    state.error = event.error;
  },
  "run.cancelled"(state, event, at) {
    state._end("cancelled", at);
    state.reason = event.by;
  },
  "step.started"(state, event) {
    state._step(event).model = event.model;
    state.model = event.model;
  },
  "step.finished"(state, event, at) {
    const step = state._step(event);
    step.model = event.model;
    step.endedAt = at;
    step.open = false;
    state.model = event.model;
  },
  "step.discarded"(state, event) {
    const gone = state.steps.filter((step) => step.id === event.step);
    for (const item of gone.flatMap((step) => step.items)) {
      if (item.kind === "call") state._calls.delete(item.call);
      else state._parts.delete(item.part);
    }
    state.steps = state.steps.filter((step) => step.id !== event.step);
    state.sources = state.sources.filter((source) => source.step !== event.step);
    state.firstTokenAt = state.steps.find((step) => step.spokeAt !== null)?.spokeAt ?? null;
    state.usage = total(state.steps);
  },
  "part.started"(state, event, at) {
    const step = state._step(event);
    step.beganAt ??= at;
    state._parts.set(event.part, addText(step, event, at));
  },
  "stream.chunk"(state, event, at) {
    const item = state._parts.get(event.part);
    if (!item) return;
    item.text += event.delta;
    if (item.kind !== "reasoning") state._speak(event, at);
  },
  "part.finished"(state, event, at) {
    const item = state._parts.get(event.part) ?? addText(state._step(event), event, at);
    if (event.value && item.kind !== "reasoning") state._speak(event, at);
    Object.assign(item, { text: event.value, open: false, endedAt: at });
  },
  "tool_call.started"(state, event, at) {
    state._step(event).beganAt ??= at;
    addCall(state, event);
  },
  "tool_call.delta"(state, event) {
    const item = state._calls.get(event.call);
    if (item) item.argumentsText += event.delta;
  },
  "tool_call.finished"(state, event) {
    const item = state._calls.get(event.call) ?? addCall(state, event);
    finishCall(item, event.arguments ?? null, event.raw_arguments ?? null);
    Object.assign(item, { name: event.name, error: event.error ?? null });
  },
  "approval.requested"(state, event) {
    const item = state._calls.get(event.call);
    const { approval: id, arguments: given, expires } = event;
    if (item) item.approval = { id, run: event.run, arguments: given, expires, decision: null, by: null };
  },
  "approval.resolved"(state, event) {
    const { decision, by } = event;
    for (const { approval } of state._calls.values()) if (approval?.id === event.approval) Object.assign(approval, { decision, by });
  },
  "tool_result.started"(state, event) {
    const item = state._calls.get(event.call);
    if (item) item.result = emptyResult();
  },
  "tool_result.chunk"(state, event) {
    const item = state._calls.get(event.call);
    if (item) (item.result ??= emptyResult()).text += event.delta;
  },
  "tool_result.finished"(state, event) {
    const item = state._calls.get(event.call);
    if (!item) return;
    const { output = null, error = null, duration_ms: durationMs = null } = event;
    Object.assign((item.result ??= emptyResult()), { output, error, durationMs, open: false });
  },
  usage(state, event) {
    const { cost } = event;
    state._step(event).usage = { ...pick(event, COUNTS), ...(cost ? { cost } : {}) };
    state.usage = total(state.steps);
  },
  source(state, event) {
    state.sources.push(pick(event, ["url", "title", "text", "part", "start", "end", "step"]));
  },
  notice(state, event) {
    state.notices.push({ code: event.code, text: event.text });
  },
};

/**
 * The same items from a stored message's parts.
 * @param {any[]} parts
 * @returns {Item[]}
 */
export function messageItems(parts) {
  const items = /** @type {Item[]} */ ([]);
  const calls = new Map();
  const add = (part) => {
    const item = newCall(part.call, part.name ?? "");
    calls.set(part.call, item);
    items.push(item);
    return item;
  };
  for (const part of parts) {
    if (part.type === "tool_call") {
      finishCall(add(part), part.arguments ?? null, part.raw_arguments ?? null);
    } else if (part.type === "tool_result") {
      const item = calls.get(part.call) ?? add(part);
      item.open = false;
      item.result = { ...emptyResult(), output: part.output ?? null, error: part.error ?? null, open: false };
    } else if (part.type === "text" || part.type === "refusal" || (part.type === "reasoning" && part.text)) {
      items.push({ kind: part.type, part: null, text: part.text, open: false, startedAt: null, endedAt: null });
    }
  }
  return items;
}

function addText(step, event, at) {
  const item = { kind: event.kind, part: event.part, text: "", open: true, startedAt: at, endedAt: null };
  step.items.push(item);
  return item;
}

function addCall(state, event) {
  const item = newCall(event.call, event.name);
  state._calls.set(event.call, item);
  state._step(event).items.push(item);
  return item;
}

/** @returns {CallItem} */
function newCall(call, name) {
  return { kind: "call", call, name, argumentsText: "", arguments: null, error: null, open: true, result: null, approval: null };
}

function finishCall(item, args, raw) {
  item.open = false;
  item.arguments = args;
  if (raw !== null) item.argumentsText = raw;
  else if (args !== null) item.argumentsText ||= JSON.stringify(args);
}

/** @returns {CallResult} */
function emptyResult() {
  return { text: "", output: null, error: null, durationMs: null, open: true };
}

function closeStep(step, at) {
  step.open = false;
  for (const item of step.items) {
    if (item.kind === "call" && item.result) item.result.open = false;
    if (item.kind !== "call" && item.open) item.endedAt = at;
    item.open = false;
  }
}

function pick(from, names) {
  return Object.fromEntries(names.filter((name) => from[name] !== undefined && from[name] !== null).map((name) => [name, from[name]]));
}

function total(steps) {
  const known = steps.map((step) => step.usage).filter(Boolean);
  if (!known.length) return null;
  const sum = known.reduce((all, usage) => {
    for (const name of COUNTS) if (usage[name] !== undefined) all[name] = (all[name] ?? 0) + usage[name];
    return all;
  }, {});
  const costs = known.map((usage) => usage.cost);
  // A sum is told only where every step has its price, in one currency.
  if (costs.every((cost) => cost && cost.currency === costs[0].currency)) sum.cost = { ...costs[0], amount: addDecimals(costs.map((cost) => cost.amount)) };
  return sum;
}

function withCost(usage, summed) {
  if (!usage) return summed;
  return usage.cost || !summed?.cost ? usage : { ...usage, cost: summed.cost };
}

function addDecimals(amounts) {
  if (amounts.length === 1) return amounts[0];
  const places = Math.max(...amounts.map((amount) => amount.split(".")[1]?.length ?? 0));
  return amounts.reduce((sum, amount) => sum + Number(amount), 0).toFixed(Math.min(places, 20));
}
