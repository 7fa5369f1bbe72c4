// The pass: what ran through the model in this step, the shape of every array, its work, and the roofline.

const PASS_CHIPS = 48; // tokens of a row that are written out
const PASS_PHASES = {
  prefill: "prefill",
  chunk: "chunk of a prompt",
  decode: "decode",
  verify: "verify draft tokens",
  recompute: "recompute",
  naive: "naive, the whole sequence",
  draft: "draft",
};

views.pass = {
  title: "the pass",
  letter: "p",
  sources: ["pass"],
  draw(el, moment) {
    const pass = answeringPass(moment.lines);
    const model = moment.trace.models[0];
    if (!pass || !model) return el.replaceChildren(make("p", {}, passNothing(moment)));
    const parts = passParts(model.config, pass);
    el.replaceChildren(
      ...[
        make("p", { class: "pass-facts" }, passFacts(pass)),
        make("h3", {}, "What runs"),
        passRows(moment, pass),
        passDrafts(moment),
        make("h3", {}, "From tokens to logits"),
        passArrays(model.config, pass, parts),
        make("h3", {}, "Under the roofline"),
        passRoofline(moment, pass, el.clientWidth),
      ].filter(Boolean),
    );
  },
};

function passNothing({ n }) {
  return n === 0
    ? "Nothing has run yet. The first pass comes with step 1."
    : "The run was interrupted before this step's pass ended.";
}

function passFacts(pass) {
  const tokens = sum(pass.rows.map((row) => row.count));
  const bytes = pass.weight_bytes + pass.cache_bytes;
  const facts = [
    [counted(tokens, "token"), pass.rows.length === 1 ? "of one sequence" : `of ${pass.rows.length} sequences`],
    [`${amount(pass.flops)}FLOPs`, `${amount(pass.flops / tokens)}FLOPs a token`],
    [bytesText(bytes), `read: ${bytesText(pass.weight_bytes)} weights, ${bytesText(pass.cache_bytes)} cache`],
    [(pass.flops / bytes).toPrecision(2), "FLOPs for each byte"],
  ];
  if (pass.took) facts.push([`${(pass.took * 1000).toPrecision(3)} ms`, "measured"]);
  return facts.map(([number, words]) => make("span", {}, make("b", {}, number), make("span", {}, words)));
}

// --- the rows of the pass: for each sequence, what is cached and what is new

function passRows(moment, pass) {
  const longest = Math.max(...pass.rows.map((row) => row.first + row.count));
  return make(
    "ul",
    { class: "pass-rows" },
    pass.rows.map((row) => passRow(moment, row, longest)),
  );
}

function passRow(moment, row, longest) {
  const hue = row.id === null ? "var(--muted)" : colourOf(row.id);
  const cached = row.first ? `${counted(row.first, "token")} in the cache, ` : "";
  return make(
    "li",
    { style: { "--hue": hue } },
    make(
      "div",
      { class: "pass-row-head" },
      row.id === null ? null : badge(row.id),
      make("b", {}, PASS_PHASES[row.phase]),
      make(
        "span",
        {},
        `${cached}${row.count} new, ${row.logits ? counted(row.logits, "row") + " of logits" : "no logits"}`,
      ),
    ),
    make(
      "div",
      { class: "pass-bar", "aria-hidden": "true" },
      passBarPart("cached", row.first / longest),
      passBarPart("new", row.count / longest),
    ),
    make("ol", { class: "pass-tokens" }, passChips(moment, row)),
  );
}

function passBarPart(kind, share) {
  return share ? make("span", { class: `pass-bar-${kind}`, style: { width: `${(share * 100).toFixed(2)}%` } }) : null;
}

// The texts of a row's new tokens. Draft tokens follow the sequence as it was before this step.
function passChips({ before, state, lines, trace }, row) {
  const draft = lines.find((line) => line.t === "draft" && line.id === row.id);
  const request = before.requests[row.id] ?? state.requests[row.id];
  if (!request) return null;
  const tokens = sequenceOf(request).concat(row.phase === "verify" && draft ? draft.tokens : []);
  const known = sequenceOf(request).length;
  const mine = tokens.slice(row.first, row.first + row.count);
  const chips = mine.slice(0, PASS_CHIPS).map((token, index) => {
    const at = row.first + index;
    const logits = index >= row.count - row.logits ? " pass-token-logits" : "";
    return make(
      "li",
      { class: `pass-token${at >= known ? " pass-token-guess" : ""}${logits}`, title: `position ${at}` },
      tokenText(trace, token),
    );
  });
  return mine.length > PASS_CHIPS
    ? [chips, make("li", { class: "pass-more" }, `… and ${mine.length - PASS_CHIPS} more`)]
    : chips;
}

function passDrafts({ lines, trace }) {
  const passes = lines.filter((line) => line.t === "pass" && line.model > 0);
  if (!passes.length) return null;
  const name = visible(trace.models[passes[0].model].name);
  return make(
    "p",
    { class: "pass-drafts" },
    `Before it, ${name} drafted in ${counted(passes.length, "pass").replace("passs", "passes")}: ${amount(sum(passes.map((pass) => pass.flops)))}FLOPs, ${bytesText(sum(passes.map((pass) => pass.weight_bytes)))} of weights.`,
  );
}

// --- the arrays, from embedding to logits

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

// --- the roofline

