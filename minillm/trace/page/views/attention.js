// Attention: which earlier tokens each token looked at, in one layer and head.

const ATTENTION_LEVELS = 16; // shades of a matrix
const ATTENTION_TEXT = 160; // tokens of the text; a longer one shows those before the query
const ATTENTION_LINES = 10; // lines, for the largest weights; more would hide the text
const ATTENTION_LEAST = 0.01; // the smallest weight that is written, and has a line

views.attention = {
  title: "attention",
  letter: "a",
  shows: (trace) => attentionAll(trace).length > 0,
  draw(el, moment) {
    const ran = attentionRan(moment);
    const lines = attentionAll(moment.trace).filter((line) => ran[line.id]);
    if (!lines.length) return el.replaceChildren(make("p", {}, "No token with recorded weights has run yet."));
    const line = attentionChosen(moment, lines);
    const seen = Math.min(line.scales.length, ran[line.id]);
    const query = attentionQuery(moment, seen);
    el.replaceChildren(
      attentionChoices(moment, lines, line, seen, query),
      make("h3", {}, "Lines over the text"),
      attentionText(moment, line, query, el.clientWidth || 700),
      make(
        "div",
        { class: "attention-columns" },
        make("section", {}, make("h3", {}, "As a matrix"), attentionMatrix(moment, line, seen, query)),
        make("section", {}, make("h3", {}, "All heads that were recorded"), attentionHeads(moment, lines, line, seen)),
      ),
    );
  },
};

// --- what was recorded

function attentionAll(trace) {
  return trace.lines.filter((line) => line.t === "attention");
}

// The line of the selected request, layer and head. Of what was not recorded, or not yet chosen, it is the last layer,
// whose heads look at few tokens, and the first head.
function attentionChosen({ selected }, lines) {
  const best = (some, field, value, otherwise) => {
    const same = some.filter((line) => line[field] === value);
    return same.length ? same : some.filter((line) => line[field] === some.at(otherwise)[field]);
  };
  const ofLayer = best(
    best(lines, "id", selected.request, 0),
    "layer",
    selected.headChosen ? selected.layer : null,
    -1,
  );
  return best(ofLayer, "head", selected.headChosen ? selected.head : null, 0)[0];
}

// For each request, how many of its tokens had gone through the model by this step.
function attentionRan({ trace, n }) {
  const ran = {};
  for (const line of trace.lines) {
    if (line.t !== "pass" || line.model > 0 || line.s > n) continue;
    for (const row of line.rows) ran[row.id] = Math.max(ran[row.id] ?? 0, row.first + row.count);
  }
  return ran;
}

// The token whose row is shown: the one the reader chose in this step, or the last.
function attentionQuery({ selected, n }, seen) {
  const chosen = selected.query;
  return chosen && chosen.step === n ? Math.min(chosen.token, seen - 1) : seen - 1;
}

// Weights of all queries, each a fraction of 1: unpacked once for a line.
const attentionWeights = new WeakMap();

function attentionRows(line) {
  if (!attentionWeights.has(line)) attentionWeights.set(line, attentionUnpack(line));
  return attentionWeights.get(line);
}

function attentionUnpack(line) {
  const bytes = Uint8Array.from(atob(line.weights), (sign) => sign.charCodeAt(0));
  return line.scales.map((scale, query) => {
    const start = (query * (query + 1)) / 2;
    return Array.from(bytes.subarray(start, start + query + 1), (byte) => (byte / 255) * scale);
  });
}

function attentionTokens(moment, id) {
  return sequenceOf(moment.state.requests[id]);
}

function attentionWindow(moment, line) {
  return moment.trace.models[0].config.sliding_windows[line.layer];
}

// --- choosing

function attentionChoices(moment, lines, line, seen, query) {
  const unique = (field, some) => [...new Set(some.map((each) => each[field]))];
  const ofRequest = lines.filter((each) => each.id === line.id);
  const requests = unique("id", lines);
  return make(
    "div",
    { class: "attention-choices" },
    requests.length > 1 ? attentionSelect(moment, line, "request", requests, letterOf) : null,
    attentionSelect(moment, line, "layer", unique("layer", ofRequest), String),
    attentionSelect(
      moment,
      line,
      "head",
      unique(
        "head",
        ofRequest.filter((each) => each.layer === line.layer),
      ),
      String,
    ),
    attentionQuerySelect(moment, line, seen, query),
    make("span", { class: "attention-mask" }, attentionMaskWords(attentionWindow(moment, line))),
  );
}

