// Runs before anything is drawn, so that the page does not flash in another
// theme than the one that was chosen. Without a choice the system's is taken.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("b24pull.theme");
  } catch { /* storage may be forbidden */ }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
