import { Announcer } from "/static/js/chat/announcer.js";

/** What stands in the live region after an answer and a notice. */
export function told({ answer, notice }) {
  const announcer = new Announcer();
  announcer.feed(answer);
  announcer.finish();
  announcer.announce(notice);
  return [...announcer.element.children].map((each) => each.textContent);
}
