/** What a talk comes to as a list of turns to show: the branch, the answer that is being written, and what waits. */

import { RunState } from "../client/run-state.js";

/**
 * The turns, oldest first: {key, role, message?, state?, record?, run?, versions, locked, pending?, waiting?, last?, question?}.
 * `talk` has the thread, the live run, what waits, and what is known of runs.
 */
export function turnsOf({ thread, live, early, waiting, runs, unanswered }) {
  const locked = live !== null;

  function versionsOf(id) {
    const ids = thread.siblings(id);
    return ids.length > 1 ? { ids, index: ids.indexOf(id) } : null;
  }

  function known(run) {
    const found = runs.get(run);
    if (!found) return {};
    return found instanceof RunState ? { state: found } : { record: found };
  }

  function said(message) {
    return { key: message.key ?? message.id, role: "user", message, versions: versionsOf(message.id), locked };
  }

  function answered(message) {
    return { key: message.run ? `answer:${message.run}` : message.id, role: "assistant", message, run: message.run, question: message.parent, versions: versionsOf(message.id), locked, ...known(message.run) };
  }

  function failed(question, run) {
    return { key: `answer:${run}`, role: "assistant", run, question: question.id, versions: null, locked, message: { parts: [], parent: question.id, id: null, run }, ...known(run) };
  }

  const branch = live?.base === undefined ? thread.branch() : live.base ? thread.branch(live.base) : [];
  const turns = [];
  branch.forEach((message, at) => {
    turns.push(message.role === "user" ? said(message) : answered(message));
    const followed = branch[at + 1]?.role === "assistant";
    const run = unanswered.get(message.id);
    const asked = live && (live.state.message ?? live.asked) === message.id; // it is answered anew
    if (message.role === "user" && !followed && run && run !== live?.run && !asked) turns.push(failed(message, run));
  });
  if (live) {
    if (live.pending) turns.push({ key: `user:${live.pending.key}`, role: "user", message: live.pending.message, versions: null, locked: true, pending: true });
    if (!early) turns.push({ key: live.run ? `answer:${live.run}` : "answer:next", role: "assistant", state: live.run ? live.state : null, run: live.run, versions: null, locked: true });
  }
  const last = turns.at(-1);
  if (last) last.last = true;
  return [...turns, ...waiting.turns()];
}
