/** The proof that writes come from this site's own pages: it changes with the session. */

const META = 'meta[name="csrf-token"]';

/** The token of this page, null where it has none. */
export function currentCsrf() {
  return document.querySelector(META)?.content || null;
}

/** Fetch the token of the session that is there now, for this page and its forms. Answers null while nobody is signed in. */
export async function renewCsrf(base) {
  try {
    const response = await fetch(`${base}/`, { headers: { Accept: "text/html" }, credentials: "same-origin", cache: "no-store", redirect: "manual" });
    if (!response.ok) return null;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const token = page.querySelector(META)?.content || null;
    if (token) {
      document.querySelectorAll(META).forEach((meta) => (meta.content = token));
      document.querySelectorAll('input[name="csrf"]').forEach((field) => (field.value = token));
    }
    return token;
  } catch {
    return null;
  }
}