function attentionSelect(moment, line, name, values, words) {
  const now = { request: line.id, layer: line.layer, head: line.head };
  const change = (event) => moment.select({ ...now, [name]: Number(event.target.value), headChosen: true });
  return make(
    "label",
    {},
    `${name} `,
    make(
      "select",
      { onchange: change, "data-choice": name, "data-focus": `attention-${name}` },
      values.map((value) => make("option", { value, selected: value === now[name] }, words(value))),
    ),
  );
}

function attentionQuerySelect(moment, line, seen, query) {
  const tokens = attentionTokens(moment, line.id);
  const change = (event) => moment.select({ query: { step: moment.n, token: Number(event.target.value) } });
  return make(
    "label",
    {},
    "token ",
    make(
      "select",
      { onchange: change, "data-choice": "query", "data-focus": "attention-query" },
      Array.from({ length: seen }, (_, at) =>
        make("option", { value: at, selected: at === query }, `${at} ${tokenText(moment.trace, tokens[at])}`),
      ),
    ),
  );
}

function attentionMaskWords(window) {
  const causal = "A token sees itself and what stands before it";
  return window === null ? `${causal}.` : `${causal}, ${window} tokens at most: this layer has a window.`;
}

// --- lines over the text

const ATTENTION_ROW = { above: 34, box: 23, below: 17 }; // pixels: for lines, a token, its weight

// The text, with a line from the query to every token that it looked at; wide and dark ones are large weights.
function attentionText(moment, line, query, width) {
  const tokens = attentionTokens(moment, line.id);
  const from = Math.max(0, query - ATTENTION_TEXT + 1);
  const weights = attentionRows(line)[query].slice(from);
  const labels = tokens.slice(from, query + 1).map((token) => attentionShort(tokenText(moment.trace, token)));
  const places = attentionPlaces(labels, width);
  const height = places.at(-1).y + ATTENTION_ROW.box + ATTENTION_ROW.below;
  const least = Math.max(ATTENTION_LEAST, [...weights].sort((a, b) => b - a)[ATTENTION_LINES - 1] ?? 0);
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
  return asTable(`What token ${query} looked at most`, ["position", "token", "weight"], rows);
}

// Where the label of each token stands: a fixed-width font, in rows of this width.
function attentionPlaces(labels, width) {
  const { above, box, below } = ATTENTION_ROW;
  let [x, y] = [2, above];
  return labels.map((label) => {
    const size = Math.max(36, [...label].length * 8.2 + 12);
    if (x + size > width - 2 && x > 2) [x, y] = [2, y + box + below + above];
    const place = { x, y, size, middle: x + size / 2 };
    x += size + 5;
    return place;
  });
}

function attentionLine(place, last, weight) {
  return svg("path", {
    class: "attention-line",
    d: attentionCurve(place, last),
    "stroke-width": (1 + weight * 6).toFixed(2),
    "stroke-opacity": (0.2 + 0.8 * Math.sqrt(weight)).toFixed(2),
  });
}

