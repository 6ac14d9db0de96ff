/** Pictures and files that go with a message: chosen, pasted or dropped; looked at, taken away again, sent. */

import { icon, iconButton, make, say } from "./dom.js";
import { cleanText } from "../markdown/text.js";

const MIB = 1024 * 1024;
// What the server takes in one message.
const MOST = { image: 5 * MIB, file: 10 * MIB, all: 20 * MIB, parts: 19, side: 8000, pixels: 50e6 };
const SIGNS = { "image/png": /^\x89PNG\r\n\x1a\n/, "image/jpeg": /^\xff\xd8\xff/, "image/gif": /^GIF8[79]a/, "image/webp": /^RIFF[^]{4}WEBP/, "application/pdf": /^%PDF-/ };
const PICTURES = Object.keys(SIGNS).filter(isPicture);
const TOLD = 2;
const ACCEPTED = [...PICTURES, "application/pdf", "application/json", "text/*", ".md", ".csv", ".log", ".yaml", ".yml", ".toml"].join(",");
const LONGEST_NAME = 120;

/** What is attached to the message that is being written. */
export class Tray {
  /** `changed()` is called when something came or went, `refuse(sentence)` when something is not taken. */
  constructor({ changed, refuse, home }) {
    this.tell = { changed, refuse };
    this.home = home; // where the focus goes when nothing is left to remove
    this.items = []; // parts as the server takes them
    this.reading = 0;
    this.input = make("input", { type: "file", multiple: true, accept: ACCEPTED, hidden: true, tabindex: "-1", "aria-hidden": "true", on: { change: () => this.#chosen() } });
    this.button = iconButton("attach", "Attach pictures or files", () => this.input.click(), { class: "round round-quiet" });
    this.list = make("ul", { class: "attached", role: "list", "aria-label": "Attached to this message", hidden: true });
    this.said = make("p", { class: "unseen", role: "status" });
  }

  get parts() {
    return [...this.items];
  }

  /** Take files in, one after another; what is refused is said. */
  async add(files) {
    const refused = new Set();
    for (const file of files) {
      this.reading += 1;
      try {
        const type = await typeBySign(file);
        this.#check(file, type);
        const part = await readFile(file, type);
        this.#check(file, type);
        this.#take(part);
      } catch (error) {
        refused.add(error instanceof Refused ? error.message : `${nameOf(file)} cannot be read just now. Choose it again.`);
      } finally {
        this.reading -= 1;
        this.tell.changed();
      }
    }
    this.tell.refuse(inShort([...refused]));
  }

  /** Put back what was on its way. */
  put(parts) {
    if (this.items.length) return;
    this.items = [...parts];
    this.#show();
  }

  clear() {
    this.items = [];
    say(this.said, "");
    this.#show();
  }

  /** Let files be pasted into a text box; what has words is pasted as words. */
  hearPastes(box) {
    box.addEventListener("paste", (event) => {
      const { files } = event.clipboardData ?? {};
      if (!files?.length || event.clipboardData.getData("text/plain")) return;
      event.preventDefault();
      this.add([...files]);
    });
  }

  /** Let files be dropped anywhere on an element. */
  hearDrops(element) {
    const carries = (event) => event.dataTransfer?.types.includes("Files");
    const over = (dropping) => element.classList.toggle("dropping", dropping);
    element.addEventListener("dragover", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      over(true);
    });
    element.addEventListener("dragleave", (event) => element.contains(event.relatedTarget) || over(false));
    element.addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      over(false);
      this.add([...event.dataTransfer.files]);
    });
  }

