// The colours of classes, as the report has them: Okabe and Ito's eight, then darker, then lighter, then again.
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#f0e442"];
const WHITE = [255, 255, 255];
const BLACK = [0, 0, 0];
const GREY = [128, 128, 128];
const SHARE = 0.45; // how far a colour that comes again is moved

const numbers = (color) => [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));

// Half way goes to the even number, as in the report.
const rounded = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

const mixed = (one, other, share) => {
  const parts = one.map((part, index) => rounded(part + (other[index] - part) * share));
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
};

const classColor = (index, dark) => {
  const turn = Math.floor(index / PALETTE.length) % 3;
  let color = numbers(PALETTE[index % PALETTE.length]);
  if (color.every((part) => part === 0)) color = turn ? GREY : dark ? WHITE : BLACK;
  const [away, near] = dark ? [WHITE, BLACK] : [BLACK, WHITE];
  return mixed(color, [color, away, near][turn], SHARE);
};

export const classColors = (count, dark) => Array.from({ length: count }, (_, index) => classColor(index, dark));
