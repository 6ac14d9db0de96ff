import { MarkdownView } from "/static/js/markdown/markdown.js";

const ALLOWED = {
  p: ["dir"], h3: ["dir"], h4: ["dir"], h5: ["dir"], h6: ["dir"], em: [], strong: [], del: [], br: [], hr: [],
  code: ["class"], pre: ["class", "tabindex", "dir"], div: ["class", "tabindex", "role", "aria-label"], span: ["class"],
  button: ["class", "type", "aria-label"], ul: ["class", "dir"], ol: ["class", "dir", "start"], li: [], blockquote: ["dir"],
  table: ["class"], thead: [], tbody: [], tr: [], th: ["class", "dir", "scope"], td: ["class", "dir"],
  a: ["href", "title", "target", "rel", "class"],
};
const HIDDEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u2028-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e001f}]/u;

function rendered(text) {
  const element = document.createElement("div");
  new MarkdownView(element).set(text);
  return element;
}

export function html(text) {
  return rendered(text).innerHTML;
}

export function plain(text) {
  return rendered(text).textContent;
}

export function links(text) {
  return [...rendered(text).querySelectorAll("a")].map((link) => ({ text: link.textContent, href: link.getAttribute("href"), title: link.title, rel: link.rel, target: link.target }));
}

/** What a text becomes that must not be there: elements, attributes, addresses, hidden characters. */
function faults(element) {
  const found = [];
  for (const node of element.querySelectorAll("*")) {
    const name = node.localName;
    if (!(name in ALLOWED)) found.push(`<${name}>`);
    for (const { name: attribute, value } of node.attributes) {
      if (!ALLOWED[name]?.includes(attribute)) found.push(`<${name} ${attribute}>`);
      if (HIDDEN.test(value)) found.push(`hidden in ${attribute}`);
    }
    if (name === "a" && !/^(https?:\/\/|mailto:)/.test(node.getAttribute("href"))) found.push(`href ${node.getAttribute("href")}`);
    if (name === "a" && (node.rel !== "noopener noreferrer nofollow" || node.target !== "_blank" || !node.title)) found.push("a bare link");
    if (name === "a" && node.querySelector("a")) found.push("a link in a link");
  }
  if (HIDDEN.test(element.textContent)) found.push("hidden text");
  return found;
}

export function faultsOf(texts) {
  return texts.flatMap((text) => faults(rendered(text)).map((fault) => `${JSON.stringify(text)}: ${fault}`));
}

/** Where the same text, given in these pieces, ends as other elements; and what was wrong on the way. */
export function differences(cases) {
  const found = [];
  for (const { pieces } of cases) {
    const text = pieces.join("");
    const element = document.createElement("div");
    const view = new MarkdownView(element);
    for (const piece of pieces) {
      view.append(piece);
      const wrong = faults(element);
      if (wrong.length) found.push(`${JSON.stringify(text)}: ${wrong[0]}`);
    }
    view.finish();
    const whole = rendered(text);
    if (!element.isEqualNode(whole)) found.push(`${JSON.stringify(pieces)}:\n ${element.innerHTML}\n ${whole.innerHTML}`);
    if (view.source !== text) found.push(`source of ${JSON.stringify(pieces)}`);
  }
  return found;
}

export function differencesCharByChar(texts) {
  return differences(texts.map((text) => ({ pieces: text.split("") })));
}

/** Milliseconds for a text, and for one ten times as long: unit repeated. */
export function times({ head, unit, tail, length }) {
  const take = (size) => {
    const text = head + unit.repeat(Math.ceil(size / unit.length)) + tail;
    const begin = performance.now();
    rendered(text);
    return performance.now() - begin;
  };
  take(length / 100);
  return { short: Math.min(take(length / 10), take(length / 10)), long: take(length) };
}

/** Which elements are still the same ones after so much more of the text. */
export function kept({ before, more }) {
  const element = document.createElement("div");
  const view = new MarkdownView(element);
  view.append(before);
  const first = [...element.children];
  view.append(more);
  return first.map((node) => element.contains(node));
}

export async function copied(text) {
  const element = rendered(text);
  document.body.append(element);
  let given = null;
  Object.defineProperty(navigator, "clipboard", { configurable: true, value: { writeText: async (words) => (given = words) } });
  const button = element.querySelector("button");
  button.click();
  await Promise.resolve();
  await Promise.resolve();
  const told = button.textContent;
  element.remove();
  return { given, told };
}

export function whileOpen(text) {
  const element = document.createElement("div");
  new MarkdownView(element).append(text);
  return element.innerHTML;
}

export function depth(text) {
  let deepest = 0;
  const walk = (node, level) => {
    deepest = Math.max(deepest, level);
    for (const child of node.children) walk(child, level + 1);
  };
  walk(rendered(text), 0);
  return deepest;
}
