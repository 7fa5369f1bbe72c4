// Attention: which earlier tokens each token looked at, in one layer and head.

const ATTENTION_LEVELS = 16; // shades of a matrix
const ATTENTION_ARCS = 40; // tokens along the line; a longer text shows those before the query

views.attention = {
  title: "attention",
  letter: "a",
  draw(el, moment) {
    const lines = attentionLines(moment);
    const line = attentionChosen(moment, lines);
    if (!line) return el.replaceChildren(make("p", {}, attentionNothing(moment, lines)));
    const seen = attentionSeen(moment, line);
    if (!seen) return el.replaceChildren(make("p", {}, "No token of this request has run yet."));
    const query = attentionQuery(moment, seen);
    el.replaceChildren(...[
      attentionChoices(moment, lines, line, seen, query),
      make("h3", {}, "Lines over the text"), attentionArcs(moment, line, query),
      make("div", { class: "attention-columns" },
        make("section", {}, make("h3", {}, "As a matrix"), attentionMatrix(moment, line, seen, query)),
        make("section", {}, make("h3", {}, "All heads that were recorded"), attentionHeads(moment, lines, line, seen))),
    ]);
    const frame = el.querySelector(".attention-scroll");
    frame.scrollLeft = frame.scrollWidth;
  },
};

// --- what was recorded

function attentionAll(trace) {
  return trace.lines.filter((line) => line.t === "attention");
}

function attentionLines(moment) {
  return attentionAll(moment.trace);
}

function attentionNothing({ trace, state }, lines) {
  if (!attentionAll(trace).length) return "This trace has no attention weights. Record one with detail \"attention\".";
  return Object.keys(state.requests).length && lines.length ? "The chosen request has no attention weights." : "No request yet.";
}

// The line of the selected request, layer and head; of another head or request if that one was not recorded.
function attentionChosen({ selected }, lines) {
  const ranked = ["request", "layer", "head"].reduce((some, name) => {
    const field = name === "request" ? "id" : name;
    const same = some.filter((line) => line[field] === selected[name]);
    return same.length ? same : some;
  }, lines);
  return ranked[0];
}

// How many of the line's tokens had gone through the model by this step.
function attentionSeen({ trace, n }, line) {
  const rows = trace.lines.filter((each) => each.t === "pass" && each.model === 0 && each.s <= n).flatMap((pass) => pass.rows);
  const ran = rows.filter((row) => row.id === line.id).map((row) => row.first + row.count);
  return Math.min(line.scales.length, Math.max(0, ...ran));
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
  const known = unique("id", lines).filter((id) => moment.state.requests[id]);
  return make("div", { class: "attention-choices" },
    known.length > 1 ? attentionSelect(moment, "request", known, line.id, letterOf) : null,
    attentionSelect(moment, "layer", unique("layer", ofRequest), line.layer, String),
    attentionSelect(moment, "head", unique("head", ofRequest.filter((each) => each.layer === line.layer)), line.head, String),
    attentionQuerySelect(moment, line, seen, query),
    make("span", { class: "attention-mask" }, attentionMaskWords(attentionWindow(moment, line))));
}

function attentionSelect(moment, name, values, chosen, words) {
  const change = (event) => moment.select({ [name]: Number(event.target.value) });
  return make("label", {}, `${name} `, make("select", { onchange: change, "data-choice": name }, values.map((value) =>
    make("option", { value, selected: value === chosen }, words(value)))));
}

function attentionQuerySelect(moment, line, seen, query) {
  const tokens = attentionTokens(moment, line.id);
  const change = (event) => moment.select({ query: { step: moment.n, token: Number(event.target.value) } });
  return make("label", {}, "token ", make("select", { onchange: change, "data-choice": "query" }, Array.from({ length: seen }, (_, at) =>
    make("option", { value: at, selected: at === query }, `${at} ${tokenText(moment.trace, tokens[at])}`))));
}

function attentionMaskWords(window) {
  const causal = "A token sees itself and what stands before it";
  return window === null ? `${causal}.` : `${causal}, ${window} tokens at most: this layer has a window.`;
}

// --- lines over the text

// The text in one line, with an arc from the query to every token that it looked at; wide arcs are large weights.
function attentionArcs(moment, line, query) {
  const tokens = attentionTokens(moment, line.id);
  const from = Math.max(0, query - ATTENTION_ARCS + 1);
  const weights = attentionRows(line)[query];
  const labels = tokens.slice(from, query + 1).map((token) => tokenText(moment.trace, token).slice(0, 14));
  const places = attentionPlaces(labels);
  const width = places.at(-1).end + 6;
  const height = Math.min(110, 34 + width / 9);
  const hue = colourOf(line.id);
  const words = attentionTop(moment, line, query).slice(0, 3).map(([at, weight]) => `${tokenText(moment.trace, tokens[at])} ${percent(weight)}`).join(", ");
  const picture = svg("svg", { class: "attention-arcs", width, height: height + 44, viewBox: `0 0 ${width} ${height + 44}`, role: "img", "aria-label": `${labels.at(-1)} looks at ${words}`, style: { "--hue": hue } },
    places.map((place, index) => attentionArc(place, places.at(-1), weights[from + index], height)),
    places.map((place, index) => attentionLabel(place, labels[index], weights[from + index], height, index === places.length - 1)));
  const before = from ? make("p", { class: "attention-note" }, `${counted(from, "token")} before these had ${percent(sum(weights.slice(0, from)))} of the weight.`) : null;
  return make("div", {}, make("div", { class: "attention-scroll", tabindex: 0, role: "region", "aria-label": "the text with its weights" }, picture), before,
    asTable(`What token ${query} looked at`, ["position", "token", "weight"], attentionTop(moment, line, query).map(([at, weight]) => [at, tokenText(moment.trace, tokens[at]), percent(weight)])));
}

