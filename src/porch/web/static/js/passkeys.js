// Passkeys: adding one, and signing in with one. Without this the pages offer the other ways.

const NOTHING = "No passkey was used: it was not allowed, or took too long. Try again, or go on another way.";
const KNOWN = "This device keeps a passkey for your account already.";

/** Ask the API; the answer's body, or an Error with the sentence that it gave. */
async function ask(path, body = {}) {
  const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": token };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => null);
  // A proxy's page says nothing that could be shown.
  const said = await answer?.json().catch(() => null);
  if (answer?.ok) return said;
  throw new Error(said?.detail ?? "Porch could not be reached. Check the connection and try again.");
}

async function add(name) {
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(await ask("/api/v1/passkeys/options"));
  const { response } = (await navigator.credentials.create({ publicKey: options })).toJSON();
  const { clientDataJSON, attestationObject, transports } = response;
  await ask("/api/v1/passkeys", { name, client_data: clientDataJSON, attestation: attestationObject, transports });
}

/** Where to go on, signed in. */
async function enter(next) {
  const path = "/api/v1/sign-in/passkey";
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(await ask(`${path}/options`));
  const { id, response } = (await navigator.credentials.get({ publicKey: options })).toJSON();
  return ask(path, {
    credential: id,
    client_data: response.clientDataJSON,
    authenticator_data: response.authenticatorData,
    signature: response.signature,
    user_handle: response.userHandle ?? "",
    next,
  });
}

/** Show a place and let its button do `work`, once at a time, with what went wrong below it. */
function offer(selector, event, work) {
  const place = document.querySelector(selector);
  // At another name of this server no passkey works.
  if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON || location.origin !== place?.dataset.passkeyOrigin) return;
  const [button, problem] = [place.querySelector("button"), place.querySelector("[data-passkey-problem]")];
  place.hidden = false;
  document.querySelector("[data-passkey-without]")?.remove();
  (event === "submit" ? place : button).addEventListener(event, async (happened) => {
    happened.preventDefault();
    button.disabled = problem.hidden = true;
    try {
      await work(place);
    } catch (error) {
      const own = error.name === "InvalidStateError" ? KNOWN : NOTHING;
      problem.textContent = error instanceof DOMException ? own : error.message;
      button.disabled = problem.hidden = false;
      button.focus();
    }
  });
}

offer("[data-passkey-add]", "submit", async (form) => {
  await add(form.elements.name.value.trim());
  location.reload();
});
offer("[data-passkey-sign-in]", "click", async (place) => {
  location.assign((await enter(place.dataset.next)).next);
});
