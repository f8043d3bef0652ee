// The map: points drawn by regl-scatterplot, the image under the pointer, classes chosen in the legend.
const data = JSON.parse(document.getElementById("map-data").textContent);
const part = (name) => document.getElementById(`map-${name}`);
const text = (key) => data.texts[document.documentElement.lang][key];
const number = (value) => value.toLocaleString("en-US");
const dark = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const frame = part("frame");
const chosen = new Set();
let plot = null;
let current = -1;
let visible = data.x.map((_, index) => index);

// ---- what is drawn

const pointSize = () => (data.x.length > 4000 ? 4 : data.x.length > 800 ? 6 : 9);

const look = () => {
  const ink = getComputedStyle(frame).color;
  const dim = part("dim") && part("dim").checked;
  return {
    pointColor: data.colors[dark.matches ? "dark" : "light"],
    pointColorHover: rgba(ink),
    pointColorActive: rgba(ink),
    backgroundColor: rgba(getComputedStyle(document.body).backgroundColor),
    colorBy: "valueA",
    opacityBy: dim ? "valueB" : null,
    opacity: dim ? [0.9, 0.12] : 0.8,
  };
};

const rgba = (color) => {
  const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
  return [red / 255, green / 255, blue / 255, 1];
};

const filter = async () => {
  const onlyWrong = part("wrong") && part("wrong").checked;
  visible = data.x
    .map((_, index) => index)
    .filter((index) => !chosen.size || chosen.has(data.label[index]))
    .filter((index) => !onlyWrong || data.label[index] !== data.predicted[index]);
  hide();
  if (visible.length === data.x.length) await plot.unfilter();
  else await plot.filter(visible);
  say();
  placeNames();
};

const say = () => {
  const all = visible.length === data.x.length;
  const words = text("map.visible").replace("{count}", number(visible.length));
  part("visible").textContent = all ? "" : words.replace("{shown}", number(data.x.length));
};

// ---- names at the classes' centres: the larger class first, none over another

const names = data.centres.map(([index, label]) => {
  const element = document.createElement("span");
  element.textContent = data.classes[label];
  part("names").append(element);
  return { element, index, label };
});

const placeNames = () => {
  const taken = [];
  const boxes = names.map(({ element }) => [element.offsetWidth, element.offsetHeight]);
  names.forEach(({ element, index, label }, order) => {
    const [x, y] = plot.getScreenPosition(index);
    const [width, height] = boxes[order];
    const shift = data.centres.length > 12 ? height : height / 2;
    const left = Math.max(2, Math.min(x - width / 2, frame.clientWidth - width - 2));
    const box = [left, y - shift, left + width, y - shift + height];
    const free = taken.every((t) => box[2] < t[0] || t[2] < box[0] || box[3] < t[1] || t[3] < box[1]);
    const inside = x > 0 && y > 0 && x < frame.clientWidth && y < frame.clientHeight;
    const shown = free && inside && (!chosen.size || chosen.has(label));
    element.style.visibility = shown ? "visible" : "hidden";
    element.style.transform = `translate(${box[0]}px, ${box[1]}px)`;
    if (shown) taken.push(box);
  });
};

// ---- the image under the pointer

const line = (words, kind) => {
  const element = document.createElement("p");
  element.textContent = words;
  if (kind) element.className = kind;
  return element;
};

const describe = (index) => {
  const right = data.label[index] === data.predicted[index];
  const lines = [
    line(`${text("map.true")}: ${data.classes[data.label[index]]}`),
    line(`${text("map.predicted")}: ${data.classes[data.predicted[index]]} ${right ? "○" : "×"}`, right ? "right" : "wrong"),
  ];
  if (data.trust) lines.push(line(`${text("map.trust")}: ${data.trust[index].toFixed(2)}`));
  lines.push(line(data.name[index], "quiet"));
  part("words").replaceChildren(...lines);
};

const picture = (index) => {
  const { columns, width, height } = data.sprite;
  const canvas = part("picture");
  const scale = 112 / Math.max(width, height);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = scale < 2;
  const column = index % columns;
  const row = Math.floor(index / columns);
  context.drawImage(part("sprite"), column * width, row * height, width, height, 0, 0, canvas.width, canvas.height);
};

const show = (index) => {
  current = index;
  part("card").hidden = false;
  describe(index);
  picture(index);
  placeCard();
};

const BUTTONS = 52; // pixels at the right that the zoom buttons take

const placeCard = () => {
  if (current < 0) return;
  const card = part("card");
  const [x, y] = plot.getScreenPosition(current);
  const left = x + 16 + card.offsetWidth > frame.clientWidth - BUTTONS ? x - 16 - card.offsetWidth : x + 16;
  const within = (value, most) => Math.max(4, Math.min(value, most - 4));
  const across = within(left, frame.clientWidth - card.offsetWidth - BUTTONS);
  const down = within(y - card.offsetHeight / 2, frame.clientHeight - card.offsetHeight);
  card.style.transform = `translate(${across}px, ${down}px)`;
};

