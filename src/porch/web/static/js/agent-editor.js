// The bench: saves a draft without leaving the page, keeps what is not saved yet, and begins test chats anew.
// Without it the form is a form: the server renders every state that is shown here.

import { tellTimes, toast } from "./frame.js";

const KEPT_APART = new Set(["csrf", "revision", "then"]);

/** What stands in the form's fields, by name; `byDefault` what stood there when the server sent it. */
function valuesOf(form, byDefault = false) {
  const values = {};
  for (const field of form.elements) {
    if (!field.name || KEPT_APART.has(field.name)) continue;
    if (field.type === "checkbox") {
      if (byDefault ? field.defaultChecked : field.checked) values[field.name] = field.value;
    } else {
      values[field.name] = byDefault ? defaultOf(field) : field.value;
    }
  }
  return values;
}

function defaultOf(field) {
  if (field.type !== "select-one") return field.defaultValue;
  return ([...field.options].find((option) => option.defaultSelected) ?? field.options[0])?.value ?? "";
}

function fill(form, values) {
  for (const field of form.elements) {
    if (!field.name || KEPT_APART.has(field.name)) continue;
    if (field.type === "checkbox") field.checked = field.name in values;
    else if (field.name in values) field.value = values[field.name];
  }
  form.dispatchEvent(new Event("porch:filled", { bubbles: true }));
}

function same(a, b) {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => (a[name] ?? "") === (b[name] ?? ""));
}

function notice(kind, sentence, ...buttons) {
  const element = document.createElement("div");
  element.className = `notice notice-${kind}`;
  element.setAttribute("role", "status");
  const text = document.createElement("p");
  text.textContent = sentence;
  const row = document.createElement("p");
  row.className = "row";
  for (const [label, act] of buttons) {
    const button = document.createElement("button");
    button.className = "button button-small";
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => {
      element.remove();
      act();
    });
    row.append(button);
  }
  element.append(text, row);
  return element;
}

/** Text that was typed and not saved, in this tab, for one agent. */
class Unsaved {
  constructor(agent) {
    this.key = `porch-agent-${agent}`;
  }

  read() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key));
    } catch {
      return null;
    }
  }

  write(revision, values) {
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ revision, values }));
    } catch {
      // Storage is full or closed to us: the text stays in the page alone.
    }
  }

  forget() {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // There is nothing in a storage that is closed.
    }
  }
}

class Bench {
  constructor(sheet) {
    this.sheet = sheet;
    this.unsaved = new Unsaved(this.form.dataset.agent);
    this.saving = false;
    this.signedOut = false;
    document.addEventListener("input", (event) => this.form.contains(event.target) && this.noteChange());
    // A form that is replaced while it has the focus may still be typed in for a moment.
    addEventListener("pagehide", () => this.keep());
    document.addEventListener("submit", (event) => {
      if (event.target !== this.form || event.submitter?.value === "publish") return;
      event.preventDefault();
      this.save();
    }, { capture: true });
    document.addEventListener("click", (event) => {
      if (event.target.closest("[data-forget]")) this.forget();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
      event.preventDefault();
      this.form.requestSubmit();
    });
    this.recall();
    this.tell();
  }

  get form() {
    return this.sheet.querySelector("form[data-editor]");
  }

  get revision() {
    return this.form.elements.revision.value;
  }

  /** Whether the form holds what the server has not kept. */
  get changed() {
    return this.form.dataset.saved !== "yes" || !same(valuesOf(this.form), valuesOf(this.form, true));
  }

