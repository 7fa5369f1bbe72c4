// The text of a request, with lines from a token to those that it looked at.

const ATTENTION_TEXT = 160; // tokens of the text; a longer one shows those before the query
const ATTENTION_LINES = 10; // lines, for the largest weights; more would hide the text
const ATTENTION_LEAST = 0.01; // the smallest weight that is written, and has a line
const ATTENTION_ROW = { above: 34, box: 23, below: 17, close: 6 }; // pixels: for lines, a token, its weight; or for none

// The text, with a line from the query to every token that it looked at; wide and dark ones are large weights.
function attentionText(moment, line, query, width) {
  const tokens = attentionTokens(moment, line.id);
  const from = Math.max(0, query - ATTENTION_TEXT + 1);
  const weights = attentionRows(line)[query].slice(from);
  const labels = tokens.slice(from, query + 1).map((token) => attentionShort(tokenText(moment.trace, token)));
  const least = Math.max(ATTENTION_LEAST, [...weights].sort((a, b) => b - a)[ATTENTION_LINES - 1] ?? 0);
  const places = attentionPlaces(labels, width, (index) => weights[index] >= ATTENTION_LEAST);
  const height = places.at(-1).y + ATTENTION_ROW.box + ATTENTION_ROW.below;
  const picture = svg(
    "svg",
    {
      class: "attention-text",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": attentionWords(moment, line, query),
      style: { "--hue": colourOf(line.id) },
    },
    places.map((place, index) =>
      weights[index] >= least ? attentionLine(place, places.at(-1), weights[index]) : null,
    ),
    places.map((place, index) => attentionLabel(place, labels[index], weights[index], index === places.length - 1)),
  );
  return make("div", {}, picture, attentionBefore(line, query, from), attentionTable(moment, line, query));
}

function attentionShort(text) {
  const signs = [...text];
  return signs.length > 16 ? `${signs.slice(0, 15).join("")}…` : text;
}

function attentionWords(moment, line, query) {
  const tokens = attentionTokens(moment, line.id);
  const top = attentionTop(moment, line, query)
    .slice(0, 3)
    .map(([at, weight]) => `${tokenText(moment.trace, tokens[at])} ${percent(weight)}`);
  return `${tokenText(moment.trace, tokens[query])} looks at ${top.join(", ")}`;
}

function attentionBefore(line, query, from) {
  const weight = sum(attentionRows(line)[query].slice(0, from));
  return from
    ? make(
        "p",
        { class: "attention-note" },
        `${counted(from, "token")} before these had ${percent(weight)} of the weight.`,
      )
    : null;
}

function attentionTable(moment, line, query) {
  const tokens = attentionTokens(moment, line.id);
  const rows = attentionTop(moment, line, query).map(([at, weight]) => [
    at,
    tokenText(moment.trace, tokens[at]),
    percent(weight),
  ]);
  return asTable("What this token looked at most", ["position", "token", "weight"], rows);
}

// Where the label of each token stands: a fixed-width font, in rows of this width. Only a row with weights, and the
// last one, have room for lines and numbers.
function attentionPlaces(labels, width, hasWeight = () => true) {
  const { above, box, below, close } = ATTENTION_ROW;
  let y = 0;
  return attentionWrapped(labels, width).flatMap((row, number, rows) => {
    const weighs = row.some(({ index }) => hasWeight(index));
    y += weighs || number === rows.length - 1 ? above : close;
    const placed = row.map(({ x, size }) => ({ x, y, size, middle: x + size / 2 }));
    y += box + (weighs ? below : 0);
    return placed;
  });
}

// The labels in rows: [[{ index, x, size }]].
function attentionWrapped(labels, width) {
  const rows = [[]];
  let x = 2;
  labels.forEach((label, index) => {
    const size = Math.max(36, [...label].length * 8.2 + 12);
    if (x + size > width - 2 && x > 2) {
      rows.push([]);
      x = 2;
    }
    rows.at(-1).push({ index, x, size });
    x += size + 5;
  });
  return rows;
}

function attentionLine(place, last, weight) {
  return svg("path", {
    class: "attention-line",
    d: attentionCurve(place, last),
    "stroke-width": (1 + weight * 6).toFixed(2),
    "stroke-opacity": (0.2 + 0.8 * Math.sqrt(weight)).toFixed(2),
  });
}

// A loop at the query itself, an arc to a token in its row, and from a row above a curve that begins under the weight.
function attentionCurve(place, last) {
  if (place === last) return `M${last.middle - 8} ${last.y}c-8 -24 24 -24 16 0`;
  const curve = (y, high, low) =>
    `M${place.middle} ${y}C${place.middle} ${high} ${last.middle} ${low} ${last.middle} ${last.y}`;
  const rise = last.y - (16 + Math.min(26, (last.middle - place.middle) / 8));
  if (place.y === last.y) return curve(place.y, rise, rise);
  const start = place.y + ATTENTION_ROW.box + ATTENTION_ROW.below;
  const bend = Math.min(40, (last.y - start) * 0.7);
  return curve(start, start + bend, last.y - bend);
}

function attentionLabel({ x, y, size, middle }, label, weight, isQuery) {
  const box = { x, y, width: size, height: ATTENTION_ROW.box, rx: 4 };
  return [
    svg("rect", { class: isQuery ? "attention-box attention-box-query" : "attention-box", ...box }),
    svg("rect", { class: "attention-fill", ...box, "fill-opacity": (Math.sqrt(weight) * 0.6).toFixed(3) }),
    svg("text", { class: "attention-token", x: middle, y: y + 16, "text-anchor": "middle" }, label),
    svg(
      "text",
      { class: "attention-weight", x: middle, y: y + 36, "text-anchor": "middle" },
      weight >= ATTENTION_LEAST ? percent(weight) : "",
    ),
  ];
}

// Position and weight of the tokens that a query looked at most.
function attentionTop(moment, line, query) {
  return attentionRows(line)
    [query].map((weight, at) => [at, weight])
    .sort((a, b) => b[1] - a[1])
    .slice(0, 12);
}
