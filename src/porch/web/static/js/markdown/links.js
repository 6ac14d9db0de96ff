/** Links that a reader can trust to be what they say: http, https and mailto alone, never loaded by themselves. */

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
const NAMED = /^\s*(?:https?:\/\/)?(?:[^\s/@]*@)?((?:[\p{L}\p{N}-]+\.)+\p{L}{2,})(?=[/:?#\s]|$)/iu;
// Words that end like a host's name and are file names.
const FILE = /\.(?:py|md|sh|rs|pl|js|ts|io|so|cc)$/i;

/**
 * The address of a link, null for one that is none.
 * @param {string} text
 * @returns {URL|null}
 */
export function linkAddress(text) {
  if (!/^(?:https?:|mailto:)/i.test(text)) return null;
  try {
    const url = new URL(text);
    return SCHEMES.has(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

/**
 * An empty link to it. Its title tells where it leads, whatever its words say.
 * @param {URL} url
 * @returns {HTMLAnchorElement}
 */
export function createLink(url) {
  const link = document.createElement("a");
  link.href = url.href;
  link.title = place(url);
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  return link;
}

/** Where words name another host than the link leads to, say so behind it. @param {HTMLAnchorElement} link @param {URL} url */
export function tellPlace(link, url) {
  const named = NAMED.exec(link.textContent ?? "")?.[1];
  if (!named || FILE.test(named) || url.protocol === "mailto:") return;
  const bare = (host) => host.toLowerCase().replace(/^www\./, "");
  if (bare(hostOf(named)) === bare(url.hostname)) return;
  link.append(` (${url.host})`);
}

function hostOf(name) {
  try {
    return new URL(`https://${name}`).hostname;
  } catch {
    return name;
  }
}

function place(url) {
  return url.protocol === "mailto:" ? decoded(url.pathname) : url.host;
}

function decoded(text) {
  try {
    return decodeURIComponent(text).replace(/[^\x21-\x7e\u00a1-\uffff]/g, "");
  } catch {
    return text;
  }
}

/**
 * How far a bare address reaches from `start`: punctuation that ends the sentence around it is not part of it.
 * @param {string} text
 * @param {number} start
 * @returns {number} the index behind its last character
 */
export function bareAddressEnd(text, start) {
  const stop = /[\s<>"`|\\^{}\u2028\u2029]|$/g;
  stop.lastIndex = start;
  let end = /** @type {RegExpExecArray} */ (stop.exec(text)).index;
  let open = 0;
  for (let index = start; index < end; index += 1) {
    if (text[index] === "(") open += 1;
    else if (text[index] === ")") open -= 1;
    if (open < 0) end = index;
  }
  while (end > start && /[?!.,:;*_~'\]\u3001\u3002\uff0c]/.test(text[end - 1])) end -= 1;
  return end;
}
