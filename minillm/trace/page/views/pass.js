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
  about: "Which tokens went through the model together in this step, and what that cost.",
  lessons: ["transformer_layer", "prefill", "hardware"],
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
    [ratio(passIntensity(pass)), "FLOPs for each byte"],
  ];
  if (pass.took) facts.push([passTime(pass.took), "measured"]);
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
      { class: `pass-token${at >= known ? " pass-token-draft" : ""}${logits}`, title: `position ${at}` },
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
  const flops = amount(sum(passes.map((pass) => pass.flops)));
  const weights = bytesText(sum(passes.map((pass) => pass.weight_bytes)));
  const times = passes.length === 1 ? "one pass" : `${passes.length} passes`;
  return make(
    "p",
    { class: "pass-drafts" },
    `Before it, ${name} drafted in ${times}: ${flops}FLOPs, ${weights} of weights.`,
  );
}