  #chosen() {
    const files = [...this.input.files];
    this.input.value = ""; // the same file may be chosen again
    this.add(files);
    this.home.focus();
  }

  /** Throw Refused for what is too large, or too much beside what is here. */
  #check(file, type) {
    const picture = isPicture(type);
    const most = picture ? MOST.image : MOST.file;
    if (file.size > most) throw new Refused(`${nameOf(file)} is ${sizeOf(file.size)} large, and ${picture ? "a picture" : "a file"} may have ${most / MIB} MiB at most. Make it smaller, then attach it.`);
    if (file.size === 0) throw new Refused(`${nameOf(file)} is empty.`);
    if (this.items.length >= MOST.parts) throw new Refused(`One message holds ${MOST.parts} pictures and files. Send these first, then the others.`);
    const held = this.items.reduce((sum, { bytes }) => sum + bytes, file.size);
    if (held > MOST.all) throw new Refused(`With ${nameOf(file)} it would be ${sizeOf(held)}, and one message holds ${MOST.all / MIB} MiB. Send what is there first.`);
  }

  #take(part) {
    this.items.push(part);
    this.#show();
    say(this.said, `${part.name} is attached.`);
  }

  #remove(part) {
    const at = this.items.indexOf(part);
    this.items.splice(at, 1);
    this.#show();
    say(this.said, `${part.name} is removed.`);
    const left = this.list.querySelectorAll("button");
    (left[Math.min(at, left.length - 1)] ?? this.home).focus();
    this.tell.changed();
  }

  #show() {
    this.list.hidden = this.items.length === 0;
    this.list.replaceChildren(
      ...this.items.map((part) => attachment(part, part.type === "image" ? dataUrl(part) : null, () => this.#remove(part))),
    );
  }
}

/** The pictures and files of a message, in it. */
export class Shown {
  /** `host` says where the bytes are (addressOf), or fetches them where no element could (picture, save). */
  constructor({ host }) {
    this.host = host;
    this.previews = [];
    this.lent = [];
    this.element = make("ul", { class: "shown", role: "list", "aria-label": "Attached", hidden: true });
  }

