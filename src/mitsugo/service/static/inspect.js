// Inspect: an image comes in, its verdict comes out; of several, each in turn, one of them large.
import { api } from "./api.js";
import { announce, button, make, picture } from "./dom.js";
import { createFeedback } from "./feedback.js";
import { createIntake } from "./intake.js";
import { problemBox, whatHappened } from "./problem.js";
import { refreshCounts } from "./session.js";
import { sayAgain } from "./texts.js";
import { kindOf, shortly, spoken, verdictView } from "./verdict.js";

const KEPT = 100; // images that the list holds; older ones go
const TRIES = 4; // of one image, where the service is busy and says when to come again
const LONGEST = 20; // seconds that are waited of our own accord

const part = (id) => document.getElementById(id);

let items = []; // newest first
let chosen = null;
let working = false;
let intake = null;

export const lastInspected = () => items.find((item) => item.answer)?.file ?? null;

const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

const ask = async (item) => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await api.classify(item.file);
      return { ...answer, verdict: answer.results[0].verdict };
    } catch (problem) {
      const later = problem.status === 503 || problem.status === 429;
      if (!later || attempt === TRIES || problem.wait > LONGEST) throw problem;
      const seconds = Math.max(problem.wait, 1);
      setState(item, { state: "later", seconds });
      await wait(seconds);
    }
  }
};

const setState = (item, news) => {
  Object.assign(item, news);
  showEntry(item);
  if (item === chosen) showAnswer();
};

const judge = async (item) => {
  setState(item, { state: "busy", problem: null });
  try {
    const answer = await ask(item);
    const { verdict } = answer;
    item.answer = answer;
    setState(item, { state: "done", feedback: createFeedback(item, () => judge(item)) });
    if (item === chosen) announce("inspect.says", { verdict: () => spoken(verdict), name: item.file.name });
    document.dispatchEvent(new CustomEvent("mitsugo:inspected"));
  } catch (problem) {
    setState(item, { state: "failed", problem });
  }
  showSum();
};

const work = async () => {
  if (working) return;
  working = true;
  // the first that came is judged first, and the list is newest first
  for (let item; (item = items.findLast(({ state }) => state === "waiting")); ) await judge(item);
  working = false;
  refreshCounts();
};

const take = (files) => {
  const fresh = files.map((file) => ({ file, url: URL.createObjectURL(file), state: "waiting", answer: null, problem: null }));
  for (const item of fresh) item.entry = entryOf(item);
  items = [...fresh.toReversed(), ...items];
  for (const old of items.splice(KEPT)) {
    URL.revokeObjectURL(old.url);
    old.entry.remove();
  }
  part("results").prepend(...fresh.map(({ entry }) => entry).toReversed());
  choose(fresh[0]);
  for (const item of fresh) showEntry(item);
  showSum();
  work();
};

// ---- the list

const entryOf = (item) =>
  make("li", {}, make("button", { type: "button", class: "result", on: { click: () => choose(item) } }));

const STATES = { waiting: "inspect.waiting", busy: "inspect.busy" };

const state = (item) => {
  if (item.state === "done") return shortly(item.answer.verdict);
  if (item.state === "failed") return [make("span", { class: "care", say: [whatHappened(item.problem), { status: item.problem.status }] })];
  if (item.state === "later") return [make("span", { say: ["inspect.later", { seconds: item.seconds }] })];
  return [make("span", { say: [STATES[item.state]] })];
};

const showEntry = (item) => {
  const entry = item.entry.firstElementChild;
  const kind = item.state === "done" ? kindOf(item.answer.verdict) : item.state;
  const old = entry.querySelector(".thumb");
  entry.replaceChildren(
    old ?? picture(item.url, item.file.name, "thumb"),
    make("span", { class: "file small", words: item.file.name }),
    make("span", { class: `short ${kind}` }, state(item)),
  );
};

const showSum = () => {
  part("list").hidden = items.length < 2;
  const open = items.filter((item) => item.state !== "done" && item.state !== "failed").length;
  const tally = { OK: 0, NG: 0, unknown: 0, named: 0 };
  for (const item of items) if (item.state === "done") tally[kindOf(item.answer.verdict)] += 1;
  const judged = tally.OK + tally.NG + tally.unknown;
  const parts = [
    open ? make("span", { say: ["inspect.progress", { done: items.length - open, all: items.length }] }) : make("span", { say: ["inspect.images", { images: items.length }] }),
    judged > 0 && make("span", {}, `○ ${tally.OK}  × ${tally.NG}  ？ ${tally.unknown}`),
  ];
  part("sum").replaceChildren(...parts.filter(Boolean));
};

// ---- the one that is large

const choose = (item) => {
  chosen = item;
  for (const one of items) one.entry.firstElementChild.setAttribute("aria-current", String(one === item));
  intake.show(item.url, item.file.name);
  showAnswer();
};

const showAnswer = () => {
  const place = part("answer");
  const name = make("p", { class: "small file", words: chosen.file.name });
  if (chosen.state === "failed") {
    place.replaceChildren(problemBox(chosen.problem, () => judge(chosen)), name);
  } else if (chosen.state === "done") {
    const { head, evidence } = verdictView(chosen.answer);
    place.replaceChildren(head, chosen.feedback, ...evidence, name);
    sayAgain(chosen.feedback);
  } else {
    place.replaceChildren(make("p", { class: "busy" }, state(chosen)), name);
  }
};

export const startInspect = () => {
  intake = createIntake(part("intake"), "inspect", take);
  part("clear").append(
    button("inspect.clear", () => {
      for (const item of items) URL.revokeObjectURL(item.url);
      items = items.filter(({ state: now }) => now === "busy" || now === "later");
      part("results").replaceChildren(...items.map(({ entry }) => entry));
      chosen = null;
      intake.show(null);
      part("answer").replaceChildren(make("p", { class: "empty", say: ["inspect.empty"] }));
      showSum();
    }),
  );
};
