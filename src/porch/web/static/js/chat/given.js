/** What a page hands to the component as JSON. */

import { Thread } from "./thread.js";

/** First messages to offer: from the attribute, else from the child script. */
export function suggestionsOf(element) {
  const text = element.getAttribute("suggestions") ?? element.querySelector("script[data-suggestions]")?.textContent;
  const given = parsed(text) ?? [];
  return Array.isArray(given) ? given.filter((entry) => typeof entry === "string" && entry.trim()).slice(0, 6) : [];
}

/** The conversation that stands in the page itself: an array of messages, or {messages}. */
export function presetThread(element) {
  const thread = new Thread();
  const given = parsed(element.querySelector('script[type="application/json"]:not([data-suggestions])')?.textContent) ?? [];
  const messages = Array.isArray(given) ? given : (given.messages ?? []);
  // A shared branch names no parents: each message follows the one before.
  let before = null;
  for (const [at, message] of messages.entries()) {
    const id = message.id ?? `given-${String(at).padStart(8, "0")}`;
    thread.add([{ ...message, id, parent: before }]);
    before = id;
  }
  thread.head = before;
  thread.loaded = true;
  return thread;
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    console.error("porch-chat: the JSON in the page cannot be read:", text.slice(0, 200));
    return null;
  }
}
