/** Elements without markup: text is always text. */

const SVG = "http://www.w3.org/2000/svg";

/** Strokes on a grid of 24. */
const SHAPES = {
  send: ["M12 19V5", "M5.5 11.5 12 5l6.5 6.5"],
  stop: ["M7.5 7.5h9v9h-9z"],
  down: ["M12 5v14", "M5.5 12.5 12 19l6.5-6.5"],
  copy: ["M9 9h10v11H9z", "M15 9V4H5v11h4"],
  done: ["M5 12.5 10 17.5 19 7"],
  edit: ["M4 20h4L19 9l-4-4L4 16z", "M13 7l4 4"],
  again: ["M20 12a8 8 0 1 1-2.4-5.7", "M20 4v4.5h-4.5"],
  back: ["M14.5 6 8.5 12l6 6"],
  next: ["M9.5 6l6 6-6 6"],
  tool: ["M14.5 6.5a4 4 0 0 1 5-1l-2.6 2.6 1 1.9 1.9 1L22 8.6a4 4 0 0 1-5.4 4.9L9.6 20.4a2 2 0 0 1-3-3l6.9-7a4 4 0 0 1 1-3.9z"],
  thought: ["M9 18h6", "M10 21h4", "M8.5 15a6 6 0 1 1 7 0v1h-7z"],
  warn: ["M12 4 2.8 20h18.4z", "M12 10v4.5", "M12 17.3v.2"],
  fold: ["M9 6l6 6-6 6"],
  attach: ["M20 11.5 12.2 19.3a5 5 0 0 1-7-7L13.5 4a3.3 3.3 0 0 1 4.7 4.7l-8.3 8.2a1.7 1.7 0 0 1-2.4-2.4L15 7"],
  file: ["M6 3h8l4 4v14H6z", "M14 3v4h4", "M9 12.5h6", "M9 16h6"],
  remove: ["M6.5 6.5l11 11", "M17.5 6.5l-11 11"],
  figures: ["M5 20v-6", "M12 20V5", "M19 20v-9"],
};

/**
 * An element with attributes and children; strings become text nodes, null and false are left out.
 *
 * `on` maps event names to listeners; every other key is an attribute (true gives an empty one).
 */
export function make(tag, { on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A drawing that assistive technology skips: the words stand beside it or in the label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${name}`);
  for (const shape of SHAPES[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", shape);
    svg.append(path);
  }
  return svg;
}

/** A small button that shows an icon and says `label` to those who do not see it. */
export function iconButton(name, label, onClick, attributes = {}) {
  return make("button", { type: "button", class: "tap", "aria-label": label, title: label, on: { click: onClick }, ...attributes }, icon(name));
}

/** Set an element's text only when it differs, so that nothing is painted or announced for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const FRAME_MS = 16;

/**
 * Run `draw` once in the next frame, however often it is asked for. Answers the function to ask with.
 *
 * What takes long is done less often: two thirds of the time stay for the reader's own scrolling and typing.
 */
export function eachFrame(draw) {
  let asked = false;
  let frame = 0;
  let rest = 0;
  let timer = 0;
  const run = () => {
    asked = false;
    const began = performance.now();
    draw();
    rest = (performance.now() - began) * 2 - FRAME_MS;
  };
  const wait = () => {
    frame = requestAnimationFrame(run);
  };
  const ask = () => {
    if (asked) return;
    asked = true;
    if (rest > 0) timer = setTimeout(wait, rest);
    else wait();
  };
  ask.cancel = () => {
    asked = false;
    clearTimeout(timer);
    cancelAnimationFrame(frame);
  };
  return ask;
}
