// One verdict, the answer first and large, its evidence beside it, the numbers one click below.
import { pictureOf } from "./api.js";
import { make, picture } from "./dom.js";
import { SIGNS, isNg, session, signOf } from "./session.js";
import { text } from "./texts.js";

const NAMES = { OK: "verdict.ok", NG: "verdict.ng", unknown: "verdict.unknown" };

// What a verdict is in one word: OK, NG, unknown, or the name of a class where no class is NG.
export const kindOf = (verdict) => (verdict.unknown ? "unknown" : (verdict.judgement ?? "named"));

export const shortly = (verdict) => {
  const kind = kindOf(verdict);
  if (kind === "named") return [make("span", { class: "name", words: verdict.label })];
  const label = !verdict.unknown && make("span", { class: "name", words: verdict.label });
  return [make("span", { class: "sign" }, SIGNS[kind]), make("span", { say: [NAMES[kind]] }), label];
};

// For the ear: the verdict in the language that is spoken now.
export const spoken = (verdict) => {
  const kind = kindOf(verdict);
  if (kind === "named") return verdict.label;
  return verdict.unknown ? text(NAMES[kind]) : `${text(NAMES[kind])} ${verdict.label}`;
};

const headline = (verdict) => {
  const kind = kindOf(verdict);
  if (kind === "named") return make("p", { class: "headline" }, make("strong", { class: "name", words: verdict.label }));
  return make(
    "p",
    { class: "headline" },
    make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[kind]),
    make("strong", { say: [NAMES[kind]] }),
  );
};

// The share of known parts that look as strange, as something that one can picture.
const chance = (p) => {
  if (p < 0.01) return ["verdict.rare", {}];
  const times = Math.min(Math.round(p * 100), 99);
  return [times === 1 ? "verdict.once" : "verdict.times", { times }];
};

const GATES = { embedding: "verdict.gate.embedding", statistics: "verdict.gate.statistics" };

const why = (verdict) => {
  const { p_value: p, winner, gate } = verdict;
  const lines = [];
  if (!verdict.unknown && verdict.judgement) lines.push(make("p", { class: "class name", words: verdict.label }));
  if (verdict.unknown) lines.push(make("p", { class: "class", say: ["verdict.unlike"] }));
  lines.push(p === null ? make("p", { class: "care", say: ["verdict.unset"] }) : make("p", { say: chance(p) }));
  if (verdict.unknown && gate) lines.push(make("p", { say: [GATES[gate]] }));
  if (verdict.unknown && winner) lines.push(make("p", { say: ["verdict.likest", { label: winner.label }] }));
  return lines;
};

// Warnings that the library gives, by how they begin; another is shown as it comes.
const WARNINGS = [
  [/^looks inverted/, "warning.inverted"],
  [/^no promise for this class/, "warning.unpromised"],
  [/^the gallery holds \d+ images/, "warning.few"],
  [/^resized from (?<from>\S+) to (?<to>\S+)$/, "warning.resized"],
  [/stale|gallery (was )?changed|calibrate scores/, "warning.stale"],
];

const warningOf = (words) => {
  for (const [begins, key] of WARNINGS) {
    const found = begins.exec(words);
    if (found) return [key, { ...found.groups }];
  }
  return null;
};

const notes = (answer) => {
  const { verdict, stale } = answer;
  const keys = new Map(stale ? [["warning.stale", {}]] : []);
  const others = [];
  for (const words of verdict.warnings) {
    const warning = warningOf(words);
    if (warning) keys.set(...warning);
    else others.push(make("li", { lang: "en", words }));
  }
  const known = [...keys].map((warning) => make("li", { say: warning }));
  const same = verdict.in_gallery !== null && make("li", { say: ["verdict.in_gallery", { name: verdict.in_gallery }] });
  const all = [same, ...known, ...others].filter(Boolean);
  return all.length > 0 && make("ul", { class: "notes" }, all);
};

const SHOWN = 5; // exemplars a class

const near = (neighbor, revision) =>
  make(
    "li",
    {},
    picture(pictureOf(neighbor.row, revision), neighbor.name),
    make("span", { class: "small" }, `d ${neighbor.distance.toPrecision(2)}`),
  );

const side = (likeness, key, revision) => {
  const sign = signOf(likeness.label);
  const kind = sign && (isNg(likeness.label) ? "NG" : "OK");
  return make(
    "section",
    { class: "side" },
    make(
      "h3",
      {},
      make("span", { class: "small", say: [key] }),
      " ",
      sign && make("span", { class: `sign ${kind}` }, sign),
      " ",
      make("span", { class: "name", words: likeness.label }),
      " ",
      make("span", { class: "small", say: ["verdict.usual", { times: likeness.scaled.toPrecision(2) }] }),
    ),
    make("ol", { class: "near" }, likeness.exemplars.slice(0, SHOWN).map((one) => near(one, revision))),
  );
};

const bare = (verdict, revision) =>
  make(
    "section",
    { class: "side" },
    make("h3", { say: ["verdict.near"] }),
    make("ol", { class: "near" }, verdict.neighbors.slice(0, SHOWN).map((one) => near(one, revision))),
  );

const sides = ({ verdict, revision }) => {
  const { winner, runner_up: second } = verdict;
  if (!winner) return make("div", { class: "sides" }, bare(verdict, revision));
  return make(
    "div",
    { class: "sides" },
    side(winner, verdict.unknown ? "verdict.nearest" : "verdict.winner", revision),
    second && side(second, "verdict.runner_up", revision),
  );
};

const METHODS = { "k-NN vote": "method.vote", likeness: "method.likeness", threshold: "method.threshold" };

const numbers = (verdict) => {
  const rows = [];
  const row = (key, value) => rows.push(make("dt", { say: [key] }), make("dd", value));
  const figure = (value, digits = 2) => ({ words: value.toPrecision(digits) });
  const n = session.calibration?.independent;
  if (verdict.p_value !== null) {
    row("number.p", n ? { say: ["number.p.of", { p: verdict.p_value.toPrecision(2), n }] } : figure(verdict.p_value));
  }
  if (verdict.strangeness !== null) row("number.strangeness", figure(verdict.strangeness));
  if (verdict.gate) row("number.gate", { say: [GATES[verdict.gate]] });
  if (verdict.ng_score !== null) row("number.ng", { words: verdict.ng_score.toFixed(2) });
  const agreeing = Math.round(verdict.agreement * 100);
  row("number.agreement", { say: ["number.agreement.of", { agreeing }] });
  row("number.method", { say: [METHODS[verdict.method]] });
  if (verdict.promised !== null) row("number.promised", { say: [verdict.promised ? "number.yes" : "number.no"] });
  return make("details", { class: "numbers" }, make("summary", { say: ["number.title"] }), make("dl", {}, rows));
};

export const verdictView = (answer) => {
  const { verdict } = answer;
  const parts = [make("div", { class: "call" }, headline(verdict), make("div", { class: "why" }, why(verdict))), notes(answer)];
  return { head: make("div", { class: `verdict ${kindOf(verdict)}` }, parts), evidence: [sides(answer), numbers(verdict)] };
};
