/** What stands in a conversation before anything was said. */

import { make } from "./dom.js";
import { cleanText } from "../markdown/text.js";

/** A greeting (the page's own where it gives one) and first messages to send by a tap. */
export function emptyState(suggestions, send) {
  const buttons = suggestions.map((text) => make("li", {}, make("button", { type: "button", class: "suggestion", dir: "auto", on: { click: () => send(text) } }, cleanText(text))));
  return make(
    "div",
    { class: "empty", hidden: true },
    make("slot", { name: "greeting" }, make("p", { class: "greeting" }, "Say something to begin.")),
    buttons.length ? make("ul", { class: "suggestions", role: "list", "aria-label": "Suggestions" }, ...buttons) : null,
  );
}
