import { MarkdownView } from "/static/js/markdown/markdown.js";

const PIECE = 700;

async function styled() {
  const sheets = ["tokens", "chat"].map((name) => {
    const link = document.createElement("link");
    Object.assign(link, { rel: "stylesheet", href: `/static/css/${name}.css` });
    return link;
  });
  const loaded = sheets.map((sheet) => new Promise((resolve) => sheet.addEventListener("load", resolve)));
  document.head.append(...sheets);
  await Promise.all(loaded);
}

async function view(text, width = 600) {
  await styled();
  document.body.className = "chat";
  const element = document.createElement("div");
  element.className = "prose";
  element.style.width = `${width}px`;
  document.body.replaceChildren(element);
  const markdown = new MarkdownView(element);
  for (let at = 0; at < text.length; at += PIECE) {
    markdown.append(text.slice(at, at + PIECE));
    element.getBoundingClientRect();
  }
  return { element, markdown };
}

/** Where each word of an element stands on the screen. */
function places(element) {
  const found = [];
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    for (const { 0: part, index } of node.data.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + part.length);
      const { left, top } = range.getBoundingClientRect();
      found.push(`${part} ${left.toFixed(1)} ${top.toFixed(1)}`);
    }
  }
  return found;
}

function held(element) {
  return [...element.querySelectorAll(".stretch")].reduce((sum, stretch) => sum + stretch.textContent.length, 0);
}

/** How much of a growing text is held in stretches, and which words stand elsewhere once they are gone. */
export async function growing({ text, width, narrower }) {
  const { element, markdown } = await view(text, width);
  const found = { held: held(element), stretches: element.querySelectorAll(".stretch").length };
  if (narrower) {
    element.style.width = `${narrower}px`;
    window.dispatchEvent(new Event("resize"));
    markdown.append(" more");
    found.heldNarrower = held(element);
  }
  const before = places(element);
  markdown.finish();
  const after = places(element);
  found.moved = before.filter((place, at) => place !== after[at]).slice(0, 3);
  found.words = after.length;
  found.left = element.querySelectorAll("p .stretch").length;
  return found;
}

/** What a reader copies who selects all of a text while it grows, and once it is whole; and what stays selected. */
export async function selected(text) {
  const { element, markdown } = await view(text);
  const selection = document.getSelection();
  selection.selectAllChildren(element);
  const found = { growing: selection.toString() };
  const [first, last] = [".stretch", ".stretch:last-of-type"].map((name) => element.querySelector(name)?.firstChild);
  if (first) selection.setBaseAndExtent(first, 1, last, 2);
  found.part = selection.toString();
  markdown.finish();
  found.partAfter = selection.toString();
  selection.selectAllChildren(element);
  found.whole = selection.toString();
  return found;
}

/** The groups of a long answer: how many blocks each has, and how the blocks' places differ from those without. */
export async function grouped(text) {
  const { element, markdown } = await view(text);
  markdown.finish();
  const groups = [...element.querySelectorAll(".group")];
  for (const group of groups) group.style.contentVisibility = "visible";
  const before = places(element);
  const sizes = groups.map((group) => group.childElementCount);
  for (const group of groups) group.replaceWith(...group.childNodes);
  const after = places(element);
  return { sizes, moved: before.filter((place, at) => place !== after[at]).slice(0, 3), words: after.length };
}
