// The choice: the candidates for a token, what temperature and filters left of them, and the number that was drawn.

const SHOWN = 10; // candidates in the picture; the table has all that were recorded

views.choice = {
  title: "the choice",
  letter: "h",
  about: "The candidates for the next token, and why one of them was taken.",
  lessons: ["decode"],
  sources: ["choice"],
  shows: (trace) => trace.lines.some((line) => line.t === "choice" && line.before.length),
  draw(el, { trace, lines, selected, select, n }) {
    const choices = lines.filter((line) => line.t === "choice" && line.before.length);
    const ids = [...new Set(choices.map((line) => line.id))];
    if (!ids.length) return el.replaceChildren(nothing(n));
    const id = ids.includes(selected.request) ? selected.request : ids[0];
    const own = choices.filter((line) => line.id === id);
    const index = Math.min(selected.choice ?? 0, own.length - 1);
    const { sampling } = trace.lines.find((line) => line.t === "request" && line.id === id);
    el.replaceChildren(...[requestButtons(ids, id, select), choiceButtons(trace, own, index, select),
      ...choiceParts(trace, own[index], sampling)].filter(Boolean));
  },
};

function nothing(n) {
  return make("p", { class: "empty" }, n ? "No token was chosen in this step." : "No token has been chosen. The first pass comes with step 1.");
}

// One pass of speculative decoding chooses several tokens.
function choiceButtons(trace, own, index, select) {
  return own.length < 2 ? null : make("div", { class: "requests", role: "group", "aria-label": "token" }, own.map((line, number) =>
    make("button", { "aria-pressed": String(number === index), "data-focus": `choice ${number}`, onclick: () => select({ choice: number }) },
      `${number + 1}. “${tokenText(trace, line.token)}”`)));
}

function choiceParts(trace, line, sampling) {
  const after = new Map(line.after);
  const tokens = [...new Set([...line.before, ...line.after].map(([token]) => token))];
  const before = new Map(line.before);
  const rows = tokens.map((token) => ({
    token, before: before.get(token), after: after.get(token), taken: token === line.token, fate: fateOf(token, line, sampling),
  }));
  const shown = rows.filter((row, index) => index < SHOWN || row.taken);
  const all = rows.map((row) => [row.token, tokenText(trace, row.token), row.before ?? "less", row.after ?? "0", row.fate]);
  return [filters(line, sampling, trace.models[0].config.vocab_size), candidatesTable(trace, shown, line),
    line.number === null ? howWithoutNumber(trace, line) : numberLine(trace, line),
    asTable("All recorded candidates", ["id", "text", "before", "after", "what became of it"], all)];
}

// The way from all tokens of the vocabulary to one.
function filters(line, sampling, vocabulary) {
  const greedy = sampling.temperature === 0;
  const topK = sampling.top_k ? Math.min(sampling.top_k, vocabulary) : null;
  const stages = [
    [vocabulary.toLocaleString("en"), "tokens have a logit"],
    sampling.repetition_penalty !== 1 && [sampling.repetition_penalty, "repetition penalty"],
    [sampling.temperature, greedy ? "temperature: take the largest" : "temperature"],
    !greedy && topK && [topK, "left by top-k"],
    !greedy && sampling.top_p < 1 && [sampling.top_p, "top-p"],
    !greedy && sampling.min_p > 0 && [sampling.min_p, "min-p"],
    !greedy && [line.kept.toLocaleString("en"), line.kept === 1 ? "candidate is left" : "candidates are left"],
    line.number !== null && [short(line.number), "is drawn"],
  ];
  return make("ol", { class: "choice-stages" }, stages.filter(Boolean).map(([value, words]) =>
    make("li", {}, make("b", {}, value), ` ${words}`)));
}

