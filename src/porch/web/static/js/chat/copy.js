/** Copying to the clipboard, also where pages are not served over TLS. */

import { icon, make } from "./dom.js";

const SHOWN_MS = 1500;

/** Copy a text and let the button show it. Answers whether it worked. */
export async function copyText(text, button) {
  const done = await write(text);
  if (done && button) {
    const before = icon("copy");
    button.replaceChildren(icon("done"));
    setTimeout(() => button.replaceChildren(before), SHOWN_MS);
  }
  return done;
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text);
  }
}

/** The clipboard's API is there for secure pages only; a selection is enough elsewhere. */
function writeBySelection(text) {
  const held = document.activeElement;
  const box = make("textarea", { readonly: true, "aria-hidden": "true" });
  box.style.cssText = "position:fixed;inset-block-start:0;opacity:0";
  box.value = text;
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  held?.focus?.({ preventScroll: true });
  return done;
}