const hide = () => {
  current = -1;
  part("card").hidden = true;
};

// ---- keyboard, buttons, fingers

const STEP = 10; // pixels: a step goes at least as far, so that a few of them cross the map

const step = (across, down) => {
  const here = current < 0 ? [frame.clientWidth / 2, frame.clientHeight / 2] : plot.getScreenPosition(current);
  let best = -1;
  let shortest = Infinity;
  for (const index of visible) {
    const [x, y] = plot.getScreenPosition(index);
    if (x < 0 || y < 0 || x > frame.clientWidth || y > frame.clientHeight) continue;
    const ahead = (x - here[0]) * across + (y - here[1]) * down;
    const aside = Math.abs((x - here[0]) * down) + Math.abs((y - here[1]) * across);
    if (current >= 0 && (ahead < STEP || aside > ahead)) continue;
    const far = Math.hypot(ahead, 2 * aside);
    if (far < shortest) [best, shortest] = [index, far];
  }
  if (best < 0) return;
  plot.hover(best);
  show(best);
};

const middle = () => {
  if (current < 0) return [0, 0];
  const [x, y] = plot.getScreenPosition(current);
  return [(2 * x) / frame.clientWidth - 1, 1 - (2 * y) / frame.clientHeight];
};

const zoom = (factor, at = middle()) => {
  plot.get("camera").scale([factor, factor], at);
  plot.redraw();
};

const whole = () => plot.zoomToOrigin({ transition: !calm.matches, transitionDuration: 250 });

const KEYS = {
  ArrowLeft: () => step(-1, 0),
  ArrowRight: () => step(1, 0),
  ArrowUp: () => step(0, -1),
  ArrowDown: () => step(0, 1),
  "+": () => zoom(1.4),
  "=": () => zoom(1.4),
  "-": () => zoom(1 / 1.4),
  0: whole,
  Escape: () => {
    plot.hover(-1);
    hide();
  },
};

const listenToKeys = () => {
  frame.addEventListener("keydown", (event) => {
    if (event.target !== frame || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
};

const listenToFingers = () => {
  const canvas = part("canvas");
  const fingers = new Map();
  const between = () => {
    const [[ax, ay], [bx, by]] = [...fingers.values()];
    return [(ax + bx) / 2, (ay + by) / 2, Math.hypot(ax - bx, ay - by)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = fingers.size === 2 ? between() : null;
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (!before) return;
    const [x, y, spread] = between();
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    plot.get("camera").pan([(2 * (x - before[0])) / width, (-2 * (y - before[1])) / height]);
    zoom(spread / Math.max(before[2], 1), [(2 * x) / width - 1, 1 - (2 * y) / height]);
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
};

const listenToLegend = () => {
  const buttons = document.querySelectorAll("[data-class]");
  const apply = () => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(chosen.has(Number(button.dataset.class))));
    part("all").disabled = !chosen.size;
    filter();
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const label = Number(button.dataset.class);
      if (!chosen.delete(label)) chosen.add(label);
      apply();
    });
  }
  part("all").addEventListener("click", () => {
    chosen.clear();
    apply();
  });
  if (part("wrong")) part("wrong").addEventListener("change", filter);
  if (part("dim")) part("dim").addEventListener("change", () => plot.set(look()));
};

const listen = () => {
  plot.subscribe("pointover", show);
  plot.subscribe("pointout", hide);
  plot.subscribe("view", () => {
    placeNames();
    placeCard();
  });
  part("in").addEventListener("click", () => zoom(1.6));
  part("out").addEventListener("click", () => zoom(1 / 1.6));
  part("whole").addEventListener("click", whole);
  listenToKeys();
  listenToFingers();
  listenToLegend();
  dark.addEventListener("change", () => plot.set(look()));
  document.addEventListener("mitsugo:language", () => {
    say();
    if (current >= 0) describe(current);
  });
  new ResizeObserver(() => requestAnimationFrame(placeNames)).observe(frame);
  part("canvas").addEventListener("webglcontextlost", stand);
};

// ---- start; where anything is missing the still picture stays

const stand = () => {
  part("live").hidden = true;
  part("still").hidden = false;
};

const start = async () => {
  const probe = document.createElement("canvas").getContext("webgl");
  if (!probe || !probe.getExtension("OES_texture_float")) return stand();
  part("live").hidden = false;
  part("still").hidden = true;
  plot = globalThis.createScatterplot.default({
    canvas: part("canvas"),
    pointSize: pointSize(),
    pointOutlineWidth: 2,
    opacityInactiveMax: 1,
    actionKeyMap: {},
    lassoOnLongPress: false,
    spatialIndexUseWorker: false,
    ...look(),
  });
  await plot.draw(
    { x: data.x, y: data.y, valueA: data.label, valueB: data.lies },
    { zDataType: "categorical", wDataType: "categorical" },
  );
  plot.get("camera").setScaleBounds([0.7, 300]);
  placeNames();
  listen();
  frame.dataset.ready = "yes";
};

start().catch((error) => {
  console.warn(error);
  stand();
});