// From the top of one token to the top of another: a loop for the query itself, an arc in its row, an S to rows above.
function attentionCurve(place, last) {
  if (place === last)
    return `M${last.middle - 8} ${last.y}C${last.middle - 16} ${last.y - 24} ${last.middle + 16} ${last.y - 24} ${last.middle + 8} ${last.y}`;
  const rise = place.y === last.y ? 12 + Math.min(20, (last.middle - place.middle) / 10) : 28;
  return `M${place.middle} ${place.y}C${place.middle} ${place.y - rise * 1.3} ${last.middle} ${last.y - rise * 1.3} ${last.middle} ${last.y}`;
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

// --- the matrix: queries down, keys to the right

// One path for each shade, so that a matrix of any size is a few elements.
const attentionShadesOf = new WeakMap();

function attentionShades(line) {
  if (!attentionShadesOf.has(line)) attentionShadesOf.set(line, attentionPaths(line));
  return attentionShadesOf.get(line);
}

function attentionPaths(line) {
  const cells = Array.from({ length: ATTENTION_LEVELS }, () => line.scales.map(() => []));
  attentionRows(line).forEach((weights, query) =>
    weights.forEach((weight, key) => {
      const level = Math.ceil(Math.sqrt(weight) * ATTENTION_LEVELS) - 1; // the root shows small weights too
      if (level >= 0) cells[Math.min(level, ATTENTION_LEVELS - 1)][query].push(`M${key} ${query}h1v1h-1z`);
    }),
  );
  return cells.map((rows) => rows.map((row) => row.join("")));
}

// The shades of the first `seen` queries.
function attentionShadePaths(line, seen) {
  return attentionShades(line).map((rows, level) => {
    const d = rows.slice(0, seen).join("");
    return d ? svg("path", { d, "fill-opacity": ((level + 1) / ATTENTION_LEVELS).toFixed(3) }) : null;
  });
}

function attentionMatrix(moment, line, seen, query) {
  const size = seen;
  const window = attentionWindow(moment, line);
  const fresh = answeringPass(moment.lines)?.rows.find((row) => row.id === line.id);
  const pick = (event) => attentionPick(event, moment, size);
  const picture = svg(
    "svg",
    {
      class: "attention-matrix",
      viewBox: `-0.02 -0.02 ${size + 0.04} ${size + 0.04}`,
      role: "img",
      "aria-label": `Attention of ${size} tokens, layer ${line.layer}, head ${line.head}`,
      style: { "--hue": colourOf(line.id) },
      onclick: pick,
    },
    svg("path", { class: "attention-hidden", d: attentionMaskPath(size, window) }),
    svg("g", { class: "attention-shades" }, attentionShadePaths(line, seen)),
    svg("rect", { class: "attention-row", x: 0, y: query, width: query + 1, height: 1 }),
  );
  const words = fresh ? `This step computed ${fresh.count === 1 ? "one row" : `${fresh.count} rows`}; ` : "";
  return make(
    "figure",
    { class: "attention-figure" },
    make("div", { class: "attention-key-axis" }, "keys: the tokens looked at →"),
    picture,
    make(
      "figcaption",
      {},
      words,
      "each row is a query, and adds up to 100%. Grey is hidden by the mask. Choose a row with a click.",
    ),
  );
}

// Choose the query of the row that was clicked.
function attentionPick(event, moment, size) {
  const box = event.currentTarget.getBoundingClientRect();
  const token = Math.floor(((event.clientY - box.top) / box.height) * size);
  moment.select({ query: { step: moment.n, token: Math.max(0, Math.min(token, size - 1)) } });
}

// What no query sees: keys after it, and keys that its window has left.
function attentionMaskPath(size, window) {
  const later = Array.from({ length: size - 1 }, (_, query) => `M${query + 1} ${query}H${size}v1H${query + 1}z`);
  const left =
    window === null
      ? []
      : Array.from({ length: Math.max(0, size - window) }, (_, index) => `M0 ${window + index}h${index + 1}v1H0z`);
  return later.concat(left).join("");
}

// --- all heads, small

function attentionHeads(moment, lines, chosen, seen) {
  const mine = lines.filter((line) => line.id === chosen.id);
  const layers = [...new Set(mine.map((line) => line.layer))];
  return make(
    "div",
    { class: "attention-heads", style: { "--hue": colourOf(chosen.id) } },
    layers.map((layer) =>
      make(
        "div",
        {},
        make("span", { class: "attention-layer" }, `layer ${layer}`),
        make(
          "div",
          { class: "attention-thumbs" },
          mine
            .filter((line) => line.layer === layer)
            .map((line) => attentionThumb(moment, line, line === chosen, seen)),
        ),
      ),
    ),
  );
}

function attentionThumb(moment, line, isChosen, seen) {
  const choose = () => moment.select({ request: line.id, layer: line.layer, head: line.head, headChosen: true });
  return make(
    "button",
    {
      type: "button",
      class: "attention-thumb",
      "aria-pressed": String(isChosen),
      "aria-label": `layer ${line.layer}, head ${line.head}`,
      "data-focus": `attention-${line.layer}-${line.head}`,
      onclick: choose,
    },
    svg(
      "svg",
      { viewBox: `0 0 ${seen} ${seen}`, "aria-hidden": "true" },
      svg("g", { class: "attention-shades" }, attentionShadePaths(line, seen)),
    ),
  );
}
