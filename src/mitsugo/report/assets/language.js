// The page carries every text in every language; the root's lang says which one the style sheet shows.
(() => {
  const root = document.documentElement;
  const wanted = (navigator.languages && navigator.languages[0]) || navigator.language || "en";

  const show = (language) => {
    root.lang = language;
    for (const name of ["title", "aria-label", "alt"]) {
      for (const element of document.querySelectorAll(`[data-${name}-${language}]`)) {
        element.setAttribute(name, element.getAttribute(`data-${name}-${language}`));
      }
    }
    document.title = document.querySelector("title").title;
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    }
    document.dispatchEvent(new CustomEvent("mitsugo:language"));
  };

  root.lang = /^ja\b/i.test(wanted) ? "ja" : "en";
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-language]")) {
      button.addEventListener("click", () => show(button.dataset.language));
    }
    show(root.lang);
  });
})();
