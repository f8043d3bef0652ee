// What the golden parts say to a change, before anything is kept.
import { button, make } from "./dom.js";

const LISTED = 12; // names shown at once

const names = (all) => {
  const list = make("ul", { class: "names" }, all.slice(0, LISTED).map((name) => make("li", { class: "name", words: name })));
  const rest = all.slice(LISTED);
  if (!rest.length) return [list];
  const more = button(
    "gate.more",
    () => {
      list.append(...rest.map((name) => make("li", { class: "name", words: name })));
      more.remove();
    },
    { values: { count: rest.length } },
  );
  return [list, more];
};

export const gateView = (gate) => {
  if (gate === null) return make("div", { class: "gate" }, make("p", { say: ["gate.none"] }));
  const { images, before, after, broken, mended } = gate;
  const changing = broken.length > 0;
  return make(
    "div",
    { class: changing ? "gate broken" : "gate" },
    make("p", {}, make("strong", { say: changing ? ["gate.broken", { broken: broken.length, images }] : ["gate.whole", { images }] })),
    changing && names(broken),
    mended.length > 0 && make("p", { say: ["gate.mended", { mended: mended.length }] }),
    make("p", { class: "small", say: ["gate.right", { before, after, images }] }),
  );
};

// Whether keeping needs a second thought, as golden parts would change.
export const breaks = (gate) => gate !== null && gate.broken.length > 0;
