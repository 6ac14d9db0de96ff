/** A block of code with its language and a button that copies it. */

const LANGUAGE = /^[\p{L}\p{N}_+#.-]{1,30}$/u;
const TOLD_MS = 2000;
const STRETCH = 4096;

/**
 * @param {string} named the language as the text names it
 * @returns {{node: HTMLElement, code: HTMLElement}} `code` is where the text goes
 */
export function codeBlock(named) {
  const language = LANGUAGE.test(named) ? named : "";
  const node = make("div", "code-block");
  const head = make("div", "code-head");
  const label = make("span", "code-language");
  label.textContent = language;
  const button = make("button", "code-copy");
  button.setAttribute("type", "button");
  button.textContent = "Copy";
  button.setAttribute("aria-label", language ? `Copy the ${language} code` : "Copy the code");
  const frame = make("pre", "code");
  frame.tabIndex = 0;
  frame.dir = "ltr";
  const code = make("code", language ? `language-${language}` : "");
  button.addEventListener("click", () => copy(button, code.textContent ?? ""));
  head.append(label, button);
  frame.append(code);
  node.append(head, frame);
  return { node, code };
}

/**
 * Make a code's text what it is now, touching only its end. Long code stands in stretches of whole lines, which are
 * laid out once; where one ends is decided by what stands before its end alone.
 * @param {Element} slot
 * @param {string} text
 */
export function growCode(slot, text) {
  let start = 0;
  let node = slot.firstChild;
  for (; ; node = node.nextSibling) {
    const end = stretchEnd(text, start);
    const part = text.slice(start, end);
    if (!node) slot.append((node = start ? stretchOf(part) : document.createTextNode(part)));
    else put(node instanceof Text ? node : node.firstChild, part);
    start = end;
    if (start >= text.length) break;
  }
  while (node.nextSibling) node.nextSibling.remove();
}

function stretchEnd(text, start) {
  if (text.length - start <= STRETCH) return text.length;
  const end = text.indexOf("\n", start + STRETCH) + 1;
  return end || text.length;
}

function stretchOf(text) {
  const stretch = make("span", "stretch");
  stretch.append(text);
  return stretch;
}

function put(node, text) {
  if (node.data === text) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Refused, or a page that is not secure: the person can still select the text.
    button.textContent = "Select to copy";
  }
  setTimeout(() => (button.textContent = "Copy"), TOLD_MS);
}

function make(name, className) {
  const node = document.createElement(name);
  if (className) node.className = className;
  return node;
}
