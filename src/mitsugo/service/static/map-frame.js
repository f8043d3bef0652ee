// The points of the map, in a frame without rights: it knows no names of images and fetches nothing.
(() => {
  const part = (id) => document.getElementById(id);
  const frame = part("frame");
  const page = window.parent;
  let plot = null;
  let points = null; // {x, y, classes: typed arrays; names; calm}
  let visible = null; // classes that alone are shown; null means all
  let anchors = null; // two points that tell where any other place lies on the screen
  let current = -1;
  let place = null; // of the image inspected last

  const tell = (message, transfer = []) => page.postMessage(message, "*", transfer);
  const size = () => [frame.clientWidth, frame.clientHeight];

  // ---- what is drawn

  const rgba = (color) => {
    const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
    return [red / 255, green / 255, blue / 255, 1];
  };

  const look = ({ colors, ground: color, ink }) => {
    document.documentElement.style.setProperty("--ground", color);
    document.body.style.color = ink;
    document.body.style.backgroundColor = color;
    ground = rgba(color);
    const own = colors.length === 1 ? colors[0] : colors;
    return { pointColor: own, pointColorHover: rgba(ink), pointColorActive: rgba(ink), backgroundColor: ground };
  };

  // The library draws on a canvas of its own and copies it for every frame, for which a page without a graphics card
  // waits until all points are painted. It takes any renderer of this shape, and this one draws where it is seen.
  const EXTENSIONS = ["OES_texture_float", "OES_element_index_uint", "WEBGL_color_buffer_float", "EXT_float_blend"];
  let ground = [1, 1, 1, 1];

  const createRenderer = (canvas) => {
    const gl = canvas.getContext("webgl", { antialias: true, alpha: false });
    const regl = globalThis.createREGL({ gl, extensions: EXTENSIONS.filter((name) => gl.getExtension(name)) });
    const callbacks = new Set();
    const loop = regl.frame(() => {
      for (const callback of callbacks) callback();
    });
    let destroyed = false;
    return {
      canvas,
      regl,
      gamma: 1,
      isSupported: true,
      get isDestroyed() {
        return destroyed;
      },
      render: (draw) => {
        regl.poll();
        regl.clear({ color: ground, depth: 1 });
        draw();
      },
      resize: () => {}, // the canvas is the plot's own, which sizes it
      refresh: () => regl.poll(),
      onFrame: (callback) => {
        callbacks.add(callback);
        return () => callbacks.delete(callback);
      },
      destroy: () => {
        destroyed = true;
        loop.cancel();
        regl.destroy();
      },
    };
  };

  const pointSize = (count) => (count > 20000 ? 3 : count > 4000 ? 4 : count > 800 ? 6 : 9);

  const make = (news) => {
    plot = globalThis.createScatterplot.default({
      canvas: part("canvas"),
      renderer: createRenderer(part("canvas")),
      pointSize: pointSize(points.x.length),
      pointOutlineWidth: 2,
      opacity: 0.8,
      opacityInactiveMax: 1,
      colorBy: "valueA",
      actionKeyMap: {},
      lassoOnLongPress: false,
      deselectOnEscape: false,
      deselectOnDblClick: false,
      spatialIndexUseWorker: false,
      ...look(news),
    });
    plot.subscribe("pointover", (index) => {
      current = index;
      tell({ kind: "over", index });
    });
    plot.subscribe("pointout", () => tell({ kind: "out" }));
    plot.subscribe("view", follow);
    plot.subscribe("select", ({ points: chosen }) => tellChosen(chosen));
    plot.subscribe("deselect", () => tellChosen([]));
    part("canvas").addEventListener("webglcontextlost", () => tell({ kind: "failed" }));
  };

  const draw = async (news) => {
    if (visible !== null) await plot.unfilter();
    points = news;
    visible = null;
    current = -1;
    place = null;
    if (plot === null) make(news);
    else {
      plot.deselect({ preventEvent: true });
      plot.set({ pointSize: pointSize(points.x.length), ...look(news) });
    }
    await plot.draw({ x: points.x, y: points.y, valueA: points.classes }, { zDataType: "categorical" });
    plot.get("camera").setScaleBounds([0.7, 300]);
    anchors = anchorsOf(points);
    nameClasses();
    follow();
    tell({ kind: "drawn" });
  };

  // ---- names at the classes' centres: the larger class first, none over another

  const MOST = 40; // names at once: they are placed anew in every frame
  let names = [];

  const nameClasses = () => {
    const sums = points.names.map(() => [0, 0, 0]);
    for (let index = 0; index < points.x.length; index += 1) {
      const sum = sums[points.classes[index]];
      sum[0] += points.x[index];
      sum[1] += points.y[index];
      sum[2] += 1;
    }
    const middles = sums.map(([x, y, n]) => [x / n, y / n]);
    const nearest = nearestTo(middles);
    const order = sums.map((_, kind) => kind).filter((kind) => sums[kind][2] > 0);
    order.sort((one, other) => sums[other][2] - sums[one][2]);
    names = order.slice(0, MOST).map((kind) => {
      const element = document.createElement("span");
      element.textContent = points.names[kind];
      return { element, kind, x: points.x[nearest[kind]], y: points.y[nearest[kind]] };
    });
    part("names").replaceChildren(...names.map(({ element }) => element));
    for (const name of names) [name.width, name.height] = [name.element.offsetWidth, name.element.offsetHeight];
  };

  // A mean may lie where no image is, so the image nearest to it carries the name.
  const nearestTo = (middles) => {
    const best = middles.map(() => -1);
    const least = middles.map(() => Infinity);
    for (let index = 0; index < points.x.length; index += 1) {
      const kind = points.classes[index];
      const far = Math.hypot(points.x[index] - middles[kind][0], points.y[index] - middles[kind][1]);
      if (far < least[kind]) [best[kind], least[kind]] = [index, far];
    }
    return best;
  };

  const anchorsOf = ({ x, y }) => {
    const extreme = (values, better) => values.reduce((best, value, index) => (better(value, values[best]) ? index : best), 0);
    const less = (one, other) => one < other;
    const more = (one, other) => one > other;
    return { left: extreme(x, less), right: extreme(x, more), low: extreme(y, less), high: extreme(y, more) };
  };

  // Where any place of the map lies on the screen: the view moves and scales, but never turns.
  const screen = () => {
    const along = (values, one, other, axis) => {
      const [from, to] = [plot.getScreenPosition(one)[axis], plot.getScreenPosition(other)[axis]];
      const scale = values[other] === values[one] ? 0 : (to - from) / (values[other] - values[one]);
      return (value) => from + (value - values[one]) * scale;
    };
    return [along(points.x, anchors.left, anchors.right, 0), along(points.y, anchors.low, anchors.high, 1)];
  };

  // Everything that stands over the points follows the view; its cost does not grow with the number of points.
  const follow = () => {
    if (anchors === null) return;
    const [across, down] = screen();
    const [wide, tall] = size();
    const taken = [];
    for (const { element, kind, x, y, width, height } of names) {
      const [left, top] = [Math.max(2, Math.min(across(x) - width / 2, wide - width - 2)), down(y) - height / 2];
      const box = [left, top, left + width, top + height];
      const inside = across(x) > 0 && down(y) > 0 && across(x) < wide && down(y) < tall;
      const free = taken.every((other) => box[2] < other[0] || other[2] < box[0] || box[3] < other[1] || other[3] < box[1]);
      const shown = inside && free && (visible === null || visible.has(kind));
      element.style.visibility = shown ? "visible" : "hidden";
      if (!shown) continue;
      element.style.transform = `translate(${left}px, ${top}px)`;
      taken.push(box);
    }
    part("mark").hidden = place === null;
    if (place !== null) part("mark").style.transform = `translate(${across(place[0])}px, ${down(place[1])}px)`;
  };

  // ---- the lasso: by mouse with shift, or by any pointer while it is switched on

  let loop = null; // [x, y, x, y, ...] on the screen

  const ink = () => {
    const context = part("lasso").getContext("2d");
    context.strokeStyle = getComputedStyle(document.body).color;
    context.lineWidth = 2;
    return context;
  };

  const begin = (event) => {
    if (!plot || event.button !== 0 || !(event.shiftKey || frame.classList.contains("lassoing"))) return;
    event.preventDefault(); // so that no mouse event follows by which the view would move
    event.stopPropagation();
    const layer = part("lasso");
    [layer.width, layer.height] = size();
    layer.setPointerCapture(event.pointerId);
    loop = [event.offsetX, event.offsetY];
  };

  const extend = (event) => {
    if (loop === null) return;
    const context = ink();
    context.beginPath();
    context.moveTo(loop.at(-2), loop.at(-1));
    context.lineTo(event.offsetX, event.offsetY);
    context.stroke();
    loop.push(event.offsetX, event.offsetY);
  };

  const end = () => {
    if (loop === null) return;
    const drawn = loop;
    loop = null;
    part("lasso").width = 0;
    if (drawn.length < 8) return;
    const chosen = within(drawn);
    if (chosen.length) plot.select(chosen);
    else plot.deselect();
    setLasso(false);
  };

  const within = (corners) => {
    const [across, down] = screen();
    const found = [];
    for (let index = 0; index < points.x.length; index += 1) {
      if (visible !== null && !visible.has(points.classes[index])) continue;
      if (inside(across(points.x[index]), down(points.y[index]), corners)) found.push(index);
    }
    return found;
  };

  const inside = (x, y, corners) => {
    let odd = false;
    for (let one = 0, other = corners.length - 2; one < corners.length; other = one, one += 2) {
      const [ax, ay, bx, by] = [corners[one], corners[one + 1], corners[other], corners[other + 1]];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  };

  const setLasso = (on) => {
    frame.classList.toggle("lassoing", on);
    tell({ kind: "lasso", on });
  };

  const tellChosen = (chosen) => {
    const indices = Uint32Array.from(chosen);
    tell({ kind: "chosen", indices }, [indices.buffer]);
  };

  // ---- keyboard and fingers

  const STEP = 10; // pixels: a step goes at least as far, so that a few of them cross the map

  const step = (right, below) => {
    const [across, down] = screen();
    const [wide, tall] = size();
    const here = current < 0 ? [wide / 2, tall / 2] : [across(points.x[current]), down(points.y[current])];
    let best = -1;
    let shortest = Infinity;
    for (let index = 0; index < points.x.length; index += 1) {
      if (visible !== null && !visible.has(points.classes[index])) continue;
      const [x, y] = [across(points.x[index]), down(points.y[index])];
      if (x < 0 || y < 0 || x > wide || y > tall) continue;
      const ahead = (x - here[0]) * right + (y - here[1]) * below;
      const aside = Math.abs((x - here[0]) * below) + Math.abs((y - here[1]) * right);
      if (current >= 0 && (ahead < STEP || aside > ahead)) continue;
      const far = Math.hypot(ahead, 2 * aside);
      if (far < shortest) [best, shortest] = [index, far];
    }
    if (best >= 0) plot.hover(best, { showReticleOnce: true });
  };

  const middle = () => {
    if (current < 0) return [0, 0];
    const [across, down] = screen();
    const [wide, tall] = size();
    return [(2 * across(points.x[current])) / wide - 1, 1 - (2 * down(points.y[current])) / tall];
  };

  const zoom = (factor, at = middle()) => {
    plot.get("camera").scale([factor, factor], at);
    plot.redraw();
  };

  const whole = () => plot.zoomToOrigin({ transition: !points.calm, transitionDuration: 250 });

  const KEYS = {
    ArrowLeft: () => step(-1, 0),
    ArrowRight: () => step(1, 0),
    ArrowUp: () => step(0, -1),
    ArrowDown: () => step(0, 1),
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    0: whole,
    Enter: () => current >= 0 && plot.select([current]),
    Escape: () => {
      plot.hover(-1);
      plot.deselect();
      setLasso(false);
    },
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
      if (!plot || !fingers.has(event.pointerId)) return;
      const before = fingers.size === 2 ? between() : null;
      fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
      if (!before) return;
      const [x, y, spread] = between();
      const [wide, tall] = size();
      plot.get("camera").pan([(2 * (x - before[0])) / wide, (-2 * (y - before[1])) / tall]);
      zoom(spread / Math.max(before[2], 1), [(2 * x) / wide - 1, 1 - (2 * y) / tall]);
    });
    for (const over of ["pointerup", "pointercancel", "pointerleave"]) {
      canvas.addEventListener(over, (event) => fingers.delete(event.pointerId));
    }
  };

  // ---- what the page says

  const filter = async ({ classes }) => {
    visible = classes.length ? new Set(classes) : null;
    if (visible === null) await plot.unfilter();
    else {
      const shown = [];
      for (let index = 0; index < points.x.length; index += 1) if (visible.has(points.classes[index])) shown.push(index);
      await plot.filter(shown);
    }
    follow();
  };

  const SAID = {
    points: draw,
    filter,
    look: (news) => plot.set(look(news)),
    in: () => zoom(1.6),
    out: () => zoom(1 / 1.6),
    whole,
    lasso: ({ on }) => setLasso(on),
    choose: ({ indices }) => (indices.length ? plot.select([...indices]) : plot.deselect({ preventEvent: true })),
    mark: ({ x, y }) => {
      place = [x, y];
      follow();
    },
  };

  let turn = Promise.resolve(); // one after the other, as drawing takes its time

  addEventListener("message", ({ source, data }) => {
    if (source !== page || !Object.hasOwn(SAID, data.kind)) return;
    if (plot === null && data.kind !== "points") return;
    turn = turn.then(() => SAID[data.kind](data)).catch((error) => {
      console.warn(error);
      tell({ kind: "failed" });
    });
  });

  // Behind another tab the frame has no size, and nothing can be drawn on a canvas of none: it keeps the last one.
  const fit = () => {
    const [wide, tall] = size();
    if (!wide || !tall) return;
    part("canvas").style.width = `${wide}px`;
    part("canvas").style.height = `${tall}px`;
    requestAnimationFrame(follow);
  };

  const start = () => {
    const probe = document.createElement("canvas").getContext("webgl");
    if (!probe || !probe.getExtension("OES_texture_float")) return tell({ kind: "failed" });
    frame.addEventListener("pointerdown", begin, { capture: true });
    part("lasso").addEventListener("pointermove", extend);
    for (const over of ["pointerup", "pointercancel"]) part("lasso").addEventListener(over, end);
    frame.addEventListener("keydown", (event) => {
      if (!plot || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return;
      event.preventDefault();
      KEYS[event.key]();
    });
    listenToFingers();
    new ResizeObserver(fit).observe(frame);
    fit();
    tell({ kind: "ready" });
  };

  start();
})();
