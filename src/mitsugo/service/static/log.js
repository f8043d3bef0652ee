// Log: who changed what, and when; each change can be taken back.
import { api } from "./api.js";
import { button, make } from "./dom.js";
import { problemBox } from "./problem.js";
import { opened } from "./tabs.js";
import { locale } from "./texts.js";
import { undo } from "./undo.js";

const ENTRIES = 100;

const part = (id) => document.getElementById(id);

const when = (at) => {
  const time = new Date(at);
  const local = () => time.toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });
  return make("time", { datetime: at, class: "small", say: ["log.at", { at: local }] });
};

const what = ({ kind, images, classes, label, right, undoes }) => {
  const names = classes.join(", ");
  if (kind === "add") return ["log.add", { images, label: names }];
  if (kind === "remove") return ["log.remove", { images, label: names }];
  if (kind === "undo") return ["log.undo", { batch: undoes }];
  return right ? ["log.right", { label: label ?? names }] : ["log.wrong", { label: label ?? names }];
};

const entryOf = (entry) => {
  const standing = (entry.kind === "add" || entry.kind === "remove") && entry.undone === null;
  const back = standing && button("undo.button", (event) => {
    event.currentTarget.disabled = true;
    undo(entry.number);
  }, { class: "undo" });
  return make(
    "li",
    { class: entry.undone === null ? false : "undone" },
    make("span", { class: "small number" }, entry.kind === "feedback" ? "" : `#${entry.number}`),
    when(entry.at),
    make(
      "div",
      { class: "what" },
      make("p", { say: what(entry) }),
      entry.note && make("p", { class: "small", words: entry.note }),
      entry.undone !== null && make("p", { class: "small", say: ["log.undone", { batch: entry.undone }] }),
    ),
    make("span", { class: "small who", words: entry.who || "" }),
    back || make("span"),
  );
};

const show = async () => {
  const place = part("entries");
  try {
    const { entries } = await api.log(ENTRIES);
    part("log-trouble").replaceChildren();
    place.replaceChildren(...entries.map(entryOf));
    part("log-empty").hidden = entries.length > 0;
  } catch (problem) {
    part("log-trouble").replaceChildren(problemBox(problem, show));
  }
};

export const startLog = () => {
  const refresh = () => opened() === "log" && show();
  for (const news of ["mitsugo:tab", "mitsugo:changed", "mitsugo:noted"]) document.addEventListener(news, refresh);
};
