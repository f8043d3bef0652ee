// Every visible or spoken text comes from one catalogue a language; what is on the page follows the language.
const LANGUAGES = ["ja", "en"];
const STORED = "mitsugo.language";
const catalogues = {};
const said = new WeakMap();

export const language = () => document.documentElement.lang;
export const locale = () => (language() === "ja" ? "ja-JP" : "en-US");
export const count = (value) => Number(value).toLocaleString("en-US");

// Names come from people and files: marks that turn the direction of writing, or that cannot be seen, are shown.
export const legible = (name) =>
  String(name).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (sign) => `\\u${sign.codePointAt(0).toString(16).padStart(4, "0")}`);

const valueOf = (value) => {
  const found = typeof value === "function" ? value() : value;
  return typeof found === "number" ? count(found) : legible(found);
};

export const text = (key, values = {}) =>
  catalogues[language()][key].replace(/\{(\w+)\}/g, (_, name) => valueOf(values[name]));

// Set a text, an aria-label or another attribute, and set it again whenever the language changes.
export const say = (element, key, values = {}, attribute = "text") => {
  const all = said.get(element) ?? new Map();
  all.set(attribute, [key, values]);
  said.set(element, all);
  element.setAttribute("data-said", "");
  put(element, attribute, text(key, values));
};

export const hush = (element) => {
  said.delete(element);
  element.textContent = "";
};

const put = (element, attribute, words) => {
  if (attribute === "text") element.textContent = words;
  else element.setAttribute(attribute, words);
};

const ATTRIBUTES = { text: "text", label: "aria-label", placeholder: "placeholder", title: "title" };

const sayStill = () => {
  for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
    for (const element of document.querySelectorAll(`[data-${name}]`)) {
      say(element, element.getAttribute(`data-${name}`), {}, attribute);
    }
  }
};

// Also for what was put away while the language changed and comes back.
export const sayAgain = (root = document) => {
  for (const element of root.querySelectorAll("[data-said]")) {
    for (const [attribute, [key, values]] of said.get(element) ?? []) put(element, attribute, text(key, values));
  }
};

const speak = (wanted) => {
  document.documentElement.lang = wanted;
  document.title = text("page.title");
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === wanted));
  }
};

const remembered = () => {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null; // storage is forbidden: the browser's own language decides each time
  }
};

const remember = (wanted) => {
  try {
    localStorage.setItem(STORED, wanted);
  } catch {
    // storage is forbidden: the choice holds for this visit
  }
};

export const startTexts = async () => {
  const loaded = await Promise.all(LANGUAGES.map((name) => fetch(`/static/texts/${name}.json`)));
  for (const [index, answer] of loaded.entries()) catalogues[LANGUAGES[index]] = await answer.json();
  const browser = /^ja\b/i.test(navigator.language) ? "ja" : "en";
  const kept = remembered();
  speak(LANGUAGES.includes(kept) ? kept : browser);
  sayStill();
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      remember(button.dataset.language);
      speak(button.dataset.language);
      sayAgain();
      document.dispatchEvent(new CustomEvent("mitsugo:language"));
    });
  }
};
