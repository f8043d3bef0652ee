// A person says whether the verdict is right; what would be taught is tried before it is kept.
import { api, newKey } from "./api.js";
import { announce, button, make } from "./dom.js";
import { breaks, gateView } from "./gate.js";
import { problemBox } from "./problem.js";
import { changed, inspects, session, signOf, who } from "./session.js";
import { offerUndo } from "./undo.js";

export const busy = (key = "feedback.trying", values = {}) => make("p", { class: "busy", say: [key, values] });

// A new class is OK or NG; where no class is NG, nobody is asked.
export const ngChoice = (group) => {
  const one = (value, key, sign) =>
    make("label", { class: "choice" }, make("input", { type: "radio", name: group, value }), `${sign} `, make("span", { say: [key] }));
  return make(
    "fieldset",
    { class: "ng" },
    make("legend", { say: ["feedback.kind"] }),
    one("false", "verdict.ok", "○"),
    one("true", "verdict.ng", "×"),
  );
};

export const chosenNg = (root) => root.querySelector('input[type="radio"]:checked')?.value ?? "";

export const createFeedback = (item, again) => {
  const box = make("section", { class: "feedback" });
  const show = (...children) => {
    box.replaceChildren(...children.filter(Boolean));
  };
  const focus = () => box.querySelector("button, input")?.focus();
  const back = () => button("feedback.back", () => start(true), { class: "plain" });

  const start = (focused = false) => {
    show(
      make("h3", { say: ["feedback.title"] }),
      make(
        "div",
        { class: "actions" },
        button("feedback.right", () => right(), { class: "primary" }),
        button("feedback.wrong", () => wrong()),
        button("feedback.new", () => fresh()),
      ),
    );
    if (focused) focus();
  };

  const right = async (key = newKey()) => {
    show(busy("feedback.sending"));
    try {
      await api.feedback(item.file, { label: item.answer.verdict.label, right: true, teach: false, who: who() }, key);
      announce("feedback.noted");
      show(make("p", { class: "done", say: ["feedback.noted"] }), back());
      document.dispatchEvent(new CustomEvent("mitsugo:noted"));
    } catch (problem) {
      show(problemBox(problem, () => right(key)), back());
    }
  };

  const wrong = () => {
    const { verdict } = item.answer;
    const others = session.classes.filter(({ name }) => verdict.unknown || name !== verdict.label);
    const choices = others.map(({ name }) =>
      make("button", { type: "button", class: "class", on: { click: () => attempt(name, "") } }, `${signOf(name)} `, make("span", { class: "name", words: name })),
    );
    show(
      make("h3", { say: [others.length ? "feedback.which" : "feedback.noothers"] }),
      make("div", { class: "classes" }, choices),
      make("div", { class: "actions" }, back()),
    );
    focus();
  };

  const fresh = () => {
    const name = make("input", { type: "text", required: true, maxlength: 200, autocomplete: "off", name: "label" });
    const trouble = make("p", { class: "trouble", role: "status" });
    const form = make(
      "form",
      { class: "fresh" },
      make("label", { class: "field" }, make("span", { say: ["feedback.name"] }), name),
      inspects() && ngChoice("feedback-ng"),
      trouble,
      make("div", { class: "actions" }, make("button", { type: "submit", class: "primary", say: ["feedback.try"] }), back()),
    );
    form.noValidate = true; // the browser's own words would be in the browser's language, not in the page's
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const ng = chosenNg(form);
      const missing = !name.value.trim() ? "feedback.noname" : inspects() && !ng ? "feedback.nokind" : null;
      if (!missing) return attempt(name.value.trim(), ng);
      trouble.replaceChildren(make("span", { say: [missing] }));
      announce(missing);
    });
    show(make("h3", { say: ["feedback.new"] }), form);
    name.focus();
  };

  // Try first: nothing is written, and what the golden parts say is shown.
  const attempt = async (label, ng) => {
    show(busy());
    try {
      const found = await api.teach([item.file], { label, ng, who: who(), dry_run: true });
      decide(label, ng, found, newKey());
    } catch (problem) {
      show(problemBox(problem, () => attempt(label, ng)), back());
    }
  };

  const decide = (label, ng, found, key) => {
    const risky = breaks(found.gate);
    const words = found.new ? "feedback.wouldnew" : "feedback.would";
    announce(risky ? "gate.broken" : words, risky ? { broken: found.gate.broken.length, images: found.gate.images } : { label });
    show(
      make("h3", { say: [words, { label }] }),
      gateView(found.gate),
      make(
        "div",
        { class: "actions" },
        button(risky ? "feedback.anyway" : "feedback.keep", () => keep(label, ng, true, risky, key), { class: risky ? "risky" : "primary" }),
        button("feedback.only", () => keep(label, ng, false, false, key)),
        back(),
      ),
    );
    focus();
  };

  const keep = async (label, ng, teach, accept, key) => {
    show(busy("feedback.sending"));
    try {
      const done = await api.feedback(item.file, { label, right: false, teach, ng, who: who(), ...(accept ? { accept } : {}) }, key);
      if (done.batch !== null) offerUndo(done.batch, "undo.taught", { images: 1, label, batch: done.batch });
      else announce("feedback.noted");
      const words = done.batch === null ? ["feedback.noted"] : ["feedback.kept", { label }];
      show(make("p", { class: "done", say: words }), button("feedback.again", again), back());
      document.dispatchEvent(new CustomEvent("mitsugo:noted"));
      if (done.batch !== null) await changed();
    } catch (problem) {
      show(problemBox(problem, () => keep(label, ng, teach, accept, key)), back());
    }
  };

  start();
  return box;
};
