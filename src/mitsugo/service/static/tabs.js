// Tabs as the ARIA pattern has them: one stop of the tab key, arrow keys between.
const tabs = () => [...document.querySelectorAll('[role="tab"]')];

export const open = (name, focus = false) => {
  for (const tab of tabs()) {
    const chosen = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    document.getElementById(`panel-${tab.dataset.tab}`).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  document.dispatchEvent(new CustomEvent("mitsugo:tab", { detail: name }));
};

export const opened = () => tabs().find((tab) => tab.getAttribute("aria-selected") === "true").dataset.tab;

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

const next = (key) => {
  const names = tabs().map((tab) => tab.dataset.tab);
  const step = STEPS[key];
  const place = Number.isFinite(step) ? names.indexOf(opened()) + step : step < 0 ? 0 : names.length - 1;
  return names[(place + names.length) % names.length];
};

export const startTabs = () => {
  for (const tab of tabs()) {
    tab.addEventListener("click", () => open(tab.dataset.tab));
    tab.addEventListener("keydown", (event) => {
      if (!(event.key in STEPS)) return;
      event.preventDefault();
      open(next(event.key), true);
    });
  }
};
