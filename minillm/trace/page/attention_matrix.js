// Attention as a matrix, queries down and keys to the right; and the matrices of all heads, small.

const ATTENTION_LEVELS = 16; // shades of a matrix

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

function attentionMatrix(moment, line, seen, query, width) {
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
    make("div", { class: "attention-key-axis" }, "queries ↓ look at keys →"),
    attentionFrame(moment, line, seen, width, picture),
    make(
      "figcaption",
      {},
      words,
      "each row is a query, and adds up to 100%. Grey is hidden by the mask. Choose a row with a click.",
    ),
    attentionRowsTable(moment, line, seen),
  );
}

const ATTENTION_LABEL = 12; // pixels: the least height of a row whose token is written next to it

// The matrix with its tokens at its sides, if they have room.
function attentionFrame(moment, line, seen, width, picture) {
  const side = Math.min(480, width > 768 ? width * 0.45 : width) - 80;
  if (side / seen < ATTENTION_LABEL) return picture;
  const tokens = attentionTokens(moment, line.id).slice(0, seen);
  const labels = () => tokens.map((token) => make("span", {}, attentionShort(tokenText(moment.trace, token))));
  return make(
    "div",
    { class: "attention-frame", style: { "--size": seen } },
    make("div", { class: "attention-keys", "aria-hidden": "true" }, labels()),
    make("div", { class: "attention-queries", "aria-hidden": "true" }, labels()),
    picture,
  );
}

function attentionRowsTable(moment, line, seen) {
  const tokens = attentionTokens(moment, line.id);
  const words = (query) =>
    attentionTop(moment, line, query)
      .slice(0, 3)
      .map(([at, weight]) => `${tokenText(moment.trace, tokens[at])} ${percent(weight)}`)
      .join(", ");
  const rows = Array.from({ length: seen }, (_, query) => [query, tokenText(moment.trace, tokens[query]), words(query)]);
  return asTable("The largest weights of each row", ["position", "query", "looks at most"], rows);
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

function attentionHeads(moment, lines, chosen, seen, query) {
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
    attentionHeadsTable(moment, mine, query),
  );
}

function attentionHeadsTable(moment, lines, query) {
  const tokens = attentionTokens(moment, lines[0].id);
  const rows = lines.map((line) => {
    const [[at, weight]] = attentionTop(moment, line, query);
    return [line.layer, line.head, tokenText(moment.trace, tokens[at]), percent(weight)];
  });
  return asTable("What the token looks at most, in each head", ["layer", "head", "token", "weight"], rows);
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
