// Talks to an agent by the package `ai`: its chat and its transport, as `useChat` has them, without a page.
import { AbstractChat, DefaultChatTransport } from "ai";

const given = JSON.parse(process.argv.at(-1));
const headers = { Authorization: `Bearer ${given.token}` };
const api = `${given.url}/${given.agent}/ai-sdk`;
const told = { statuses: [], errors: [], data: [] };

class State {
  status = "ready";
  error = undefined;
  messages = [];
  watchers = [];
  pushMessage = (message) => this.#change([...this.messages, message]);
  popMessage = () => this.#change(this.messages.slice(0, -1));
  replaceMessage = (at, message) => this.#change(this.messages.with(at, structuredClone(message)));
  snapshot = (value) => structuredClone(value);
  #change(messages) {
    this.messages = messages;
    for (const look of this.watchers) look();
  }
  until(condition) {
    return new Promise((resolve) => {
      const look = () => condition(this.messages) && resolve();
      this.watchers.push(look);
      look();
    });
  }
}

class Chat extends AbstractChat {
  constructor(state = new State()) {
    super({
      id: given.chat,
      state,
      transport: new DefaultChatTransport({ api, headers }),
      onError: (error) => told.errors.push(error.message),
      onData: (part) => told.data.push(part),
    });
    this.state = state;
  }
}

const words = (message) => message?.parts.filter((part) => part.type === "text").map((part) => part.text).join("");

const acts = {
  async talk() {
    const chat = new Chat();
    for (const text of given.says) {
      await chat.sendMessage({ text });
      told.statuses.push(chat.status);
    }
    return chat.messages;
  },
  async regenerate() {
    const chat = new Chat();
    await chat.sendMessage({ text: given.says[0] });
    told.first = chat.lastMessage;
    await chat.regenerate();
    return chat.messages;
  },
  async edit() {
    const chat = new Chat();
    await chat.sendMessage({ text: given.says[0] });
    await chat.sendMessage({ text: given.says[1], messageId: chat.messages[0].id });
    return chat.messages;
  },
  // A second page opens the chat while the first one still hears the answer; then somebody stops the run.
  async resume() {
    const first = new Chat();
    const heard = first.sendMessage({ text: given.says[0] });
    const speaks = (messages) => words(messages.at(-1)) === given.waits;
    await first.state.until(speaks);
    const second = new Chat();
    const resumed = second.resumeStream();
    await second.state.until(speaks);
    const run = second.lastMessage.id;
    await fetch(`${given.url}/api/v1/runs/${run}/cancel`, { method: "POST", headers });
    await Promise.all([heard, resumed]);
    told.same = first.lastMessage.id === run;
    const third = new Chat();
    await third.resumeStream();
    told.third = third.messages;
    return second.messages;
  },
};

const messages = await acts[given.act]();
console.log(JSON.stringify({ ...told, messages, words: messages.map(words) }));
