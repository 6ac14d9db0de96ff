// Passkeys: adding one, and signing in with one. Without this the pages offer the other ways.

const UNREACHED = "Porch could not be reached. Check the connection and try again.";
const NOTHING = "No passkey was used: it was not allowed, or took too long. Try again, or go on another way.";
const KNOWN = "This device keeps a passkey for your account already.";

function toBytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

function toText(buffer) {
  const plain = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Ask the API; the answer's body, or an Error with the sentence that it gave. */
async function ask(path, body) {
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  const headers = { Accept: "application/json", "Content-Type": "application/json", ...(token && { "X-CSRF-Token": token }) };
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body ?? {}) });
  } catch {
    throw new Error(UNREACHED);
  }
  const text = await answer.text();
  if (answer.ok) return text ? JSON.parse(text) : {};
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy's page says nothing that could be shown.
  }
  throw new Error(problem.detail ?? `The server answered ${answer.status}. Try again.`);
}

/** What the browser's own failures come to, in a sentence. */
function told(error) {
  if (error.name === "InvalidStateError") return KNOWN;
  if (error instanceof DOMException) return NOTHING;
  return error.message;
}

function described(credentials) {
  return credentials.map((each) => ({ ...each, id: toBytes(each.id) }));
}

/** Let an authenticator make a passkey and the server keep it. */
async function add(name) {
  const options = await ask("/api/v1/passkeys/options");
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: toBytes(options.challenge),
      user: { ...options.user, id: toBytes(options.user.id) },
      excludeCredentials: described(options.excludeCredentials),
    },
  });
  await ask("/api/v1/passkeys", {
    name,
    client_data: toText(made.response.clientDataJSON),
    attestation: toText(made.response.attestationObject),
    transports: made.response.getTransports?.() ?? [],
  });
}

/** Let an authenticator sign the challenge of `path`, and send that to `path` with `more`. */
async function sign(path, more = {}) {
  const options = await ask(`${path}/options`);
  const signed = await navigator.credentials.get({
    publicKey: { ...options, challenge: toBytes(options.challenge), allowCredentials: described(options.allowCredentials) },
  });
  const { clientDataJSON, authenticatorData, signature, userHandle } = signed.response;
  return ask(path, {
    credential: toText(signed.rawId),
    client_data: toText(clientDataJSON),
    authenticator_data: toText(authenticatorData),
    signature: toText(signature),
    user_handle: toText(userHandle ?? new ArrayBuffer(0)),
    ...more,
  });
}

/** Do it once at a time, and say below the button what went wrong. */
async function attempt(place, button, work) {
  const problem = place.querySelector("[data-passkey-problem]");
  if (button.disabled) return;
  button.disabled = true;
  problem.hidden = true;
  try {
    await work();
  } catch (error) {
    problem.textContent = told(error);
    problem.hidden = false;
    button.disabled = false;
    button.focus();
  }
}

/** Show what passkeys can do here; at another name of this server they can do nothing. */
function offered(selector) {
  const place = document.querySelector(selector);
  if (!place || !window.PublicKeyCredential || location.origin !== place.dataset.passkeyOrigin) return null;
  place.hidden = false;
  return place;
}

const adding = offered("[data-passkey-add]");
if (adding) {
  document.querySelector("[data-passkey-without]").hidden = true;
  adding.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(adding, adding.querySelector("button"), async () => {
      await add(adding.elements.name.value.trim());
      location.reload();
    });
  });
}

const entering = offered("[data-passkey-sign-in]");
entering?.querySelector("button").addEventListener("click", ({ currentTarget }) =>
  attempt(entering, currentTarget, async () => {
    const { next } = await sign("/api/v1/sign-in/passkey", { next: entering.dataset.next });
    location.assign(next);
  }),
);
