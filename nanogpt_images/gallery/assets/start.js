// ---- Light and dark ----

const theme = byId("theme");
const preference = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (html.dataset.theme ? html.dataset.theme === "dark" : preference.matches);
const showTheme = () => theme.setAttribute("aria-pressed", String(isDark()));

theme.addEventListener("click", () => {
  html.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("nanogpt-gallery-theme", html.dataset.theme);
  } catch {
    // It then holds for this page alone.
  }
  showTheme();
});
preference.addEventListener("change", showTheme);

showTheme();
fillControls();
showPicks();
readAddress();
