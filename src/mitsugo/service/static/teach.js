// Teach: photos of one class, tried against the golden parts before they are kept; and what is taught so far.
import { api, newKey, pictureOf } from "./api.js";
import { announce, button, make, picture } from "./dom.js";
import { busy, chosenNg, ngChoice } from "./feedback.js";
import { breaks, gateView } from "./gate.js";
import { createIntake } from "./intake.js";
import { problemBox } from "./problem.js";
import { changed, inspects, session, signOf, who } from "./session.js";
import { opened } from "./tabs.js";
import { offerUndo } from "./undo.js";

const SHOWN = 48; // thumbnails a class at once

const part = (id) => document.getElementById(id);
const found = () => part("teach-found");

let photos = []; // {file, url}
let intake = null;

// ---- the photos

const drop = (photo) => {
  URL.revokeObjectURL(photo.url);
  photos = photos.filter((one) => one !== photo);
  showPhotos();
};

const showPhotos = () => {
  found().replaceChildren();
  part("photos").replaceChildren(
    ...photos.map((photo) =>
      make(
        "li",
        {},
        picture(photo.url, photo.file.name, "thumb"),
        make("button", { type: "button", class: "drop", label: ["teach.drop", { name: photo.file.name }], on: { click: () => drop(photo) } }, "×"),
      ),
    ),
  );
  part("photo-count").replaceChildren(photos.length ? make("span", { say: ["teach.photos", { images: photos.length }] }) : make("span", { say: ["teach.nophotos"] }));
};

const take = (files) => {
  photos.push(...files.map((file) => ({ file, url: URL.createObjectURL(file) })));
  showPhotos();
};

// ---- the class

const label = () => part("teach-label").value.trim();
const isNew = () => label() !== "" && !session.classes.some(({ name }) => name === label());

const showKind = () => {
  part("teach-kind").hidden = !(isNew() && inspects());
  part("teach-new").hidden = !isNew();
};

// ---- try, then keep

const missing = () => {
  if (!photos.length) return "teach.needphotos";
  if (!label()) return "feedback.noname";
  if (isNew() && inspects() && !chosenNg(part("teach-kind"))) return "feedback.nokind";
  return null;
};

const fields = () => ({
  label: label(),
  ng: isNew() ? chosenNg(part("teach-kind")) : "",
  note: part("teach-note").value.trim(),
  who: who(),
});

const attempt = async () => {
  const lacking = missing();
  if (lacking) {
    announce(lacking);
    found().replaceChildren(make("p", { class: "care", say: [lacking] }));
    return;
  }
  const lesson = { files: photos.map(({ file }) => file), fields: fields() };
  found().replaceChildren(busy());
  try {
    const answer = await api.teach(lesson.files, { ...lesson.fields, dry_run: true });
    decide(lesson, answer, newKey());
  } catch (problem) {
    found().replaceChildren(problemBox(problem, attempt));
  }
};

const decide = (lesson, answer, key) => {
  const risky = breaks(answer.gate);
  const values = { images: answer.images, label: lesson.fields.label };
  const words = answer.new ? "teach.wouldnew" : "teach.would";
  announce(risky ? "gate.broken" : words, risky ? { broken: answer.gate.broken.length, images: answer.gate.images } : values);
  const keeping = button(risky ? "feedback.anyway" : "teach.keep", () => keep(lesson, risky, key), { class: risky ? "risky" : "primary" });
  found().replaceChildren(
    make("h3", { say: [words, values] }),
    gateView(answer.gate),
    make("div", { class: "actions" }, keeping, button("teach.leave", () => found().replaceChildren(), { class: "plain" })),
  );
  keeping.focus();
};

const keep = async (lesson, accept, key) => {
  found().replaceChildren(busy("feedback.sending"));
  try {
    const done = await api.teach(lesson.files, { ...lesson.fields, dry_run: false, ...(accept ? { accept } : {}) }, key);
    for (const { url } of photos) URL.revokeObjectURL(url);
    photos = [];
    part("teach-label").value = part("teach-note").value = "";
    showPhotos();
    showKind();
    offerUndo(done.batch, "undo.taught", { images: done.images, label: done.label, batch: done.batch });
    await changed();
  } catch (problem) {
    found().replaceChildren(problemBox(problem, () => keep(lesson, accept, key)));
  }
};

// ---- what is taught

const remove = async (what, words, key = newKey()) => {
  try {
    const done = await api.remove(what, key);
    offerUndo(done.batch, ...words);
    await changed();
  } catch (problem) {
    part("taught-trouble").replaceChildren(problemBox(problem, () => remove(what, words, key)));
  }
};

// A removal is asked for twice at one place: the button becomes the question.
const removal = (key, values, act) => {
  const place = make("span", { class: "removal" });
  const start = () => place.replaceChildren(button(key, ask, { class: "plain", values }));
  const ask = () => {
    const sure = button("teach.sure", act, { class: "risky" });
    place.replaceChildren(sure, button("teach.leave", start, { class: "plain" }));
    sure.focus();
  };
  start();
  return place;
};

const imageOf = (image, revision) =>
  make(
    "li",
    {},
    picture(pictureOf(image.row, revision), image.image, "thumb"),
    make("span", { class: "small file", words: image.image }),
    removal("teach.remove", {}, () => remove({ names: [image.image] }, ["undo.removed", { images: 1, label: image.label }])),
  );

const classOf = (name, images, revision) => {
  const all = removal("teach.removeall", { images: images.length }, () =>
    remove({ label: name }, ["undo.removed", { images: images.length, label: name }]),
  );
  const list = make("ul", { class: "taught" }, images.slice(0, SHOWN).map((image) => imageOf(image, revision)));
  const rest = images.slice(SHOWN);
  const more = button("gate.more", () => more.replaceWith() || list.append(...rest.map((image) => imageOf(image, revision))), { values: { count: rest.length } });
  const heading = make("h3", {}, make("span", { class: "sign" }, signOf(name)), " ", make("span", { class: "name", words: name }), " ", make("span", { class: "small", say: ["teach.photos", { images: images.length }] }));
  return make("section", { class: "taught-class" }, make("div", { class: "line" }, heading, all), list, rest.length > 0 && more);
};

const showTaught = async () => {
  part("taught-trouble").replaceChildren();
  try {
    const { images, revision } = await api.gallery();
    const groups = grouped(images);
    const sections = [...groups].map(([name, some]) => classOf(name, some, revision));
    part("taught").replaceChildren(...(sections.length ? sections : [make("p", { class: "empty", say: ["teach.empty"] })]));
  } catch (problem) {
    part("taught-trouble").replaceChildren(problemBox(problem, showTaught));
  }
};

const grouped = (images) => {
  const groups = new Map();
  for (const image of images) groups.set(image.label, [...(groups.get(image.label) ?? []), image]);
  return groups;
};

export const startTeach = () => {
  intake = createIntake(part("teach-intake"), "teach", take);
  intake.show(null);
  part("teach-kind").append(ngChoice("teach-ng"));
  part("teach-label").addEventListener("input", showKind);
  part("teach-form").noValidate = true;
  part("teach-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt();
  });
  const refresh = () => opened() === "teach" && showTaught();
  for (const news of ["mitsugo:tab", "mitsugo:changed"]) document.addEventListener(news, refresh);
  document.addEventListener("mitsugo:classes", showKind);
  showPhotos();
};
