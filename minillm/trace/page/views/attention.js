// Attention: which earlier tokens each token looked at, in one layer and head.

views.attention = {
  title: "attention",
  letter: "a",
  about: "Which earlier tokens a token looked at, and how much, in one layer and head.",
  lessons: ["attention"],
  sources: ["pass"],
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
        make("section", {}, make("h3", {}, "As a matrix"), attentionMatrix(moment, line, seen, query, el.clientWidth || 700)),
        make("section", {}, make("h3", {}, "All heads that were recorded"), attentionHeads(moment, lines, line, seen, query)),
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

// For each request, how many of its tokens had gone through the model by this step: of those that it has now, so that
// rejected draft tokens do not count. The last new token never has.
function attentionRan({ trace, n, state }) {
  const ran = {};
  for (const line of trace.lines) {
    if (line.t !== "pass" || line.model > 0 || line.s > n) continue;
    for (const row of line.rows) ran[row.id] = Math.max(ran[row.id] ?? 0, row.first + row.count);
  }
  for (const [id, { prompt, tokens }] of Object.entries(state.requests)) {
    if (ran[id]) ran[id] = Math.min(ran[id], prompt.length + tokens.length - (tokens.length ? 1 : 0));
  }
  return ran;
}

// The token whose row is shown: the one the reader chose in this step, or the last.
function attentionQuery({ selected, n }, seen) {
  const chosen = selected.query;
  return chosen && chosen.step === n ? Math.min(chosen.token, seen - 1) : seen - 1;
}

// --- choosing

function attentionChoices(moment, lines, line, seen, query) {
  const unique = (field, some) => [...new Set(some.map((each) => each[field]))];
  const ofRequest = lines.filter((each) => each.id === line.id);
  const ofLayer = ofRequest.filter((each) => each.layer === line.layer);
  const requests = unique("id", lines);
  return make(
    "div",
    { class: "attention-choices" },
    requests.length > 1 ? attentionSelect(moment, line, "request", requests, letterOf) : null,
    attentionSelect(moment, line, "layer", unique("layer", ofRequest), String),
    attentionSelect(moment, line, "head", unique("head", ofLayer), String),
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
