// The arrays of a pass, from embedding to logits: shapes, work and pictures.

// Each array that the pass computes: its shape, the weights it is multiplied with, and FLOPs and weights in all layers.
function passParts(config, pass) {
  const tokens = sum(pass.rows.map((row) => row.count));
  const logits = sum(pass.rows.map((row) => row.logits));
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: size } = config;
  const layers = config.num_hidden_layers;
  const pairs = sum(
    pass.rows.flatMap((row) => config.sliding_windows.map((window) => visiblePairs(row.first, row.count, window))),
  );
  const product = (name, rows, matrix, times, extra) => ({
    name,
    shape: [rows, matrix[1]],
    matrix,
    flops: 2 * rows * matrix[0] * matrix[1] * times,
    weights: matrix[0] * matrix[1] * times,
    ...extra,
  });
  return [
    {
      name: "embedding",
      lookup: true,
      shape: [tokens, hidden],
      matrix: [config.vocab_size, hidden],
      flops: 0,
      weights: 0,
      note: "a row is looked up for each token",
    },
    product("queries", tokens, [hidden, heads * size], layers, { inLayer: true, shape: [tokens, heads, size] }),
    product("keys and values", tokens, [hidden, 2 * kvHeads * size], layers, {
      inLayer: true,
      shape: [tokens, 2, kvHeads, size],
      note: "go into the cache",
    }),
    {
      name: "scores and mix",
      inLayer: true,
      scores: true,
      shape: null,
      matrix: null,
      flops: 4 * heads * size * pairs,
      weights: 0,
      note: "each query with every key that it may see",
    },
    product("attention output", tokens, [heads * size, hidden], layers, { inLayer: true }),
    product("gate and up", tokens, [hidden, 2 * config.intermediate_size], layers, { inLayer: true }),
    product("down", tokens, [config.intermediate_size, hidden], layers, { inLayer: true }),
    product("logits", logits, [hidden, config.vocab_size], 1, {
      logits: true,
      note: logits ? "only of the rows that need them" : "none: a chunk needs no logits",
    }),
  ];
}

function passArrays(config, pass, parts) {
  const most = Math.max(...parts.map((part) => part.flops));
  const perWeight =
    pass.weight_bytes / Math.max(1, sum(parts.filter((part) => part.flops).map((part) => part.weights)));
  const row = (part) => passArrayRow(config, pass, part, most, perWeight);
  const group = (label, some) =>
    make(
      "tbody",
      {},
      label ? make("tr", { class: "pass-group" }, make("th", { colspan: 5, scope: "rowgroup" }, label)) : null,
      some.map(row),
    );
  return make(
    "table",
    { class: "pass-arrays" },
    make("caption", { class: "unseen" }, "Arrays of the pass, with their shapes and work"),
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        ["array", "to scale", "shape", "FLOPs", "weights"].map((name) => make("th", { scope: "col" }, name)),
      ),
    ),
    group(null, parts.slice(0, 1)),
    group(
      `in each of ${counted(config.num_hidden_layers, "layer")}; work of all of them`,
      parts.filter((part) => part.inLayer),
    ),
    group(null, parts.slice(-1)),
  );
}

function passArrayRow(config, pass, part, most, perWeight) {
  const weights = part.flops && part.weights ? bytesText(part.weights * perWeight) : part.lookup ? "looked up" : "none";
  const matrix = part.matrix ? make("small", {}, shapeText(part.matrix)) : null;
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, part.name, part.note ? make("small", {}, part.note) : null),
    make("td", { class: "pass-picture" }, part.scores ? passScoresPicture(pass) : passPicture(config, pass, part)),
    make("td", { class: "pass-shape" }, part.scores ? passScoresShapes(config, pass) : shapeText(part.shape)),
    make(
      "td",
      { class: "pass-flops" },
      make("span", {}, part.flops ? amount(part.flops).trim() : "0"),
      passShare(part.flops / most),
    ),
    make("td", { class: "pass-weights" }, weights, matrix),
  );
}

function passShare(share) {
  return svg(
    "svg",
    { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "pass-share", width: (share * 100).toFixed(2), height: 4 }),
  );
}

const PASS_WIDTH = 200; // of the pictures, in units of their view boxes

// A rectangle for each request: its width is the number of its rows, its height grows with the root of the other sizes.
function passPicture(config, pass, part) {
  const counts = pass.rows.map((row) => (part.logits ? row.logits : row.count));
  const unit = passUnit(pass);
  const height = 5 + 30 * Math.sqrt(part.matrix[1] / Math.max(config.vocab_size, 2 * config.intermediate_size));
  let x = 0;
  const areas = pass.rows.map((row, index) => {
    const width = counts[index] * unit;
    x += width;
    return width
      ? svg("rect", {
          class: "pass-area",
          x: x - width,
          width,
          height,
          style: { "--hue": row.id === null ? "var(--muted)" : colourOf(row.id) },
        })
      : null;
  });
  return svg("svg", { viewBox: `0 0 ${PASS_WIDTH} ${height + 1}`, "aria-hidden": "true" }, areas);
}

// The width of one token: narrow for a decode, and a wide pass fits.
function passUnit(pass) {
  return Math.min(12, PASS_WIDTH / sum(pass.rows.map((row) => row.count)));
}

// For each request its queries (to the right) and keys (down), with the part that the mask hides left out.
function passScoresPicture(pass) {
  const unit = passUnit(pass);
  const tallest = Math.max(...pass.rows.map((row) => row.first + row.count));
  const high = Math.min(unit, 56 / tallest);
  let x = 0;
  const areas = pass.rows.map((row) => {
    const [left, right] = [x, x + row.count * unit];
    x = right;
    const steps = Array.from(
      { length: row.count },
      (_, index) => `L${left + index * unit} ${(row.first + index + 1) * high}h${unit}`,
    );
    return svg("path", {
      class: "pass-area",
      d: `M${left} 0${steps.join("")}L${right} 0z`,
      style: { "--hue": row.id === null ? "var(--muted)" : colourOf(row.id) },
    });
  });
  return svg("svg", { viewBox: `0 0 ${PASS_WIDTH} ${tallest * high + 1}`, "aria-hidden": "true" }, areas);
}

function passScoresShapes(config, pass) {
  const shapes = pass.rows.map((row) => shapeText([config.num_attention_heads, row.count, row.first + row.count]));
  const shown = shapes.slice(0, 4).map((shape) => make("span", {}, shape));
  return shapes.length > 4 ? [shown, make("span", {}, `and ${shapes.length - 4} more`)] : shown;
}
