// Where models are chosen: a test on the spot, and what the models that somebody types can do.
// Without it the tests' forms are forms, and the sheet says what the models of the saved draft can do.

const TYPED_MS = 400;

/** Try `model` in `place`, one trial at a time. The code for it is fetched when it is first wanted. */
async function tryModel(model, place, button) {
  if (!model || button.dataset.trying) return;
  button.dataset.trying = "yes";
  button.setAttribute("aria-disabled", "true");
  try {
    const { Trial } = await import("./model-trial.js");
    await new Trial(place, button).run(model);
  } finally {
    delete button.dataset.trying;
    button.removeAttribute("aria-disabled");
  }
}

// <form data-try="id of the place">: a test that works without this as well.
document.addEventListener("submit", (event) => {
  const place = document.getElementById(event.target.dataset.try);
  if (!place) return;
  event.preventDefault();
  tryModel(new FormData(event.target).get("model").trim(), place, event.submitter ?? event.target.querySelector("button"));
}, { capture: true });

/** What the models typed into an agent's sheet can do, asked of the server when somebody has stopped typing. */
class Sheet {
  constructor() {
    document.addEventListener("input", (event) => this.#concerns(event.target) && this.#ask(TYPED_MS));
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-try-model]");
      if (button) tryModel(this.models[0], document.getElementById("trial"), button);
    });
    document.addEventListener("porch:filled", () => this.#ask(0));
    // Text that was typed and not saved may be back in the form before this was read.
    const { model, fallbacks } = this.form.elements;
    if (model.value !== model.defaultValue || fallbacks.value !== fallbacks.defaultValue) this.#ask(0);
  }

  get form() {
    return document.querySelector("form[data-editor]");
  }

  get models() {
    const { model, fallbacks } = this.form.elements;
    return [model.value, ...fallbacks.value.split("\n")].map((name) => name.trim()).filter(Boolean);
  }

  #concerns(field) {
    return this.form.contains(field) && (field.name === "model" || field.name === "fallbacks" || field.name?.startsWith("tool:"));
  }

  #ask(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#show(), wait);
  }

  async #show() {
    const asked = new URLSearchParams(this.models.map((name) => ["model", name]));
    if (this.form.querySelector('input[name^="tool:"]:checked')) asked.set("tools", "yes");
    this.asked = asked.toString();
    try {
      const answer = await fetch(`/models/abilities?${asked}`);
      const told = await answer.text();
      const place = this.form.querySelector("[data-abilities]");
      if (!answer.ok || this.asked !== asked.toString() || !place) return;
      const page = new DOMParser().parseFromString(told, "text/html");
      place.replaceChildren(...page.body.childNodes);
    } catch {
      // What stood there stays: it says less than it could, and nothing depends on it.
    }
  }
}

if (document.querySelector("form[data-editor]")) new Sheet();
