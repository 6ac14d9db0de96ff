// Runs before the first paint, so that nobody sees the other theme flash by.
try {
  const chosen = localStorage.getItem("porch-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is closed to us: the system's theme it is.
}