// Peaks of datasheets: products in float32 on a laptop with eight cores, in float16 on the GPU.
const PASS_MACHINES = [
  { name: "a laptop", flops: 2e11, bandwidth: 5e10 },
  { name: "an H100", flops: 9.89e14, bandwidth: 3.35e12 },
];
const ROOF_X = [-1, 4]; // powers of ten: FLOPs per byte
const ROOF_Y = [9, 15.3]; // powers of ten: FLOPs per second

function passIntensity(pass) {
  return pass.flops / (pass.weight_bytes + pass.cache_bytes);
}

function passReach(machine, intensity) {
  return Math.min(machine.flops, machine.bandwidth * intensity);
}

function passRoofline(moment, pass, clientWidth) {
  const width = Math.max(270, Math.min(clientWidth || 640, 760));
  const frame = { left: 52, right: width - 14, top: 12, bottom: 250 };
  const x = (value) =>
    frame.left + ((Math.log10(value) - ROOF_X[0]) / (ROOF_X[1] - ROOF_X[0])) * (frame.right - frame.left);
  const y = (value) =>
    frame.bottom - ((Math.log10(value) - ROOF_Y[0]) / (ROOF_Y[1] - ROOF_Y[0])) * (frame.bottom - frame.top);
  const earlier = moment.trace.lines.filter((line) => line.t === "pass" && line.model === 0 && line.s < moment.n);
  const intensity = passIntensity(pass);
  const picture = svg(
    "svg",
    {
      class: "pass-roofline",
      viewBox: `0 0 ${width} 292`,
      role: "img",
      "aria-label": `Roofline: this pass has ${intensity.toPrecision(2)} FLOPs for each byte`,
    },
    passAxes(frame, x, y),
    PASS_MACHINES.map((machine) => passRoof(machine, x, y, frame)),
    svg("line", { class: "pass-here", x1: x(intensity), x2: x(intensity), y1: frame.top, y2: frame.bottom }),
    PASS_MACHINES.map((machine) => passPoints(machine, earlier, pass, x, y)),
  );
  return make("figure", { class: "pass-figure" }, picture, passVerdicts(pass), passRooflineTable(pass));
}

function passAxes(frame, x, y) {
  const xs = powers(ROOF_X[0], ROOF_X[1]).map((power) => [
    svg("line", { class: "pass-grid", x1: x(10 ** power), x2: x(10 ** power), y1: frame.top, y2: frame.bottom }),
    svg(
      "text",
      { x: x(10 ** power), y: frame.bottom + 17, "text-anchor": power === ROOF_X[1] ? "end" : "middle" },
      ["0.1", "1", "10", "100", "1 k", "10 k"][power - ROOF_X[0]],
    ),
  ]);
  const ys = powers(ROOF_Y[0], Math.floor(ROOF_Y[1]), 3).map((power) => [
    svg("line", { class: "pass-grid", x1: frame.left, x2: frame.right, y1: y(10 ** power), y2: y(10 ** power) }),
    svg(
      "text",
      { x: frame.left - 6, y: y(10 ** power) + 4, "text-anchor": "end" },
      { 9: "1 G", 12: "1 T", 15: "1 P" }[power],
    ),
  ]);
  return [
    xs,
    ys,
    svg("text", { x: frame.right, y: frame.bottom + 36, "text-anchor": "end" }, "FLOPs for each byte read →"),
    svg("text", { class: "pass-axis", x: frame.left + 6, y: frame.top + 12 }, "↑ FLOPs per second"),
  ];
}

function powers(from, to, step = 1) {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}

// The slope is the memory's bandwidth, the flat part the arithmetic's peak.
function passRoof(machine, x, y, frame) {
  const ridge = machine.flops / machine.bandwidth;
  const start = 10 ** ROOF_X[0];
  return [
    svg("path", {
      class: "pass-roof",
      d: `M${x(start)} ${y(passReach(machine, start))}L${x(ridge)} ${y(machine.flops)}L${frame.right} ${y(machine.flops)}`,
    }),
    svg("text", { x: frame.right, y: y(machine.flops) + 17, "text-anchor": "end" }, machine.name),
  ];
}

function passPoints(machine, earlier, pass, x, y) {
  const point = (each, kind, radius) =>
    svg("circle", {
      class: kind,
      cx: x(passIntensity(each)),
      cy: y(passReach(machine, passIntensity(each))),
      r: radius,
    });
  return [earlier.slice(-200).map((each) => point(each, "pass-point-before", 3.5)), point(pass, "pass-point", 7)];
}

function passVerdicts(pass) {
  const intensity = passIntensity(pass);
  const sentences = PASS_MACHINES.map((machine) => {
    const bound = intensity < machine.flops / machine.bandwidth ? "memory is the limit" : "arithmetic is the limit";
    return `On ${machine.name} ${bound}: at most ${((100 * passReach(machine, intensity)) / machine.flops).toPrecision(2)}% of its arithmetic is used.`;
  });
  return make("figcaption", {}, sentences.join(" "), " Small dots are the passes before.");
}

function passRooflineTable(pass) {
  const intensity = passIntensity(pass);
  return asTable(
    "This pass on two machines, by their datasheets",
    ["machine", "ridge (FLOPs for each byte)", "at most", "takes at least"],
    PASS_MACHINES.map((machine) => [
      machine.name,
      (machine.flops / machine.bandwidth).toPrecision(3),
      `${amount(passReach(machine, intensity))}FLOP/s`,
      passTime(pass.flops / passReach(machine, intensity)),
    ]),
  );
}

function passTime(seconds) {
  return seconds < 1e-3 ? `${(seconds * 1e6).toPrecision(3)} µs` : `${(seconds * 1e3).toPrecision(3)} ms`;
}
