import { Guest } from "/static/js/client/guest.js";

const AGENT = "@ada/helper";

/** Guests before a server of `answers`: what it was asked, and what came of it. */
async function before(answers, act) {
  const asked = [];
  const fetched = globalThis.fetch;
  globalThis.fetch = async (url, { method = "GET", headers = {} } = {}) => {
    asked.push([method, new URL(url).pathname, headers.Authorization ?? null]);
    const answer = method === "GET" ? { status: 200 } : answers.shift();
    if (!answer) throw new TypeError("Failed to fetch");
    return new Response(JSON.stringify(answer.body ?? {}), { status: answer.status ?? 201 });
  };
  try {
    return { told: await act(), asked };
  } finally {
    globalThis.fetch = fetched;
    localStorage.clear();
  }
}

const visit = (token, { guest = "gst_1", ends = 3_600_000 } = {}) => ({
  body: { token, guest, expires_at: new Date(Date.now() + ends).toISOString(), agent: { name: AGENT, title: "Helper" } },
});
const make = () => new Guest({ base: "https://porch.test", agent: AGENT });

/** Several requests of several tabs at once. */
export function together() {
  return before([visit("one"), visit("two")], async () => {
    const [first, second] = [make(), make()];
    const tokens = await Promise.all([first.token(), first.token(), second.token()]);
    return [...tokens, await make().token(), make().about.title];
  });
}

/** A clock that is an hour ahead of the server's: every token seems to be over. */
export function early() {
  return before([visit("one", { ends: -1000 }), visit("two")], async () => [await make().token(), await make().token()]);
}

/** A token that is no longer taken, of a guest who stays, and then of one who is forgotten. */
export function renewals() {
  return before([visit("one"), visit("two"), { status: 403 }, visit("three", { guest: "gst_2" })], async () => {
    const guest = make();
    const first = await guest.token();
    guest.conversation = "conv_1";
    const second = await guest.renewed(first);
    const kept = guest.conversation;
    // Whoever comes late with the same old one gets what was fetched meanwhile.
    const late = await make().renewed(first);
    const third = await guest.renewed(second);
    return [first, second, kept, late, third, guest.conversation];
  });
}

/** What is said where no answer can be read, and of an agent's name that is none. */
export function refusals() {
  const told = (promise) => promise.catch(({ code, message }) => ({ code, message }));
  return before([], async () => [await told(make().token()), await told(new Guest({ base: "", agent: "helper" }).token())]);
}