// What became of a candidate. Min-p compares with the best, which two candidates suffice to tell; what is left is top-p.
function fateOf(token, line, sampling) {
  if (token === line.token) return line.origin === "accepted" ? "taken: the draft" : "taken";
  if (line.after.some(([other]) => other === token)) return "";
  if (sampling.temperature === 0) return ""; // every other one is less probable
  if (line.origin === "corrected") return "cut, or q had as much";
  const rank = line.before.findIndex(([other]) => other === token);
  if (sampling.repetition_penalty !== 1 || rank < 0) return "cut";
  if (sampling.top_k && rank >= sampling.top_k) return `cut by top-k`;
  const ratio = (line.before[rank][1] / line.before[0][1]) ** (1 / sampling.temperature);
  return ratio < sampling.min_p ? "cut by min-p" : sampling.top_p < 1 ? "cut by top-p" : "not among the best";
}

function candidatesTable(trace, rows, line) {
  const longest = Math.max(...rows.flatMap((row) => [row.before ?? 0, row.after ?? 0]));
  const bar = (p, kind) => make("td", { class: `choice-${kind}` }, make("span", { class: "choice-cell" },
    make("span", { class: "choice-track" }, make("span", { class: "choice-bar", style: { width: `${(100 * (p ?? 0)) / longest}%` } })),
    make("span", { class: "choice-p" }, p ? percent(p) : "–")));
  const residual = line.origin === "corrected";
  return make("table", { class: "choice-table" },
    make("caption", {}, `The most probable tokens${rows.length > SHOWN ? ", and the one that was taken" : ""}. The longest bar is ${percent(longest)}.`),
    make("thead", {}, make("tr", {}, ["token", "the model says", residual ? "what q left of p" : "after temperature and filters", ""].map((name) =>
      make("th", { scope: "col" }, name)))),
    make("tbody", {}, rows.map((row) => make("tr", { class: row.taken ? "choice-taken" : row.after ? "" : "choice-cut" },
      make("th", { scope: "row" }, make("bdi", { class: "choice-token" }, tokenText(trace, row.token)), make("small", {}, row.token)),
      bar(row.before, "before"), bar(row.after, "after"), make("td", { class: "choice-fate" }, row.taken ? `◀ ${row.fate}` : row.fate)))));
}

function howWithoutNumber(trace, line) {
  const text = `“${tokenText(trace, line.token)}”`;
  return make("p", { class: "choice-how" }, line.origin === "accepted"
    ? `${text} was a draft token, and the model accepted it. The view “speculation” has its p and q.`
    : `No number is drawn: at temperature 0, the token with the largest logit is taken. That is ${text}.`);
}

// The numbers from 0 to 1, dealt out to the candidates by their token ids. The drawn number falls into one share.
function numberLine(trace, line) {
  const shares = sharesOf(line);
  const text = `“${tokenText(trace, line.token)}”`;
  const high = line.low + new Map(line.after).get(line.token);
  const middle = 50 * (line.low + Math.min(high, 1));
  return make("figure", { class: "choice-number" },
    make("div", { class: "choice-line", "aria-hidden": "true" }, shares.map(({ token, low, p }) =>
      make("span", {
        class: token === line.token ? "choice-share choice-own" : "choice-share", title: `${tokenText(trace, token)}: ${percent(p)}`,
        style: { left: `${100 * low}%`, width: `${100 * p}%` },
      }, p > 0.07 ? tokenText(trace, token) : "")),
      make("span", { class: "choice-needle", style: { left: `${100 * line.number}%` } }, make("b", { class: line.number > 0.5 ? "choice-left" : "" }, short(line.number)))),
    make("div", { class: "choice-ends", "aria-hidden": "true" }, make("span", {}, "0"),
      make("span", { class: "choice-name", style: { left: `${Math.min(Math.max(middle, 8), 92)}%` } }, high - line.low > 0.07 ? "" : text), make("span", {}, "1")),
    make("figcaption", {}, `The number ${short(line.number)} is drawn between 0 and 1. Each candidate has a share as wide as its probability, in the order of token ids. `,
      `${text} has the numbers from ${short(line.low)} to ${short(Math.min(high, 1))}, so it is taken.`));
}

// Where each share begins: known for all if all candidates were recorded, and for the chosen one in any case.
function sharesOf(line) {
  if (line.after.length < line.kept) return [{ token: line.token, low: line.low, p: new Map(line.after).get(line.token) }];
  let low = 0;
  return [...line.after].sort(([a], [b]) => a - b).map(([token, p]) => ({ token, p, low: (low += p) - p }));
}
