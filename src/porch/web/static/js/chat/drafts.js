/** What was typed and not sent, kept for this tab over reloads and signing in. */

const PREFIX = "porch-draft:";

/** The draft of a conversation, or of an agent while there is no conversation yet. */
export class Draft {
  constructor(name) {
    this.key = PREFIX + name;
  }

  read() {
    return get(this.key) ?? "";
  }

  write(text) {
    put(this.key, text || null);
  }

  /** How many pictures and files were attached: they themselves live as long as the page. */
  get files() {
    return Number(get(`${this.key}:files`)) || 0;
  }

  set files(count) {
    put(`${this.key}:files`, count ? String(count) : null);
  }

  /** Keep a message that is on its way, {text, key, files}: a page that goes away before it arrives gives it back. */
  hold(message) {
    put(`${this.key}:sent`, message && JSON.stringify(message));
  }

  /** The message that was on its way when the page went away, or null. */
  held() {
    try {
      return JSON.parse(get(`${this.key}:sent`));
    } catch {
      return null;
    }
  }
}

/** What of a message outlasts the page: of pictures and files only how many they were. */
export function lasting({ text, key, files = [] }) {
  return { text, key, count: files.length };
}

function get(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null; // storage may be forbidden; then a draft lives as long as the page
  }
}

function put(key, text) {
  try {
    if (text === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
  } catch {
    // full or forbidden: the box itself still holds the text
  }
}
