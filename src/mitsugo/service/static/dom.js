// Elements are made here and nowhere by HTML text, so that no name of a person or a file can become markup.
import { legible, say } from "./texts.js";

// Properties: say [key, values]; label [key, values]; words (a name, as it is); on {event: handler}; else attributes.
export const make = (tag, properties = {}, ...children) => {
  const { say: saying, label, words, on = {}, ...attributes } = properties;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  if (saying) say(element, ...saying);
  if (label) say(element, label[0], label[1], "aria-label");
  if (words !== undefined) element.textContent = legible(words);
  for (const [event, handler] of Object.entries(on)) element.addEventListener(event, handler);
  element.append(...children.flat().filter(Boolean));
  return element;
};

export const button = (key, handler, properties = {}) =>
  make("button", { type: "button", say: [key, properties.values], on: { click: handler }, ...without(properties) });

const without = ({ values: _, ...rest }) => rest;

// Show one picture, or its name where it cannot be shown.
export const picture = (source, name, kind = "picture") => {
  const image = make("img", { class: kind, src: source, alt: legible(name), title: legible(name), loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(make("span", { class: `${kind} missing`, words: name, title: name })));
  return image;
};

export const announce = (key, values) => say(document.getElementById("announce"), key, values);
