/** The page around a chat that navigates: its address, heading and title follow the conversation. */

import { told } from "./company.js";

const HEAD = ".talk-head";

export class ChatPage {
  /** `chat` is the element; what stands before it in its parent is the heading. */
  constructor(chat) {
    this.chat = chat;
    this.title = shownTitle(document);
  }

  /** The conversation exists now: the address is its own. */
  move(id) {
    history.replaceState(history.state, "", pathOf(id));
  }

  /** Make the heading this conversation's. `title` is what it is called now, where that is known. */
  async follow(id, title) {
    if (!id) return;
    if (this.fetching) {
      this.missed = title ?? this.missed;
      return;
    }
    const own = document.querySelector(HEAD)?.dataset.conversation === id;
    // A message names what has no name yet; nobody has said how.
    if (own && (title === undefined ? this.title !== "" : this.title === title)) return;
    this.fetching = true;
    try {
      const page = await fetchPage(pathOf(id));
      // What fails is tried again with the next news of the conversation.
      if (page && this.chat.isConnected && this.chat.talk?.conversation === id) this.#show(page, own);
    } finally {
      this.fetching = false;
    }
    const { missed } = this;
    this.missed = undefined;
    if (missed !== undefined) await this.follow(id, missed);
  }

  /** Say who else is here. */
  greet(people) {
    const place = document.querySelector(`${HEAD} [data-company]`);
    const words = told(people);
    if (place && place.textContent !== words) place.textContent = words;
  }

  #show(page, own) {
    const head = page.querySelector(HEAD);
    if (!head) return;
    if (own) retitle(head);
    else this.#replaceHead(document.adoptNode(head));
    this.title = shownTitle(document);
    document.title = page.title;
    for (const link of document.querySelectorAll("#house-nav a")) {
      const current = page.querySelector(`#house-nav a[href="${link.getAttribute("href")}"]`)?.getAttribute("aria-current");
      if (current) link.setAttribute("aria-current", current);
      else link.removeAttribute("aria-current");
    }
  }

  #replaceHead(head) {
    const { chat } = this;
    const before = [...chat.parentElement.children];
    const old = before.slice(0, before.indexOf(chat)).filter((element) => !element.matches(".flash"));
    const held = old.some((element) => element.contains(document.activeElement));
    old.forEach((element) => element.remove());
    chat.before(head);
    if (held) chat.focus();
  }
}

/** Only the words, so that a menu that is open stays open. */
function retitle(head) {
  const said = head.querySelectorAll("[data-title]");
  document.querySelectorAll(`${HEAD} [data-title]`).forEach((element, at) => {
    element.textContent = said[at]?.textContent ?? element.textContent;
    element.dataset.title = said[at]?.dataset.title ?? "";
  });
}

/** The title that the heading shows, as it was given: "" for none, null where there is no heading. */
function shownTitle(page) {
  const given = page.querySelector(`${HEAD} [data-title]`)?.dataset.title;
  return given === undefined ? null : decodeURIComponent(given);
}

async function fetchPage(path) {
  try {
    const response = await fetch(path, { headers: { Accept: "text/html" }, credentials: "same-origin", cache: "no-store", redirect: "manual" });
    return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
  } catch {
    return null;
  }
}

function pathOf(id) {
  return `/chat/${encodeURIComponent(id)}`;
}