// Where each label of a fixed-width font begins and ends.
function attentionPlaces(labels) {
  let x = 6;
  return labels.map((label) => {
    const place = { start: x, end: x + Math.max(34, [...label].length * 8.2 + 10) };
    x = place.end + 4;
    return { ...place, middle: (place.start + place.end) / 2 };
  });
}

function attentionArc(place, last, weight, height) {
  if (weight < 0.005) return null;
  const rise = Math.min(height - 6, 16 + (last.middle - place.middle) / 5);
  const loop = place === last ? `M${place.middle - 7} ${height}C${place.middle - 16} ${height - 26} ${place.middle + 16} ${height - 26} ${place.middle + 7} ${height}` : `M${place.middle} ${height}C${place.middle} ${height - rise * 1.3} ${last.middle} ${height - rise * 1.3} ${last.middle} ${height}`;
  return svg("path", { class: "attention-arc", d: loop, "stroke-width": (1 + weight * 9).toFixed(2), "stroke-opacity": (0.25 + 0.75 * weight).toFixed(2) });
}

function attentionLabel(place, label, weight, height, isQuery) {
  const width = place.end - place.start;
  return [svg("rect", { class: isQuery ? "attention-box attention-box-query" : "attention-box", x: place.start, y: height + 2, width, height: 22, rx: 4 }),
    svg("rect", { class: "attention-fill", x: place.start, y: height + 2, width, height: 22, rx: 4, "fill-opacity": (weight * 0.6).toFixed(3) }),
    svg("text", { class: "attention-token", x: place.middle, y: height + 17.5, "text-anchor": "middle" }, label),
    svg("text", { class: "attention-weight", x: place.middle, y: height + 39, "text-anchor": "middle" }, weight >= 0.01 ? percent(weight) : "")];
}

// Position and weight of the tokens that a query looked at most.
function attentionTop(moment, line, query) {
  return attentionRows(line)[query].map((weight, at) => [at, weight]).sort((a, b) => b[1] - a[1]).slice(0, 12);
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
  attentionRows(line).forEach((weights, query) => weights.forEach((weight, key) => {
    const level = Math.ceil(Math.sqrt(weight) * ATTENTION_LEVELS) - 1; // the root shows small weights too
    if (level >= 0) cells[Math.min(level, ATTENTION_LEVELS - 1)][query].push(`M${key} ${query}h1v1h-1z`);
  }));
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
  const picture = svg("svg", { class: "attention-matrix", viewBox: `-0.02 -0.02 ${size + 0.04} ${size + 0.04}`, role: "img", "aria-label": `Attention of ${size} tokens, layer ${line.layer}, head ${line.head}`, style: { "--hue": colourOf(line.id) }, onclick: pick },
    svg("path", { class: "attention-hidden", d: attentionMaskPath(size, window) }),
    svg("g", { class: "attention-shades" }, attentionShadePaths(line, seen)),
    svg("rect", { class: "attention-row", x: 0, y: query, width: query + 1, height: 1 }));
  const words = fresh ? `This step computed ${fresh.count === 1 ? "one row" : `${fresh.count} rows`}; ` : "";
  return make("figure", { class: "attention-figure" },
    make("div", { class: "attention-key-axis" }, "keys: the tokens looked at →"), picture,
    make("figcaption", {}, words, "each row is a query, and adds up to 100%. Grey is hidden by the mask. Choose a row with a click."));
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
  const left = window === null ? [] : Array.from({ length: Math.max(0, size - window) }, (_, index) => `M0 ${window + index}h${index + 1}v1H0z`);
  return later.concat(left).join("");
}

// --- all heads, small

function attentionHeads(moment, lines, chosen, seen) {
  const mine = lines.filter((line) => line.id === chosen.id);
  const layers = [...new Set(mine.map((line) => line.layer))];
  return make("div", { class: "attention-heads", style: { "--hue": colourOf(chosen.id) } }, layers.map((layer) =>
    make("div", {}, make("span", { class: "attention-layer" }, `layer ${layer}`), make("div", { class: "attention-thumbs" },
      mine.filter((line) => line.layer === layer).map((line) => attentionThumb(moment, line, line === chosen, seen))))));
}

function attentionThumb(moment, line, isChosen, seen) {
  const choose = () => moment.select({ request: line.id, layer: line.layer, head: line.head });
  return make("button", { type: "button", class: "attention-thumb", "aria-pressed": String(isChosen), "aria-label": `layer ${line.layer}, head ${line.head}`, onclick: choose },
    svg("svg", { viewBox: `0 0 ${seen} ${seen}`, "aria-hidden": "true" }, svg("g", { class: "attention-shades" }, attentionShadePaths(line, seen))));
}
