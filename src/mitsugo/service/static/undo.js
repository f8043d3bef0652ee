// The last change, and the way back from it: at the same place on every tab.
import { api, newKey } from "./api.js";
import { announce, button, make } from "./dom.js";
import { problemBox } from "./problem.js";
import { changed } from "./session.js";

const bar = () => document.getElementById("last");

const show = (...children) => {
  bar().replaceChildren(...children, button("undo.close", () => (bar().hidden = true), { class: "plain" }));
  bar().hidden = false;
};

export const undo = async (batch, key = newKey()) => {
  try {
    const done = await api.undo(batch, key);
    announce("undo.done", { batch: done.undoes });
    show(make("p", { say: ["undo.done", { batch: done.undoes }] }));
    await changed();
    return true;
  } catch (problem) {
    show(problemBox(problem, () => undo(batch, key)));
    return false;
  }
};

// Tell what was changed, and offer to take it back.
export const offerUndo = (batch, key, values) => {
  announce(key, values);
  show(make("p", { say: [key, values] }), button("undo.button", () => undo(batch), { class: "undo" }));
};
