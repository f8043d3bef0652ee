// What every part of the page knows of the service: the model, its classes, the revision, today's counts.
import { api } from "./api.js";
import { make } from "./dom.js";
import { hush, say } from "./texts.js";

const OFTEN = 30_000; // milliseconds between two looks at today's counts
const SHORT = 8; // characters of the fingerprint that tell two models apart at a glance

export const session = { model: null, revision: null, classes: [], calibration: null, gate: false };

const part = (id) => document.getElementById(id);

// The sign of OK, NG and unknown: a colour never stands alone.
export const SIGNS = { OK: "○", NG: "×", unknown: "？" };

// Where no class is NG, classes are kinds, and none of them is "OK".
export const inspects = () => session.classes.some((one) => one.ng);
export const isNg = (label) => session.classes.find((one) => one.name === label)?.ng ?? false;
export const signOf = (label) => (inspects() ? SIGNS[isNg(label) ? "NG" : "OK"] : "");

const showModel = () => {
  if (session.model === null) return;
  say(part("model"), "page.model", { model: session.model.slice(0, SHORT), revision: session.revision });
};

const showCounts = (counts) => {
  const { judged, images } = counts;
  const shown = [make("span", { say: ["page.today", { images }] })];
  if (judged.OK + judged.NG + judged.unknown > 0) {
    for (const [kind, sign] of Object.entries(SIGNS)) {
      shown.push(
        make("span", { class: `count ${kind}` }, `${sign} `, make("span", { say: [NAMES[kind]] }), ` ${judged[kind].toLocaleString("en-US")}`),
      );
    }
  }
  part("counts").replaceChildren(...shown);
};

const NAMES = { OK: "verdict.ok", NG: "verdict.ng", unknown: "verdict.unknown" };

export const refreshCounts = async () => {
  try {
    showCounts(await api.counts());
    hush(part("offline"));
  } catch (problem) {
    if (problem.status === 0) say(part("offline"), "page.offline");
  }
};

// Learn the classes anew, and let every part that lists them know.
export const refreshModel = async () => {
  const told = await api.model();
  session.classes = told.class_names;
  session.calibration = told.calibration;
  session.gate = told.gate;
  part("known-classes").replaceChildren(...session.classes.map(({ name }) => make("option", { value: name })));
  document.dispatchEvent(new CustomEvent("mitsugo:classes"));
};

// Somebody changed what is taught: everything that shows it looks again.
export const changed = async () => {
  document.dispatchEvent(new CustomEvent("mitsugo:changed"));
  await Promise.allSettled([refreshModel(), refreshCounts()]);
};

export const startSession = async () => {
  document.addEventListener("mitsugo:answer", ({ detail }) => {
    const moved = session.revision !== null && detail.revision !== session.revision;
    session.model = detail.model;
    session.revision = detail.revision;
    showModel();
    if (moved) document.dispatchEvent(new CustomEvent("mitsugo:revision"));
  });
  setInterval(() => document.visibilityState === "visible" && refreshCounts(), OFTEN);
  addEventListener("online", refreshCounts);
  addEventListener("offline", () => say(part("offline"), "page.offline"));
  await Promise.allSettled([refreshModel(), refreshCounts()]);
};

// Who changes something is kept in the log; the name is asked for once.
export const who = () => part("who").value.trim();
