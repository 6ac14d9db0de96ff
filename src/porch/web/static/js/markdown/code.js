/** A block of code with its language and a button that copies it. */

const LANGUAGE = /^[\p{L}\p{N}_+#.-]{1,30}$/u;
const TOLD_MS = 2000;

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
