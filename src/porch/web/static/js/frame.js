// What every page has: the theme, times that read "5 minutes ago", menus that close, a word that it is done.

const THEMES = ["system", "light", "dark"];
const themes = "BroadcastChannel" in globalThis ? new BroadcastChannel("porch-theme") : null;

function chosenTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

function applyTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

// The server writes the theme into the page, so that nobody sees the other one flash by.
function keepTheme(theme) {
  const seconds = theme === "system" ? 0 : 365 * 24 * 60 * 60;
  document.cookie = `porch_theme=${theme}; Path=/; Max-Age=${seconds}; SameSite=Lax`;
  themes?.postMessage(theme);
}

function nameTheme(button) {
  const name = `Theme: ${chosenTheme()}`;
  button.querySelector("[data-theme-name]").textContent = name;
  button.title = name;
}

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.hidden = false;
  nameTheme(button);
  button.addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length];
    applyTheme(theme);
    keepTheme(theme);
    nameTheme(button);
    toast(button.title);
  });
}

// Other tabs have the same.
themes?.addEventListener("message", ({ data }) => {
  if (!THEMES.includes(data)) return;
  applyTheme(data);
  document.querySelectorAll("[data-theme-toggle]").forEach(nameTheme);
});

const STEPS = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 7],
  ["week", 4.35],
  ["month", 12],
  ["year", Infinity],
];
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
const whole = new Intl.DateTimeFormat(document.documentElement.lang || "en", {
  dateStyle: "long",
  timeStyle: "short",
});

/** "5 minutes ago" for a Date. */
export function sayWhen(date, now = new Date()) {
  let amount = (date - now) / 1000;
  if (Math.abs(amount) < 45) return "just now";
  for (const [unit, size] of STEPS) {
    if (Math.abs(Math.round(amount)) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
}

/** Rewrite the times below this element; called for the whole page by itself, and every minute. */
export function tellTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-relative]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const said = sayWhen(date);
    if (element.textContent !== said) element.textContent = said;
    element.title ||= whole.format(date);
  }
}

tellTimes();
setInterval(() => document.hidden || tellTimes(), 60_000);
document.addEventListener("visibilitychange", () => document.hidden || tellTimes());

/** Show a sentence at the foot of the page for a while, and read it out. */
export function toast(sentence, seconds = 5) {
  const element = document.createElement("p");
  element.className = "toast";
  element.textContent = sentence;
  document.querySelector("[data-toasts]").replaceChildren(element);
  setTimeout(() => element.remove(), seconds * 1000);
}

// <button data-copy="text"> or <button data-copy-from="id of an element">
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const from = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
  try {
    await navigator.clipboard.writeText(from ? (from.value ?? from.textContent) : button.dataset.copy);
    toast("Copied.");
  } catch {
    toast("The browser did not let us copy. Select the text and copy it by hand.");
  }
});

// <button data-dialog="id">: opens a <dialog>; a form with method="dialog" in it closes it.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-dialog]");
  if (button) document.getElementById(button.dataset.dialog)?.showModal();
});

// <details class="menu">: one open at a time, closed by Escape and by a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest?.("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// A form that is on its way is not sent twice; coming back by the back button sets it free.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
