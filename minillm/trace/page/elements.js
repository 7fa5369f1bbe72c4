// Elements, texts and names that all views share. Views make every element with `make` and `svg`: texts become text
// nodes, so what a trace says is shown and never run.

const SVG = "http://www.w3.org/2000/svg";

// Return a new HTML element. `on...` attributes are listeners, `style` is an object, and null or false leaves one out.
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// The same for SVG.
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "style") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
  else element.setAttribute(name, value === true ? "" : value);
}

// A, B, ..., Z, AA, AB, ...: the name of a request.
function letterOf(id) {
  const last = String.fromCharCode(65 + (id % 26));
  return id < 26 ? last : letterOf(Math.floor(id / 26) - 1) + last;
}

function colourOf(id) {
  return `var(--request-${id % 8})`;
}

// The letter of a request in its colour.
function badge(id) {
  return make("span", { class: "badge", style: { "--hue": colourOf(id) } }, letterOf(id));
}

// What a reader could not see, or what would change the order of other text, is shown as a sign or as its code.
const SIGNS = { "\n": "⏎", "\t": "⇥", "\r": "␍" };
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

function visible(text) {
  return text.replace(UNSEEN, (sign) => SIGNS[sign] ?? `‹${sign.codePointAt(0).toString(16).toUpperCase()}›`);
}

// The text of a token for a label: " Paris" with a sign for its space, as a token often begins with one.
function tokenText(trace, token) {
  const text = trace.texts[token];
  return text === undefined ? `#${token}` : visible(text).replaceAll(" ", "␣") || "(empty)";
}

// A sentence whose tokens, which are in quotes as JSON has them, are set apart.
function withTokens(sentence) {
  return sentence.split(/("(?:[^"\\]|\\.)*")/).map((part, index) =>
    index % 2 ? make("code", { class: "said" }, visible(JSON.parse(part)).replaceAll(" ", "␣")) : visible(part));
}

// 0.97 -> "97%", 0.0123 -> "1.2%", 0.00001 -> "0.001%"
function percent(p) {
  const hundred = p * 100;
  if (hundred >= 99.95 || hundred === 0) return `${Math.round(hundred)}%`;
  if (hundred >= 10) return `${hundred.toFixed(0)}%`;
  if (hundred >= 0.1) return `${hundred.toFixed(1)}%`;
  return hundred >= 0.001 ? `${hundred.toFixed(3)}%` : "<0.001%";
}

function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

// A table with a caption and a header row; every cell may be a text or an element.
function table(caption, head, rows, attributes = {}) {
  return make("table", attributes,
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map((cell) => make("td", {}, cell))))));
}

const openTables = new Set(); // captions: a table that was opened stays open in the next step

// A picture's table, folded away. It is made when it is opened: a long run has thousands of rows.
function asTable(caption, head, rows, summary = "As a table") {
  const details = make("details", { class: "as-table", open: openTables.has(caption) },
    make("summary", {}, summary, make("span", { class: "unseen" }, `: ${caption}`)));
  const fill = () => details.children.length < 2 && details.append(table(caption, head, rows));
  details.addEventListener("toggle", () => {
    openTables[details.open ? "add" : "delete"](caption);
    if (details.open) fill();
  });
  if (details.open) fill();
  return details;
}

// A number with three digits: 0.0941286 -> "0.0941".
function short(number) {
  return String(Number(number.toPrecision(3)));
}

// A row of buttons, one for each request, of which one is chosen.
function requestButtons(ids, chosen, select) {
  return ids.length < 2 ? null : make("div", { class: "requests", role: "group", "aria-label": "request" }, ids.map((id) =>
    make("button", { class: "request", "aria-pressed": String(id === chosen), "data-focus": `request ${id}`, onclick: () => select({ request: id }) },
      badge(id))));
}
