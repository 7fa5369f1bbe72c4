// Speculation: what was drafted, how the model judged each draft token, and what the rounds gained.

views.speculation = {
  title: "speculation",
  letter: "s",
  about: "A cheap draft of the next tokens, and how the model judges it in a single pass.",
  lessons: ["speculative_decoding"],
  sources: ["draft", "verdict"],
  shows: (trace) => trace.lines.some((line) => line.t === "verdict"),
  draw(el, moment) {
    const { lines, selected, select } = moment;
    const ids = [...new Set(lines.filter((line) => line.t === "verdict").map((line) => line.id))];
    const id = ids.includes(selected.request) ? selected.request : ids[0];
    const round = ids.length ? roundOf(moment, id) : [make("p", { class: "empty" }, moment.n ? "No draft token was judged in this step." : "Nothing has run. The first pass comes with step 1.")];
    el.replaceChildren(...[requestButtons(ids, id, select), ...round, ...rounds(moment, id ?? selected.request)].filter(Boolean));
  },
};

function roundOf({ trace, lines }, id) {
  const verdict = lines.findLast((line) => line.t === "verdict" && line.id === id);
  const draft = lines.findLast((line) => line.t === "draft" && line.id === id);
  const tokens = draft?.tokens ?? verdict.tokens.map((judged) => judged.token);
  const cards = tokens.map((token, index) => draftCard(trace, token, index, verdict.tokens[index]));
  const rows = verdict.tokens.map(({ token, p, q, r, accepted }) =>
    [tokenText(trace, token), p, q, r, Math.min(p, q), accepted ? "accepted" : "rejected"]);
  return [make("p", { class: "speculation-rule" }, rule(draft)),
    make("ol", { class: "speculation-cards" }, cards, outcomeCard(trace, verdict)),
    asTable("The draft tokens of this step", ["draft token", "p", "q", "r", "min(p, q)", "verdict"], rows)];
}

function rule(draft) {
  const certain = draft && draft.q === null ? " These were looked up in the text, not drawn, so q is 1." : "";
  return ["A draft token was drawn with probability ", make("i", {}, "q"), "; the model gives it ", make("i", {}, "p"),
    ". With a random ", make("i", {}, "r"), " from 0 to 1 it is accepted if ", make("i", {}, "r"), " × ", make("i", {}, "q"), " is below ",
    make("i", {}, "p"), `.${certain}`];
}

function draftCard(trace, token, index, judged) {
  const kind = judged ? (judged.accepted ? "accepted" : "rejected") : "unused";
  const verdict = { accepted: "✓ accepted", rejected: "✗ rejected", unused: "– not judged" }[kind];
  return make("li", { class: `speculation-card speculation-${kind}` },
    make("span", { class: "speculation-number" }, `draft ${index + 1}`),
    make(kind === "accepted" ? "bdi" : "del", { class: "speculation-token" }, tokenText(trace, token)),
    judged ? bars(judged) : make("p", { class: "speculation-why" }, "It follows a rejected one, so it is dropped."),
    make("strong", { class: "speculation-verdict" }, verdict));
}

// p and q as bars on one scale from 0 to 1. The point r × q lies anywhere in q's bar, all places being equally probable:
// if it lies in the part that p reaches too, the draft token is accepted.
function bars({ p, q, r, accepted }) {
  const row = (name, value) => [make("dt", {}, name), make("dd", {}, make("span", { class: `speculation-bar speculation-${name}`, style: { width: `${100 * value}%` } }), percent(value))];
  const point = r * q;
  return [make("dl", { class: "speculation-bars" }, row("p", p), row("q", q),
    make("dt", {}, "r×q"), make("dd", { class: "speculation-zone" },
      make("span", { class: "speculation-min", style: { width: `${100 * Math.min(p, q)}%` } }),
      make("span", { class: "speculation-point", style: { left: `${100 * point}%` } }))),
  make("p", { class: "speculation-why" }, `r = ${short(r)}, so r × q = ${short(point)} is ${accepted ? "below" : "not below"} p = ${short(p)}. The chance to be accepted was ${percent(Math.min(1, p / q))}.`)];
}

function outcomeCard(trace, { then, token }) {
  if (token === null) return null;
  const words = then === "bonus" ? "bonus" : "correction";
  const why = then === "bonus"
    ? "All draft tokens were accepted. The same pass has logits after the last one, so one more token is free."
    : "It is drawn from what q left of p: the maximum of 0 and p − q, made to sum to 1.";
  return make("li", { class: `speculation-card speculation-${words}` },
    make("span", { class: "speculation-number" }, words), make("bdi", { class: "speculation-token" }, tokenText(trace, token)),
    make("p", { class: "speculation-why" }, why), make("strong", { class: "speculation-verdict" }, `+ ${words}`));
}

// All rounds of a request until now, a row each, and what they gained.
function rounds({ trace, n, go, state }, id) {
  const verdicts = trace.lines.filter((line) => line.t === "verdict" && line.id === id && line.s <= n);
  if (!verdicts.length) return [];
  const rows = verdicts.map((verdict) => {
    const draft = trace.lines.findLast((line) => line.t === "draft" && line.id === id && line.s === verdict.s);
    return roundRow(trace, verdict, draft?.tokens ?? [], n, go);
  });
  return [make("h3", {}, "The rounds so far"), make("ol", { class: "speculation-rounds" }, rows), make("p", { class: "speculation-gain" }, gain(verdicts, state, id))];
}

function roundRow(trace, verdict, drafted, n, go) {
  const square = (kind, token, sign) => make("span", { class: `speculation-square speculation-${kind}`, title: `${tokenText(trace, token)}: ${kind}` }, sign);
  const squares = drafted.map((token, index) => {
    const judged = verdict.tokens[index];
    return !judged ? square("unused", token, "–") : judged.accepted ? square("accepted", token, "✓") : square("rejected", token, "✗");
  });
  if (verdict.token !== null) squares.push(square(verdict.then === "bonus" ? "bonus" : "correction", verdict.token, "+"));
  const tokens = verdict.tokens.filter((judged) => judged.accepted).length + (verdict.token === null ? 0 : 1);
  return make("li", { class: verdict.s === n ? "speculation-now" : "" },
    make("button", { "data-focus": `round ${verdict.s}`, onclick: () => go(verdict.s) }, `step ${verdict.s}`),
    make("span", { class: "speculation-squares" }, squares), make("span", {}, counted(tokens, "token")));
}

function gain(verdicts, state, id) {
  const judged = verdicts.flatMap((verdict) => verdict.tokens);
  const accepted = judged.filter((each) => each.accepted).length;
  const tokens = accepted + verdicts.filter((verdict) => verdict.token !== null).length;
  const drafts = state.totals.draft_passes ? ` The draft model ran ${counted(state.totals.draft_passes, "pass").replace("passs", "passes")} in this run.` : "";
  return `Request ${letterOf(id)}: ${accepted} of ${judged.length} judged draft tokens were accepted. ` +
    `${counted(tokens, "token")} came of ${verdicts.length === 1 ? "1 pass" : `${verdicts.length} passes`} of the model: ${(tokens / verdicts.length).toFixed(1)} a pass, where plain decoding has 1.${drafts}`;
}
