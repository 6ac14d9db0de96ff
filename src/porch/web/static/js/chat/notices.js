/** What went wrong, as a sentence with a way forward. */

import { cleanText } from "../markdown/text.js";
import { icon, make } from "./dom.js";

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });
const NOT_NOW = "The agent cannot answer just now, and only its owner can mend that. Try again later.";

/** Failures that go away by asking again. */
const PASSING = new Set(["rate_limit", "overloaded", "network", "protocol", "cut", "timeout", "internal", "conflict"]);

/**
 * A box with a sentence and buttons.
 *
 * `tone` is "danger", "warn", "info" or "quiet". An action is {label, act} or {label, href, tab?}; with `tab` the
 * link opens beside this page, so that nothing here is lost.
 */
export function noticeBox({ tone = "info", sentence, detail = null, actions = [] }) {
  const urgent = tone === "danger" || tone === "warn";
  return make(
    "div",
    { class: `notice notice-${tone}`, role: urgent ? "alert" : "status" },
    urgent ? icon("warn") : null,
    make("div", { class: "notice-text" }, make("p", { dir: "auto" }, sentence), detail ? make("p", { class: "soft", dir: "auto" }, detail) : null),
    actions.length ? make("div", { class: "notice-actions" }, ...actions.map(actionButton)) : null,
  );
}

function actionButton({ label, act, href, tab }) {
  if (href) return make("a", { class: "button", href, ...(tab ? { target: "_blank", rel: "opener" } : {}) }, label);
  return make("button", { class: "button", type: "button", on: { click: act } }, label);
}

/** Where one signs in and comes back to this very page. */
export function signInAddress() {
  return `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
}

/**
 * The notice for a run's error ({code, category, message, retryable}).
 *
 * `ways` holds what the place can do: `again`, `edit`, `fresh` (a new conversation); missing ones are not offered. Visitors of
 * another site (`foreign`) can mend no models, and are told nothing of them.
 */
export function failureNotice(error, ways) {
  const actions = [];
  const offer = (label, act) => act && actions.push({ label, act });
  switch (error.category) {
    case "auth":
    case "quota":
      if (!ways.foreign) actions.push({ label: "Look at the models", href: "/models", tab: true });
      offer("Try again", ways.again);
      if (ways.foreign) return noticeBox({ tone: "danger", sentence: NOT_NOW, actions });
      break;
    case "context_too_long":
      offer("Start a new conversation", ways.fresh);
      offer("Edit your message", ways.edit);
      break;
    case "content_filtered":
    case "bad_request":
      offer("Edit your message", ways.edit);
      offer("Try again", ways.again);
      break;
    default:
      if (error.retryable || PASSING.has(error.category)) offer("Try again", ways.again);
      offer("Edit your message", ways.edit);
  }
  return noticeBox({ tone: "danger", sentence: error.message, actions });
}

/** The notice for an answer that ended early without failing, or null. */
export function endingNotice(state, ways) {
  const actions = ways.more ? [{ label: "Go on", act: ways.more }] : [];
  if (state.status === "cancelled") return noticeBox({ tone: "quiet", sentence: "Stopped before its end." });
  if (state.status === "lost") return noticeBox({ tone: "quiet", sentence: "This is as far as this page could follow the answer." });
  if (state.status === "paused") {
    const quota = state.reason === "quota" || state.waits_for?.reason === "quota";
    const sentence = quota ? `The answer waits: the workspace has used up its quota. It goes on by itself when there is more${latest(state.waits_for?.until)}.` : "The answer waits for a decision before it goes on.";
    return noticeBox({ tone: "info", sentence });
  }
  if (state.reason === "length") {
    return noticeBox({ tone: "warn", sentence: "The answer reached the model's limit of length and breaks off here.", actions });
  }
  if (state.reason === "limit") {
    return noticeBox({ tone: "warn", sentence: "The agent reached its limit of steps before it was done.", actions });
  }
  if (state.reason === "content_filter") {
    const edit = ways.edit ? [{ label: "Edit your message", act: ways.edit }] : [];
    return noticeBox({ tone: "warn", sentence: "The provider's filter ended this answer. Put your question another way.", actions: edit });
  }
  return null;
}

/**
 * What to say of a request that failed ({status, code, message}): {kind, sentence, detail?}.
 *
 * Kinds: "signed-out", "gone", "busy", "network", "refused", and "unfit" for what would be refused again as it is.
 */
export function requestFault(error) {
  const { status = 0, code = "", message = "" } = error;
  if (status === 401) {
    return { kind: "signed-out", tone: "warn", sentence: "You are signed out: this session has ended.", detail: "Sign in again in another tab. What you wrote stays here." };
  }
  if (status === 403 && code === "csrf") {
    return { kind: "signed-out", tone: "warn", sentence: "This page belongs to an older session.", detail: "Sign in again in another tab, or check again. What you wrote stays here." };
  }
  if (status === 404 || status === 410) {
    return { kind: "gone", tone: "warn", sentence: "This conversation is no longer there.", detail: "It was deleted, perhaps in another tab or browser. What is shown here is the last that this page saw." };
  }
  if (code === "conversation_busy") {
    // The server calls the run by its id, which tells a reader nothing.
    const waits = /^\S+ (waits\b.*)$/s.exec(message)?.[1];
    const sentence = waits ? cleanText(`An answer here ${waits}`) : "An answer is being written in this conversation already.";
    return { kind: "busy", tone: "info", sentence, detail: "Your message is back in the box; send it when the answer is complete." };
  }
  if (status === 0 || status === 502 || status === 503 || status === 504) {
    return { kind: "network", tone: "warn", sentence: "Porch could not be reached.", detail: "Check the connection, or whether the server runs. What you wrote stays here." };
  }
  if (status === 413 || status === 422) return { kind: "unfit", tone: "danger", sentence: message || "That cannot be sent as it is." };
  return { kind: "refused", tone: "danger", sentence: message || "That did not work." };
}

/** When the next period of a quota begins, in the reader's own time. */
function latest(until) {
  return until ? `, at the latest on ${when.format(new Date(until))}` : "";
}
