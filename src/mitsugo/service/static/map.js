// The map: the points are drawn in a frame without rights, which alone may build functions out of text.
import { api, pictureOf } from "./api.js";
import { classColors } from "./colors.js";
import { announce, button, make, picture } from "./dom.js";
import { lastInspected } from "./inspect.js";
import { problemBox } from "./problem.js";
import { SIGNS, inspects, session } from "./session.js";
import { opened } from "./tabs.js";
import { hush, say, text } from "./texts.js";

const SHOWN = 60; // thumbnails of chosen points
const CLASSES = 12; // of these, counted
const REST = 60; // milliseconds that the pointer rests on a point before its picture is fetched

const part = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let map = null; // the answer of the service
let frame = null;
let ready = false; // whether the frame listens
let stale = true; // whether the map is to be fetched anew
let timer = 0;
let resting = 0;
let marked = null; // the image whose place is marked
const filtered = new Set(); // classes that alone are shown; none means all

// The frame's origin is opaque, so no target origin names it; it is told nothing that the page does not show.
const tell = (message, transfer = []) => ready && frame.contentWindow.postMessage(message, "*", transfer);

// ---- fetch and hand over

const load = async () => {
  clearTimeout(timer);
  stale = false;
  try {
    map = await api.map();
  } catch (problem) {
    stale = true;
    return fail(problem);
  }
  part("map-state").replaceChildren();
  part("map-live").hidden = map.shown === 0;
  if (map.shown === 0) return part("map-state").replaceChildren(make("p", { class: "empty", say: ["map.empty"] }));
  say(part("map-shown"), "map.shown", { shown: map.shown, of: map.of });
  filtered.clear();
  choosePoints([]);
  showLegend();
  if (frame === null) embed();
  else hand();
  mark();
};

const fail = (problem) => {
  const seconds = problem.wait;
  if (problem.status !== 503 || !seconds) return part("map-state").replaceChildren(problemBox(problem, load));
  part("map-state").replaceChildren(make("p", { class: "busy", say: ["map.computing", { seconds }] }));
  timer = setTimeout(() => opened() === "map" && load(), 1000 * seconds);
};

const embed = () => {
  frame = make("iframe", { sandbox: "allow-scripts", src: "/map-frame", title: text("map.label") });
  say(frame, "map.label", {}, "title");
  part("map-frame").prepend(frame);
};

const hand = () => {
  const { points, classes } = map;
  const x = Float32Array.from(points, ([across]) => across);
  const y = Float32Array.from(points, ([, up]) => up);
  const kinds = Float32Array.from(classes);
  tell({ kind: "points", x, y, classes: kinds, names: map.class_names, calm: calm.matches, ...look() }, [x.buffer, y.buffer, kinds.buffer]);
};

const look = () => {
  const style = getComputedStyle(document.body);
  return { colors: classColors(map.class_names.length, dark.matches), ground: style.backgroundColor, ink: style.color };
};

// ---- what the frame says

const isPoint = (index) => Number.isInteger(index) && index >= 0 && index < map.rows.length;

const HEARD = {
  ready: () => {
    ready = true;
    hand();
    mark();
  },
  drawn: () => (part("map-frame").dataset.drawn = String(map.shown)),
  over: ({ index }) => isPoint(index) && point(index),
  out: () => clearTimeout(resting),
  chosen: ({ indices }) => indices instanceof Uint32Array && choosePoints([...indices].filter(isPoint)),
  lasso: ({ on }) => part("map-lasso").setAttribute("aria-pressed", String(on === true)),
  failed: () => part("map-state").replaceChildren(make("p", { class: "care", say: ["map.failed"] })),
};

const hear = ({ source, data }) => {
  if (frame === null || source !== frame.contentWindow || map === null) return;
  if (data && Object.hasOwn(HEARD, data.kind)) HEARD[data.kind](data);
};

// ---- the point under the pointer, and those in the lasso

const shownPoint = (index) => [
  picture(pictureOf(map.rows[index], map.revision), map.names[index]),
  make(
    "div",
    {},
    make("p", {}, ...classWords(map.classes[index])),
    make("p", { class: "small file", words: map.names[index] }),
  ),
];

const classWords = (kind) => {
  const sign = inspects() && (map.ng[kind] ? SIGNS.NG : SIGNS.OK);
  return [sign && make("span", { class: `sign ${map.ng[kind] ? "NG" : "OK"}` }, sign), " ", make("span", { class: "name", words: map.class_names[kind] })].filter(Boolean);
};

