/** Controls that several parts of the chat have. */

import { iconButton, make, say } from "./dom.js";

/** ‹ 2/3 › between the versions of a message. */
export class VersionSwitch {
  constructor(onShow) {
    this.onShow = onShow;
    this.count = make("span", { class: "count" });
    this.before = iconButton("back", "Show the version before", () => this.#go(-1), { "data-way": "before" });
    this.after = iconButton("next", "Show the version after", () => this.#go(1), { "data-way": "after" });
    this.element = make("div", { class: "versions", role: "group", "aria-label": "Versions", hidden: true }, this.before, this.count, this.after);
  }

  /** `versions` is {ids, index}, null where there is one only. */
  update(versions, locked = false) {
    this.versions = versions;
    this.element.hidden = !versions;
    if (!versions) return;
    const { ids, index } = versions;
    say(this.count, `${index + 1}/${ids.length}`);
    this.count.setAttribute("aria-label", `Version ${index + 1} of ${ids.length}`);
    this.before.disabled = locked || index === 0;
    this.after.disabled = locked || index === ids.length - 1;
  }

  /** Whether it switches to and from this message. */
  has(id) {
    return Boolean(this.versions?.ids.includes(id));
  }

  /** Take the focus, on the side where it was if there is still somewhere to go. */
  focus(after) {
    const [wanted, other] = after ? [this.after, this.before] : [this.before, this.after];
    (wanted.disabled ? other : wanted).focus();
  }

  #go(by) {
    const id = this.versions?.ids[this.versions.index + by];
    if (id) this.onShow(id);
  }
}

// The most that the server takes in one message, in UTF-8.
const MOST_BYTES = 512 * 1024;

/** Why a text is too long to be one message, "" where it is not. */
export function tooLong(text) {
  if (text.length * 3 <= MOST_BYTES) return "";
  const { length } = new TextEncoder().encode(text);
  if (length <= MOST_BYTES) return "";
  const size = Math.ceil(length / 1024).toLocaleString();
  return `This is ${size} KiB long, and one message holds ${MOST_BYTES / 1024} KiB at most. Shorten it, or send it in several messages; your text stays here.`;
}

const LONG = 4000;

/**
 * Let a text box be as high as its text, up to what its style allows. Answers the function that fits it anew.
 *
 * Long texts get the full height unmeasured: laying them out takes Chromium seconds with `field-sizing`,
 * `dir=auto` or a paste of its own (100 KB in 1,500 lines: 2 s, 1 s, minutes).
 */
export function grow(box) {
  const fit = () => {
    const long = box.value.length > LONG;
    box.classList.toggle("long", long);
    box.dir = long ? "" : "auto";
    box.style.blockSize = "auto";
    // Nothing is as high as its row, whatever the placeholder would take.
    if (!long && box.value) box.style.blockSize = `${box.scrollHeight}px`;
  };
  box.addEventListener("input", fit);
  box.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text.length <= LONG) return;
    event.preventDefault();
    box.setRangeText(text.replace(/\r\n?/g, "\n"), box.selectionStart, box.selectionEnd, "end");
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
  });
  requestAnimationFrame(fit);
  return fit;
}

/** Call `send` on Enter; Shift+Enter is a new line, and Enter that ends a composition (IME) is that only. */
export function onSend(box, send) {
  box.addEventListener("keydown", (event) => {
    // Safari ends a composition before the keydown that ended it: 229 tells.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  });
}
