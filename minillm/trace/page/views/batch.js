// The batch: a row for each request, a column for each step, up to this one.

const BATCH_SIGNS = {
  waiting: "·",
  prefill: "P",
  chunk: "C",
  decode: "D",
  verify: "V",
  recompute: "R",
  naive: "N",
  idle: "–",
  preempted: "✕",
  done: "■",
  cancelled: "□",
};
const BATCH_WORDS = {
  waiting: "waits",
  prefill: "prefill: the prompt, or its last part",
  chunk: "chunk: a part of a prompt",
  decode: "decode: one token",
  verify: "verify: draft tokens and the one before",
  recompute: "recompute after a preemption",
  naive: "naive: the whole sequence",
  idle: "runs, but not in this step",
  preempted: "preempted: gives its memory back",
  done: "done",
  cancelled: "cancelled",
};
const BATCH_PARTS = ["prefill", "decode", "draft"]; // of a step's budget
const BATCH_BEFORE = 23; // columns to the left of this step
const BATCH_AFTER = 4; // columns to its right, still empty

views.batch = {
  title: "the batch",
  letter: "b",
  about: "Which requests share a pass: a row for each request, a column for each step.",
  lessons: ["batching"],
  sources: ["step", "admit", "preempt", "finish"],
  shows: (trace) => trace.lines.filter((line) => line.t === "request").length > 1 || trace.lines.some((line) => line.t === "step"),
  draw(el, moment) {
    const history = batchHistory(moment.trace);
    const first = Math.max(0, moment.n - BATCH_BEFORE);
    const steps = history.slice(first, moment.n + BATCH_AFTER + 1).map((_, index) => first + index);
    el.replaceChildren(
      make("div", { class: "batch-facts" }, batchFacts(moment)),
      make(
        "div",
        { class: "batch-scroll", tabindex: 0, role: "region", "aria-label": "requests by step" },
        batchTable(moment, history, steps),
      ),
      batchLegend(history),
    );
    batchShowColumn(el);
  },
};

// What each request does in each step: history[step][id] = { kind, count }. Found once for a trace.
const batchHistories = new WeakMap();

function batchHistory(trace) {
  if (!batchHistories.has(trace)) batchHistories.set(trace, batchFold(trace.lines));
  return batchHistories.get(trace);
}

function batchFold(lines) {
  const state = newState();
  const steps = [];
  for (const line of lines) (steps[line.s] ??= []).push(line);
  return steps.map((ofStep) => {
    for (const line of ofStep) applyLine(state, line);
    return batchColumn(ofStep, state);
  });
}

// What all requests did in a step, given its lines and the state after it.
function batchColumn(lines, state) {
  const ended = new Set(lines.filter((line) => line.t === "finish").map((line) => line.id));
  const preempted = new Set(lines.filter((line) => line.t === "preempt").map((line) => line.id));
  const rows = Object.fromEntries((answeringPass(lines)?.rows ?? []).map((row) => [row.id, row]));
  const cells = Object.entries(state.requests).map(([id, request]) => {
    const number = Number(id);
    return [id, batchCell(request, rows[id], ended.has(number), preempted.has(number))];
  });
  return { step: lines.find((line) => line.t === "step"), cells: Object.fromEntries(cells) };
}

// A request's rows in the pass count most, then that it was preempted or ended, then its status. Null: it is over.
function batchCell(request, row, ended, preempted) {
  const end = request.status === "cancelled" ? "cancelled" : "done";
  if (row) return { kind: row.phase, count: row.count, end: ended ? end : null };
  if (preempted) return { kind: "preempted", count: 0, end: null };
  if (ended) return { kind: end, count: 0, end: null };
  const kind = { running: "idle", waiting: "waiting" }[request.status];
  return kind ? { kind, count: 0, end: null } : null;
}

function batchTable(moment, history, steps) {
  const ids = Object.keys(moment.state.requests);
  return make(
    "table",
    { class: "batch-table" },
    make("caption", { class: "unseen" }, "What each request does in each step"),
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", { scope: "col" }, "step"),
        steps.map((step) => batchHead(moment, step)),
      ),
    ),
    make(
      "tbody",
      {},
      ids.map((id) => batchRow(moment, history, steps, id)),
    ),
    history.some((column) => column.step) ? make("tfoot", {}, batchBudgetRow(moment, history, steps)) : null,
  );
}

function batchHead(moment, step) {
  const now = step === moment.n;
  return make(
    "th",
    { scope: "col", class: now ? "batch-now" : null, "aria-current": now ? "step" : null },
    make(
      "button",
      { type: "button", tabindex: -1, onclick: () => moment.go(step), "aria-label": `step ${step}` },
      step,
    ),
  );
}