  noteChange() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(), 300);
    this.tell();
  }

  keep() {
    clearTimeout(this.timer);
    if (this.forgotten) return;
    if (this.changed) this.unsaved.write(this.revision, valuesOf(this.form));
    else this.unsaved.forget();
  }

  forget() {
    this.forgotten = true;
    this.unsaved.forget();
  }

  /** Put back what was typed in this tab before it was loaded anew. */
  recall() {
    const kept = this.unsaved.read();
    if (!kept || this.form.dataset.saved !== "yes") return;
    if (same(kept.values, valuesOf(this.form, true))) {
      this.unsaved.forget();
      return;
    }
    const drop = () => {
      fill(this.form, valuesOf(this.form, true));
      this.keep();
      this.tell();
    };
    const putBack = () => {
      fill(this.form, kept.values);
      this.keep();
      this.tell();
    };
    if (kept.revision === this.revision) {
      fill(this.form, kept.values);
      this.form.before(notice("info", "What you had typed is back. It is not saved yet.", ["Drop it", drop]));
    } else {
      const sentence = "The draft was changed since. This tab still has what you had typed over the older one.";
      const buttons = [["Put my text back", putBack], ["Drop it", drop]];
      this.form.before(notice("warn", sentence, ...buttons));
    }
  }

  /** Say how it stands, beside the buttons and over the chat. */
  tell(sentence = "") {
    const state = this.sheet.querySelector("[data-state]");
    const changed = this.changed;
    if (state && (sentence || changed || state.dataset.state)) {
      state.dataset.state = changed ? "unsaved" : "saved";
      const said = sentence || (changed ? "Not saved yet" : "Saved");
      if (state.textContent !== said) state.textContent = said;
    }
    const hint = document.querySelector("[data-chat-hint]");
    if (!hint) return;
    hint.dataset.first ??= hint.textContent;
    const said = changed ? "It does not know yet what you have typed: save the draft first." : hint.dataset.first;
    if (hint.textContent !== said) hint.textContent = said;
  }

  async save() {
    if (this.saving) return;
    this.saving = true;
    const sent = valuesOf(this.form);
    this.tell("Saving…");
    try {
      if (this.signedOut) await this.renewToken();
      const body = new URLSearchParams(new FormData(this.form));
      const answer = await fetch(this.form.action, { method: "POST", body, headers: { Accept: "text/html" } });
      await this.takeUp(answer, sent);
    } catch {
      this.keep();
      this.tell("Not saved: the server cannot be reached. Your text stays in this tab; save again in a moment.");
    } finally {
      this.saving = false;
    }
  }

  /** Show the server's answer: the page as it would have come, its sheet put in the place of this one. */
  async takeUp(answer, sent) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("[data-sheet]");
    if (!next) {
      this.keep();
      this.explain(answer, page);
      return;
    }
    this.signedOut = false;
    const typed = valuesOf(this.form);
    const typedOn = !same(typed, sent);
    const back = this.rememberPlace();
    this.sheet.replaceWith(document.adoptNode(next));
    this.sheet = next;
    if (typedOn) fill(this.form, typed);
    tellTimes(this.sheet);
    this.keep();
    this.tell();
    const problems = this.sheet.querySelector(".agent-problems");
    if (problems) {
      document.querySelector(".flash")?.remove();
      problems.focus();
      return;
    }
    back();
    if (answer.ok) this.settle(answer, page);
  }

  /** The rest of the page after a save: its head, its address, the agent that the chat talks to. */
  settle(answer, page) {
    const head = page.querySelector(".agent-head");
    if (head) document.querySelector(".agent-head").replaceWith(document.adoptNode(head));
    document.title = page.title;
    const path = new URL(answer.url).pathname;
    if (answer.redirected && path !== location.pathname) history.replaceState(null, "", path);
    const agent = page.querySelector("porch-chat")?.getAttribute("agent");
    const chat = document.querySelector("porch-chat");
    if (agent && chat && chat.getAttribute("agent") !== agent) chat.setAttribute("agent", agent);
    const questions = page.querySelector("porch-chat")?.getAttribute("suggestions");
    if (questions && chat && chat.getAttribute("suggestions") !== questions) {
      chat.setAttribute("suggestions", questions);
      // They stand where nothing is said yet; a conversation goes on as it is.
      if (!chat.talk?.conversation) renew(chat);
    }
    toast(page.querySelector(".flash p")?.textContent ?? "The draft is saved.");
  }

  /** An answer without a sheet: the session ended, or the agent is gone. */
  explain(answer, page) {
    document.querySelector(".flash")?.remove();
    if (answer.status === 401 || answer.status === 403) {
      this.signedOut = true;
      this.tell("Not saved: you are signed out. Save again when you have signed in ");
      const link = document.createElement("a");
      Object.assign(link, { href: "/sign-in", target: "_blank", textContent: "in another tab" });
      this.sheet.querySelector("[data-state]").append(link, ".");
      return;
    }
    const sentence = page.querySelector("main p")?.textContent?.trim();
    this.tell(`Not saved: ${sentence || `the server answered ${answer.status}. Save again in a moment.`}`);
  }

  /** After signing in again elsewhere: the new session's token for this page's forms. */
  async renewToken() {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const token = page.querySelector('meta[name="csrf-token"]')?.content;
    if (!token) return;
    for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = token;
    const meta = document.querySelector('meta[name="csrf-token"]');
    if (meta) meta.content = token;
  }

  /** Where the person is in the form; the function that is answered brings them back there. */
  rememberPlace() {
    const active = document.activeElement;
    const name = this.sheet.contains(active) ? active.name || active.textContent : null;
    const { selectionStart, selectionEnd, scrollTop } = active ?? {};
    const open = [...this.sheet.querySelectorAll("details")].map((details) => details.open);
    return () => {
      [...this.sheet.querySelectorAll("details")].forEach((details, index) => {
        details.open ||= open[index] ?? false;
      });
      if (name === null) return;
      const again = [...this.form.elements].find((field) => (field.name || field.textContent) === name);
      again?.focus({ preventScroll: true });
      if (again && typeof selectionStart === "number") again.setSelectionRange(selectionStart, selectionEnd);
      if (again && scrollTop) again.scrollTop = scrollTop;
    };
  }
}

/** A chat with nothing said in it takes the place of one that is there. */
function renew(chat) {
  const fresh = chat.cloneNode(false);
  fresh.removeAttribute("conversation");
  chat.replaceWith(fresh);
}

function beginAnew() {
  renew(document.querySelector("porch-chat"));
  toast("A new conversation with the draft.");
}

const sheet = document.querySelector("[data-sheet]");
if (sheet?.querySelector("form[data-editor]")) new Bench(sheet);

const anew = document.querySelector("[data-new-chat]");
if (anew) {
  anew.hidden = false;
  anew.addEventListener("click", beginAnew);
}
