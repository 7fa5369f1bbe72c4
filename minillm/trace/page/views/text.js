// The text, token by token: a row for each request. It is always on the page, above the strip.

const WORDS = { // what a token is, and what the legend and the table call it
  prompt: "prompt", generated: "generated", accepted: "accepted draft", corrected: "correction", bonus: "bonus token",
  draft: "draft", rejected: "rejected draft", unused: "draft after a rejected one: not judged",
};

const ENDS = { eos: "end of text", stop: "stop text", length: "token limit" };

views.text = {
  title: "the text",
  letter: "t",
  lessons: ["what_is_inference"],
  sources: ["request", "choice"],
  draw(el, moment) {
    const detail = make("p", { class: "text-detail" }, "Point at a token to see its bytes.");
    const ids = Object.keys(moment.state.requests).map(Number);
    const several = moment.trace.lines.filter((line) => line.t === "request").length > 1; // now or later: rows keep their shape
    const rows = ids.map((id) => requestRow(id, moment, detail, several));
    const scroller = make("div", { class: "text-rows", tabindex: 0, role: "group", "aria-label": "requests and their tokens", "data-focus": "text" }, rows);
    const old = el.querySelector(".text-rows")?.scrollTop ?? 0;
    el.replaceChildren(scroller, make("div", { class: "text-foot" }, legend(moment), detail, tokenTable(ids, moment)));
    scroller.scrollTop = old;
    keepInSight(scroller);
    requestAnimationFrame(() => requestAnimationFrame(() => keepInSight(scroller))); // rows that came into sight have their height only then
  },
};

function requestRow(id, moment, detail, several) {
  const { state, selected, select } = moment;
  const request = state.requests[id];
  const button = several && make("button", {
    class: "request", "aria-pressed": String(id === selected.request), "data-focus": `text ${id}`,
    title: `look at request ${letterOf(id)}`, onclick: () => select({ request: id }),
  }, badge(id));
  const tokens = pieces(id, moment).map((piece) => tokenChip(piece, moment, detail));
  return make("div", { class: `text-row ${id === selected.request ? "text-selected" : ""}` },
    make("div", { class: "text-who" }, button, make("span", { class: "text-status" }, status(request))),
    make("p", { class: "text-tokens" }, tokens));
}

function status({ status, phase, why, swapped }) {
  if (status === "finished") return `done: ${ENDS[why]}`;
  if (status === "waiting" && swapped) return "waiting, swapped out";
  return status === "running" && phase ? phase : status;
}

// The tokens of a request, with what each is. Draft tokens that were rejected in this step come before their correction.
function pieces(id, { state, lines, n }) {
  const request = state.requests[id];
  const cached = tokensThatRan(request, state);
  const prompt = request.prompt.map((token, index) => ({ token, kind: "prompt", waits: index >= cached, step: null }));
  const tokens = request.tokens.map((token, index) =>
    ({ token, kind: request.origins[index] || "generated", step: request.born[index], fresh: request.born[index] === n }));
  const dropped = droppedGuesses(id, lines);
  const place = tokens.at(-1)?.kind === "corrected" && tokens.at(-1).fresh ? tokens.length - 1 : tokens.length;
  tokens.splice(place, 0, ...dropped);
  return [...prompt, ...tokens, ...request.drafts.map((token) => ({ token, kind: "draft", step: n }))];
}

function tokensThatRan(request, state) {
  if (request.table !== null && state.tables[request.table]) return state.tables[request.table].length;
  return request.status === "finished" || request.phase === "naive" || request.tokens.length ? Infinity : 0;
}

function droppedGuesses(id, lines) {
  const verdict = lines.findLast((line) => line.t === "verdict" && line.id === id);
  const draft = verdict && lines.findLast((line) => line.t === "draft" && line.id === id);
  if (!draft) return [];
  const accepted = verdict.tokens.filter((judged) => judged.accepted).length;
  return draft.tokens.slice(accepted).map((token, index) =>
    ({ token, kind: accepted + index < verdict.tokens.length ? "rejected" : "unused", step: verdict.s }));
}

function tokenChip(piece, moment, detail) {
  const { trace } = moment;
  const tag = piece.kind === "rejected" || piece.kind === "unused" ? "del" : "span";
  const classes = ["token", `token-${piece.kind}`, piece.waits && "token-waits", piece.fresh && "token-fresh"];
  const tell = () => detail.replaceChildren(...told(piece, trace));
  return make(tag, { class: classes.filter(Boolean).join(" "), onpointerenter: tell, onclick: tell },
    make("bdi", {}, visible(trace.texts[piece.token] ?? "?")), make("small", {}, piece.token));
}

// What is told of a token: its number, its text, its bytes, and where it comes from.
function told({ token, kind, step, waits }, trace) {
  const text = trace.texts[token];
  const came = kind === "prompt" ? (waits ? "has not run" : "has run") : `step ${step}`;
  return [`token ${token} `, make("code", {}, text === undefined ? "?" : JSON.stringify(text)), " · bytes ",
    make("code", {}, bytesOf(trace, token)), ` · ${WORDS[kind]} · ${came}`];
}

function bytesOf(trace, token) {
  const text = trace.texts[token];
  if (text === undefined) return "not recorded";
  const hex = trace.bytes[token] ?? [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/..(?=.)/g, "$& ") || "none";
}

// Samples of the kinds of token that this run has.
function legend({ trace }) {
  const origins = new Set(trace.lines.filter((line) => line.t === "choice").map((line) => line.origin || "generated"));
  const drafts = trace.lines.some((line) => line.t === "verdict");
  const kinds = Object.keys(WORDS).filter((kind) => kind === "prompt" || origins.has(kind) || (drafts && kind === "rejected"));
  return make("ul", { class: "text-legend", "aria-label": "legend" }, kinds.map((kind) =>
    make("li", {}, make(kind === "rejected" ? "del" : "span", { class: `token token-${kind}` }, WORDS[kind]))));
}

function tokenTable(ids, moment) {
  const rows = ids.flatMap((id) => pieces(id, moment).map(({ token, kind, step }) =>
    [letterOf(id), token, tokenText(moment.trace, token), bytesOf(moment.trace, token), WORDS[kind], step ?? "-"]));
  return asTable("Tokens of all requests", ["request", "id", "text", "bytes", "what", "step"], rows);
}

// A long text scrolls inside its frame, so that the newest token is seen. The page itself stays where it is.
function keepInSight(scroller) {
  const fresh = (where) => [...scroller.querySelectorAll(`${where} .token-fresh, ${where} .token-rejected`)];
  const newest = fresh(".text-selected").at(-1) ?? fresh(".text-row")[0]; // the selected request may have ended
  if (!newest) return;
  const [frame, token] = [scroller.getBoundingClientRect(), newest.getBoundingClientRect()];
  if (token.bottom > frame.bottom) scroller.scrollTop += token.bottom - frame.bottom + 8;
  if (token.top < frame.top) scroller.scrollTop -= frame.top - token.top + 8;
}
