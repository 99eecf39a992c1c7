"use strict";
// Before anything is painted: the theme that was chosen last, if any.
try {
  const chosen = localStorage.getItem("nanogpt-gallery-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Some browsers keep no storage for files; the system's preference holds.
}