function batchRow(moment, history, steps, id) {
  const label = make(
    "th",
    { scope: "row" },
    badge(Number(id)),
    make("span", { class: "batch-prompt" }, batchPrompt(moment, id)),
  );
  return make(
    "tr",
    { style: { "--hue": colourOf(Number(id)) } },
    label,
    steps.map((step) => batchTableCell(moment, history, step, id)),
  );
}

function batchPrompt(moment, id) {
  const { prompt } = moment.state.requests[id];
  return prompt
    .slice(0, 12)
    .map((token) => visible(moment.trace.texts[token] ?? ""))
    .join("");
}

function batchTableCell(moment, history, step, id) {
  const now = step === moment.n ? "batch-now" : null;
  const cell = step > moment.n ? null : history[step].cells[id];
  if (!cell) return make("td", { class: now });
  const tokens = cell.count > 1 ? `, ${counted(cell.count, "token")}` : "";
  const words = `step ${step}, request ${letterOf(Number(id))}: ${BATCH_WORDS[cell.kind]}${tokens}`;
  return make(
    "td",
    { class: now },
    make(
      "span",
      { class: `batch-cell batch-${cell.kind}`, title: words },
      make(
        "span",
        { "aria-hidden": "true" },
        BATCH_SIGNS[cell.kind],
        cell.count > 1 ? make("small", {}, cell.count) : null,
        cell.end ? BATCH_SIGNS[cell.end] : null,
      ),
      make("span", { class: "unseen" }, BATCH_WORDS[cell.kind], cell.end ? `, then ${BATCH_WORDS[cell.end]}` : ""),
    ),
  );
}

// Under the requests: how much of the step's budget its tokens took.
function batchBudgetRow(moment, history, steps) {
  const label = make("th", { scope: "row" }, make("span", { class: "batch-prompt" }, "tokens of the budget"));
  return make(
    "tr",
    {},
    label,
    steps.map((step) => {
      const line = step > moment.n ? null : history[step].step;
      const now = step === moment.n ? "batch-now" : null;
      return make("td", { class: now }, line ? batchBudget(line) : null);
    }),
  );
}

function batchBudget(line) {
  const used = sum(BATCH_PARTS.map((name) => line[name]));
  let top = 40;
  const bars = BATCH_PARTS.filter((name) => line[name]).map((name) => {
    const height = Math.min((line[name] / Math.max(line.budget, used)) * 40, top);
    top -= height;
    return svg("rect", { class: `batch-part-${name}`, x: 4, y: top, width: 16, height });
  });
  return make(
    "span",
    { class: "batch-budget", title: `${used} of ${line.budget} tokens` },
    svg(
      "svg",
      { viewBox: "0 0 24 40", "aria-hidden": "true" },
      svg("rect", { class: "batch-budget-frame", x: 3.5, y: 0.5, width: 17, height: 39 }),
      bars,
    ),
    make("span", {}, used),
  );
}

// The step's numbers in words.
function batchFacts({ state, lines }) {
  const line = lines.find((each) => each.t === "step");
  const queue = (name, ids) => make("span", {}, make("b", {}, name), " ", ids.length ? ids.map(badge) : "none");
  const facts = [queue("running", state.running), queue("waiting", state.waiting)];
  if (line) {
    const used = sum(BATCH_PARTS.map((name) => line[name]));
    const kinds = BATCH_PARTS.filter((name) => line[name])
      .map((name) => `${line[name]} ${name}`)
      .join(" + ");
    facts.push(make("span", {}, make("b", {}, "budget"), ` ${used} of ${line.budget} tokens (${kinds || "none"})`));
  }
  return facts;
}

function batchLegend(history) {
  const seen = new Set(
    history.flatMap((column) => Object.values(column.cells).flatMap((cell) => [cell?.kind, cell?.end])),
  );
  return make(
    "ul",
    { class: "batch-legend" },
    Object.keys(BATCH_SIGNS)
      .filter((kind) => seen.has(kind))
      .map((kind) =>
        make(
          "li",
          {},
          make("span", { class: `batch-cell batch-${kind}`, "aria-hidden": "true" }, BATCH_SIGNS[kind]),
          ` ${BATCH_WORDS[kind]}`,
        ),
      ),
    BATCH_PARTS.filter((name) => history.some(({ step }) => step?.[name])).map((name) =>
      make("li", {}, make("span", { class: `batch-part batch-part-${name}` }), ` budget: ${name} tokens`),
    ),
  );
}

// Scroll this step's column into sight, and nothing else.
function batchShowColumn(el) {
  const frame = el.querySelector(".batch-scroll");
  const head = el.querySelector("th.batch-now");
  if (head) frame.scrollLeft = head.offsetLeft + head.offsetWidth + 40 - frame.clientWidth;
}
