import { Announcer } from "/static/js/chat/announcer.js";

/** What stands in the live region after an answer and a notice. */
export function told({ answer, notice }) {
  const announcer = new Announcer();
  announcer.feed(answer);
  announcer.finish();
  announcer.announce(notice);
  return [...announcer.element.children].map((each) => each.textContent);
}

/** What is read out of an answer that comes in pieces, each followed by a pause. */
export async function pieces(given) {
  const announcer = new Announcer();
  const { setTimeout: wait } = window;
  let due = null;
  window.setTimeout = (act) => ((due = act), 1);
  try {
    for (const piece of given) {
      announcer.feed(piece);
      due?.();
    }
    announcer.finish();
  } finally {
    window.setTimeout = wait;
  }
  return [...announcer.element.children].map((each) => each.textContent);
}
