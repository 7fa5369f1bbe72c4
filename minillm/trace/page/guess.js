// "What happens next?": questions on the step that comes, made from what the trace says of it.
// A question: { text, options: [text], right: number of the right option, why }.

// Return the question on a step, or null if it has nothing to guess. `state` is the state before it.
function questionOn(trace, state, lines) {
  const makers = [verdictQuestion, blockQuestion, tokenQuestion];
  const found = makers.map((maker) => maker(trace, state, lines)).filter(Boolean);
  return found.length ? found[(state.step + 1) % found.length] : null; // steps take turns, so that blocks get asked too
}

function verdictQuestion(trace, state, lines) {
  const verdict = lines.find((line) => line.t === "verdict" && line.tokens.length);
  const draft = verdict && lines.findLast((line) => line.t === "draft" && line.id === verdict.id);
  if (!draft) return null;
  const texts = draft.tokens.map((token) => `“${tokenText(trace, token)}”`).join(" ");
  const options = ["none", ...draft.tokens.map((_, index) => (index ? `the first ${index + 1}` : "the first"))];
  options[draft.tokens.length] = draft.tokens.length > 1 ? `all ${draft.tokens.length}` : "it";
  const rejected = verdict.tokens.find((judged) => !judged.accepted);
  const right = verdict.tokens.filter((judged) => judged.accepted).length;
  const why = rejected
    ? `“${tokenText(trace, rejected.token)}” is rejected: r × q = ${short(rejected.r * rejected.q)} is not below p = ${short(rejected.p)}.`
    : "For each of them, r × q is below p.";
  return { text: `The draft is ${texts}. Which of its tokens does the model accept?`, options, right, why };
}

function blockQuestion(trace, state, lines) {
  const rows = lines.filter((line) => line.t === "pass" && line.model === 0).flatMap((line) => line.rows);
  const tableBefore = (row) => state.tables[state.requests[row.id]?.table]; // a preempted request's has no blocks
  const row = rows.find((row) => row.phase === "decode" && tableBefore(row)?.blocks.length);
  if (!row) return null;
  const number = state.requests[row.id].table;
  const { blocks } = state.tables[number];
  const { size } = poolOf(trace, blocks[0]);
  const of = (action) => lines.some((line) => line.t === "block" && line.table === number && line.do === action);
  const right = of("copy") ? 2 : of("take") ? 1 : 0;
  const slot = row.first % size;
  const why = [
    `Position ${row.first} is slot ${slot} of the last block, which has ${size} slots and is this request’s own.`,
    `${row.first} tokens fill ${counted(blocks.length, "block")} of ${size}, so position ${row.first} begins a new one.`,
    "The last block is shared, and another request reads it. So it is copied before it is written.",
  ][right];
  const options = [`into the last block, ${blocks.at(-1)}`, "into a new block", `into a copy of block ${blocks.at(-1)}`];
  return { text: `Request ${letterOf(row.id)} decodes its token at position ${row.first}. Where do its keys and values go?`, options, right, why };
}

function tokenQuestion(trace, state, lines) {
  const choice = lines.find((line) => line.t === "choice" && line.before.length > 1);
  if (!choice) return null;
  const best = choice.before.slice(0, 4).map(([token]) => token);
  const tokens = best.includes(choice.token) ? best : [...best.slice(0, 3), choice.token];
  tokens.sort((a, b) => a - b); // by number: their order must not say which is probable
  const whose = Object.keys(state.requests).length > 1 ? `does request ${letterOf(choice.id)} get next` : "comes next";
  return {
    text: `Which token ${whose}?`,
    options: tokens.map((token) => `“${tokenText(trace, token)}”`),
    right: tokens.indexOf(choice.token),
    why: whyToken(trace, choice),
  };
}

// Return why this token came. In speculation, a token is accepted without a draw, or drawn from what p has above q.
function whyToken(trace, choice) {
  const chance = (candidates) => percent(Object.fromEntries(candidates)[choice.token] ?? 0);
  const text = `“${tokenText(trace, choice.token)}”`;
  if (choice.origin === "accepted") return `The draft had ${text}, and the model accepted it: it gave it ${chance(choice.after)}.`;
  if (choice.number === null) {
    const first = choice.before[0][0] === choice.token;
    return `${text} has ${chance(choice.before)}, and no token has more${first ? "" : " after the repetition penalty"}.`;
  }
  const share = choice.origin === "corrected" ? "of what p has above q" : "after the filters";
  return `The draw gave ${short(choice.number)}, which falls into the share of ${text}: ${chance(choice.after)} ${share}.`;
}

function poolOf(trace, block) {
  return trace.pools.findLast((pool) => pool.first <= block);
}