  update(message) {
    const parts = filesOf(message);
    const key = parts.map(({ type, name, url }) => `${type} ${name} ${url}`).join("\n");
    if (key === this.key) return;
    this.key = key;
    // What was drawn from this tab's own bytes is not fetched again.
    this.previews = parts.map((part, at) => (part.data ? dataUrl(part) : parts.length === this.previews.length ? this.previews[at] : null));
    this.element.hidden = parts.length === 0;
    this.element.replaceChildren(...parts.map((part, at) => make("li", {}, part.type === "image" ? this.#picture(part, this.previews[at]) : this.#file(part))));
  }

  /** Where the picture is that stands at this place. */
  sourceOf(at) {
    return this.element.children[at]?.querySelector("img")?.src ?? null;
  }

  /** Let go of what was fetched to be shown. */
  close() {
    this.lent.splice(0).forEach((address) => URL.revokeObjectURL(address));
  }

  #picture(part, preview) {
    const { width, height } = part;
    const { foreign } = this.host;
    const name = part.name ? `Picture ${cleanText(part.name)}` : "A picture";
    const drawn = make("img", { class: "picture", src: preview ?? (foreign ? null : this.host.addressOf(part)), alt: name, width, height, decoding: "async" });
    if (foreign && !preview) this.#fetch(part, drawn);
    return part.url && !foreign ? make("a", { href: this.host.addressOf(part), target: "_blank", rel: "noopener" }, drawn) : drawn;
  }

  async #fetch(part, drawn) {
    try {
      const address = await this.host.picture(part);
      this.lent.push(address);
      drawn.src = address;
    } catch (error) {
      const again = make("button", { type: "button", class: "link", on: { click: () => { place.replaceWith(drawn); this.#fetch(part, drawn); } } }, "Try again");
      const place = make("p", { class: "soft" }, `${drawn.alt} could not be fetched. `, again);
      drawn.replaceWith(place);
    }
  }

  #file(part) {
    const name = cleanText(part.name || part.media_type);
    const about = make("span", { class: "about" }, make("bdi", { class: "name" }, name), make("span", { class: "soft" }, sizeOf(part.bytes ?? 0)));
    const inside = [icon("file"), about];
    if (!part.url) return make("span", { class: "attachment" }, ...inside);
    if (!this.host.foreign) return make("a", { class: "attachment", href: this.host.addressOf(part), download: "" }, ...inside);
    return make("button", { type: "button", class: "attachment", title: "Save", on: { click: ({ currentTarget }) => this.#save(part, currentTarget) } }, ...inside);
  }

  async #save(part, button) {
    const about = button.querySelector(".soft");
    try {
      await this.host.save(part);
    } catch {
      say(about, "Not fetched. Try again.");
    }
  }
}

/** One of the files that are about to be sent; `source` is where its picture is, `remove()` takes it away. */
export function attachment(part, source, remove) {
  const name = cleanText(part.name || part.media_type);
  const preview = source ? make("img", { src: source, alt: "" }) : icon("file");
  const about = make("span", { class: "about" }, make("bdi", { class: "name" }, name), make("span", { class: "soft" }, sizeOf(part.bytes ?? 0)));
  return make("li", { class: `attachment attachment-${part.type}` }, preview, about, iconButton("remove", `Remove ${name}`, remove));
}

/** The pictures and files among a message's parts. */
export function filesOf(message) {
  return (message?.parts ?? []).filter(({ type }) => type === "image" || type === "file");
}

/** A message's input as the server takes it; files that only stand on the server are fetched from there. */
export async function inputOf(client, text, files) {
  if (!files.length) return text;
  const sent = await Promise.all(files.map(async ({ type, media_type, name, data, url }) => ({ type, media_type, name: name ?? null, data: data || (await fetchData(client, url)) })));
  return text.trim() ? [...sent, { type: "text", text }] : sent;
}

/** Whether these are the very same files. */
export function sameFiles(some, others) {
  return some.length === others.length && some.every((part, at) => part === others[at]);
}

export const CHOOSE_AGAIN = "The pictures and files of this message did not outlast the page: attach them again, then send.";

class Refused extends Error {}

/** The first sentences of several; a hundred of them tell nobody more. */
function inShort(sentences) {
  const rest = sentences.length - TOLD;
  return [...sentences.slice(0, TOLD), ...(rest > 0 ? [`${rest} more ${rest > 1 ? "were" : "was"} not taken either.`] : [])].join(" ");
}

/** A picture's or PDF's type by its first bytes, whatever its name says; null for anything else. */
async function typeBySign(file) {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  return Object.keys(SIGNS).find((type) => SIGNS[type].test(head)) ?? null;
}

function isPicture(type) {
  return type?.startsWith("image/") ?? false;
}

async function readFile(file, type) {
  const name = nameOf(file);
  if (!type && file.type in SIGNS) throw new Refused(`${name} is named like a ${isPicture(file.type) ? "picture" : "PDF"}, but there is none in it. Choose the right file, or save it anew.`);
  if (!type && isPicture(file.type)) throw new Refused(`${name} is a picture of a kind that is not taken. Save it as PNG, JPEG, GIF or WebP.`);
  const media_type = type ?? (await textType(file, name));
  const part = { type: isPicture(type) ? "image" : "file", media_type, name, data: await base64Of(file), bytes: file.size };
  if (part.type === "image") await checkPicture(part, file);
  return part;
}

/** Throw Refused for a picture that cannot be shown, or has more pixels than are taken. */
async function checkPicture(part, file) {
  const { width, height } = await sidesOf(part, file);
  if (Math.max(width, height) > MOST.side || width * height > MOST.pixels) {
    throw new Refused(`${part.name} is ${width.toLocaleString()} by ${height.toLocaleString()} pixels large. At most ${MOST.side.toLocaleString()} a side and ${MOST.pixels / 1e6} million in all are taken: make it smaller, then attach it.`);
  }
}

async function sidesOf(part, file) {
  const drawn = make("img");
  const loaded = new Promise((resolve) => ["load", "error"].forEach((name) => drawn.addEventListener(name, () => resolve(name === "load"))));
  drawn.src = dataUrl(part);
  if (await loaded) return { width: drawn.naturalWidth, height: drawn.naturalHeight };
  // Another site's policy may allow no data: addresses; the picture is whole all the same.
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw new Refused(`${part.name} is damaged and cannot be shown. Save it anew, then attach it.`);
  const { width, height } = bitmap;
  bitmap.close();
  return { width, height };
}

/** What is no picture and no PDF must be text, whatever a system calls it. */
async function textType(file, name) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (!text.includes("\0")) return /^text\/[a-z0-9.+-]+$|^application\/json$/.test(file.type) ? file.type : "text/plain";
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  throw new Refused(`${name} is not taken: pictures may be PNG, JPEG, GIF or WebP; files may be PDF, text in UTF-8 or JSON.`);
}

function base64Of(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

async function fetchData(client, url) {
  return base64Of(await client.download(url));
}

function dataUrl({ media_type, data }) {
  return `data:${media_type};base64,${data}`;
}

function nameOf(file) {
  const name = [...cleanText(file.name || "A file")];
  return name.length > LONGEST_NAME ? `…${name.slice(1 - LONGEST_NAME).join("")}` : name.join("");
}

function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  // Rounded up: what is over a limit must not read like the limit.
  return bytes < MIB ? `${Math.ceil(bytes / 1024)} KiB` : `${(Math.ceil((bytes * 10) / MIB) / 10).toFixed(1)} MiB`;
}
