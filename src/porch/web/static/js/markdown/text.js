/**
 * Text without tricks: what would turn lines around, hide words or drive a terminal is shown as its code, ⟨U+202E⟩.
 *
 * Source: Unicode TR 36 and 39. Joiners, selectors and breaks that are not seen stay inside the scripts and emoji
 * that need them; left-to-right and right-to-left marks cannot reorder what stands around them and stay, too.
 */

const MARKED =
  /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u00ad\u034f\u115f\u1160\u180b-\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/u;
// Everything but what is surely harmless by itself.
const SUSPECT = /[^\t\n\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u0370-\u10ff\u2010-\u2027\u2030-\u205e\u2070-\u2fff\u3001-\u3163\u4e00-\u9fff\uac00-\ud7a3]/;
const BLACK_FLAG = 0x1f3f4;
const BYTE_ORDER = 0xfeff;
// What an unseen character may follow: Mongolian, Jamo, and scripts that write no spaces.
const AT_HOME = [
  [/[\u180b-\u180f]/, /[\u1800-\u18af]/],
  [/[\u1160]/, /[\u1100-\u115f\ua960-\ua97c]/],
  [/[\u200b]/, /[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u1aad]/],
  [/[\u034f]/, /[\u0300-\u036f\u0591-\u05f4]/],
];
// Stands for a character that was replaced: nothing belongs after it.
const REPLACED = 1;

/** Cleans text that comes in pieces: the same for every way of cutting it. */
export class TextCleaner {
  #half = "";
  #last = 0;
  #afterReturn = false;
  #flag = false;

  /**
   * The clean text of one more piece.
   * @param {string} piece
   * @returns {string}
   */
  feed(piece) {
    let text = this.#half + piece;
    if (!text) return "";
    const last = text.charCodeAt(text.length - 1);
    this.#half = last >= 0xd800 && last <= 0xdbff ? text.slice(-1) : "";
    if (this.#half) text = text.slice(0, -1);
    if (SUSPECT.test(text) || this.#afterReturn) return Array.from(text, (character) => this.#take(character)).join("");
    if (text) this.#last = text.charCodeAt(text.length - 1);
    this.#flag &&= !text;
    return text;
  }

  /** What is left at the end: half a character. @returns {string} */
  finish() {
    const rest = this.#half ? "\ufffd" : "";
    this.#half = "";
    return rest;
  }

  #take(character) {
    const code = /** @type {number} */ (character.codePointAt(0));
    const before = this.#last;
    const afterReturn = this.#afterReturn;
    this.#afterReturn = character === "\r";
    if (character === "\n" && afterReturn) return "";
    const tag = code >= 0xe0020 && code <= 0xe007f && this.#flag;
    this.#flag = tag || code === BLACK_FLAG;
    if (tag) return character;
    const clean = neutral(character, code, before);
    if (clean) this.#last = clean === character ? code : REPLACED;
    return clean;
  }
}

/**
 * A whole text without tricks.
 * @param {string} text
 * @returns {string}
 */
export function cleanText(text) {
  const cleaner = new TextCleaner();
  return cleaner.feed(text) + cleaner.finish();
}

function neutral(character, code, before) {
  if (character === "\r" || code === 0x2028 || code === 0x2029) return "\n";
  if (code >= 0xd800 && code <= 0xdfff) return "\ufffd";
  if (code === BYTE_ORDER && !before) return "";
  const stays = needed(character, code, before) || !(MARKED.test(character) || isJoiner(code) || isSelector(code));
  return stays ? character : `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** Whether a character that cannot be seen does its work after the one before it. */
function needed(character, code, before) {
  if (isJoiner(code)) return before > 0x2ff && !isJoiner(before);
  // Those up to U+FE0F also follow digits and signs, as in keycaps.
  if (isSelector(code)) return !isSelector(before) && before >= (code <= 0xfe0f ? 0x23 : 0x3400);
  return AT_HOME.some(([unseen, script]) => unseen.test(character) && before > REPLACED && script.test(String.fromCodePoint(before)));
}

function isJoiner(code) {
  return code === 0x200c || code === 0x200d;
}

function isSelector(code) {
  return (code >= 0xfe00 && code <= 0xfe0f) || (code >= 0xe0100 && code <= 0xe01ef);
}