const point = (index) => {
  clearTimeout(resting);
  resting = setTimeout(() => {
    part("map-point").replaceChildren(...shownPoint(index));
    part("map-point").dataset.index = String(index);
  }, REST);
};

const tally = (indices) => {
  const counts = new Map();
  for (const index of indices) counts.set(map.classes[index], (counts.get(map.classes[index]) ?? 0) + 1);
  return [...counts].sort(([, one], [, other]) => other - one);
};

const choosePoints = (indices) => {
  const place = part("map-chosen");
  place.replaceChildren();
  part("map-nochoice").hidden = indices.length > 0;
  if (!indices.length) return;
  announce("map.chosen", { count: indices.length });
  const words = make("p", {}, make("strong", { say: ["map.chosen", { count: indices.length }] }));
  const classes = tally(indices).map(([kind, count]) => make("li", {}, ...classWords(kind), ` ${count.toLocaleString("en-US")}`));
  const thumbs = indices.slice(0, SHOWN).map((index) =>
    make("li", {}, picture(pictureOf(map.rows[index], map.revision), map.names[index], "thumb")),
  );
  const clear = () => {
    tell({ kind: "choose", indices: new Uint32Array() });
    choosePoints([]);
  };
  const parts = [
    words,
    make("ul", { class: "tally" }, classes.slice(0, CLASSES)),
    indices.length > SHOWN && make("p", { class: "small", say: ["map.first", { count: SHOWN, of: indices.length }] }),
    make("ul", { class: "thumbs" }, thumbs),
    button("map.clear", clear),
  ];
  place.append(...parts.filter(Boolean));
};

// ---- the legend filters classes

const showLegend = () => {
  const colors = classColors(map.class_names.length, dark.matches);
  const keys = map.class_names.map((_, kind) => {
    const key = make("button", { type: "button", "aria-pressed": "false", on: { click: () => toggle(kind) } }, swatch(colors[kind]), ...classWords(kind));
    return key;
  });
  part("map-legend").replaceChildren(...keys);
  showFiltered();
};

const swatch = (color) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  for (const [name, value] of Object.entries({ width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ cx: 6, cy: 6, r: 5, fill: color, stroke: "currentColor", "stroke-width": 0.5 })) dot.setAttribute(name, value);
  svg.append(dot);
  return svg;
};

const toggle = (kind) => {
  if (!filtered.delete(kind)) filtered.add(kind);
  tell({ kind: "filter", classes: [...filtered] });
  showFiltered();
};

const showFiltered = () => {
  for (const [kind, key] of [...part("map-legend").children].entries()) key.setAttribute("aria-pressed", String(filtered.has(kind)));
  part("map-all").disabled = !filtered.size;
  if (!filtered.size) return hush(part("map-visible"));
  const visible = map.classes.reduce((sum, kind) => sum + filtered.has(kind), 0);
  say(part("map-visible"), "map.visible", { count: visible, shown: map.shown });
};

// ---- where the image that was inspected last lies

const mark = async () => {
  const file = lastInspected();
  if (!file || !ready) return;
  if (marked?.file !== file || marked.revision !== session.revision) {
    try {
      const [{ point: place }] = (await api.place(file)).results;
      marked = { file, place, revision: session.revision };
    } catch {
      return hush(part("map-marked")); // the map itself still stands; the Inspect tab tells what is wrong
    }
  }
  say(part("map-marked"), "map.marked", { name: file.name });
  tell({ kind: "mark", x: marked.place[0], y: marked.place[1] });
};

// ---- start

const lasso = () => {
  const on = part("map-lasso").getAttribute("aria-pressed") !== "true";
  part("map-lasso").setAttribute("aria-pressed", String(on));
  tell({ kind: "lasso", on });
};

const show = () => {
  if (opened() !== "map") return clearTimeout(timer);
  if (stale) load();
  else mark();
};

export const startMap = () => {
  addEventListener("message", hear);
  for (const [id, kind] of [["map-in", "in"], ["map-out", "out"], ["map-whole", "whole"]]) part(id).addEventListener("click", () => tell({ kind }));
  part("map-lasso").addEventListener("click", lasso);
  part("map-all").addEventListener("click", () => {
    filtered.clear();
    tell({ kind: "filter", classes: [] });
    showFiltered();
  });
  dark.addEventListener("change", () => {
    if (map === null || map.shown === 0) return;
    showLegend();
    tell({ kind: "look", ...look() });
  });
  document.addEventListener("mitsugo:tab", show);
  for (const news of ["mitsugo:changed", "mitsugo:revision"]) {
    document.addEventListener(news, () => {
      stale = true;
      show();
    });
  }
};
