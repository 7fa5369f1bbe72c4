// What the views compute from a trace, against what the trace says itself: `node tests/trace/views.test.js`.
"use strict";
const { deepStrictEqual, ok } = require("node:assert");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const PAGE = join(__dirname, "..", "..", "minillm", "trace", "page");
const read = (name) => readFileSync(join(PAGE, `${name}.js`), "utf8");
// Several files as one script; its last line gives the functions to test.
const load = (files, names) =>
  new Function(`"use strict"; const views = {}; ${files.map(read).join("\n")}; return { ${names} };`)();

const { passParts, passIntensity, passReach } = load(
  ["amounts", "pass_arrays", "pass_roofline"],
  "passParts, passIntensity, passReach",
);
const { tokenBytes, amount, ratio } = load(["amounts"], "tokenBytes, amount, ratio");
const { cacheRuns } = load(["cache_blocks"], "cacheRuns");
const { batchFold } = load(["amounts", "reducer", "views/batch"], "batchFold");
const { attentionUnpack, attentionPaths, attentionPlaces } = load(
  ["attention_weights", "attention_text", "attention_matrix"],
  "attentionUnpack, attentionPaths, attentionPlaces",
);

const { attentionRan, States } = load(["reducer", "views/attention"], "attentionRan, States");

function traceOf(name) {
  const text = readFileSync(join(__dirname, `${name}.jsonl`), "utf8");
  const [header, ...lines] = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const models = Object.fromEntries(lines.filter((line) => line.t === "model").map((line) => [line.model, line]));
  return { header, lines, models };
}

const traces = Object.fromEntries(
  ["generate", "engine", "speculative"].map((name) => [name, traceOf(`golden_${name}`)]),
);

// The work of the arrays adds up to the work of the pass.
let passes = 0;
for (const { lines, models } of Object.values(traces)) {
  for (const pass of lines.filter((line) => line.t === "pass")) {
    const parts = passParts(models[pass.model].config, pass);
    deepStrictEqual(
      parts.reduce((sum, part) => sum + part.flops, 0),
      pass.flops,
    );
    const weights = parts.filter((part) => part.flops).reduce((sum, part) => sum + part.weights, 0);
    deepStrictEqual(weights * 8, pass.weight_bytes); // the exact backend keeps 8 bytes a weight
    passes++;
  }
}
ok(passes > 40);

// A layer with a window: a query sees at most `window` keys, and so does its work.
const config = { ...traces.generate.models[0].config, sliding_windows: [3, 3, 3, 3, 3, 3] };
const scores = (first, count) =>
  passParts(config, { rows: [{ id: 0, phase: "decode", first, count, logits: 1 }] }).find((part) => part.scores).flops;
deepStrictEqual(scores(100, 1), scores(2, 1));
deepStrictEqual(scores(0, 4), 4 * 6 * 32 * 6 * (1 + 2 + 3 + 3));

// Below the ridge memory is the limit, above it arithmetic.
const machine = { flops: 100, bandwidth: 10 };
deepStrictEqual([passReach(machine, 5), passReach(machine, 10), passReach(machine, 20)], [50, 100, 100]);
ok(passIntensity({ flops: 6, weight_bytes: 2, cache_bytes: 1 }) === 2);
ok([0, 5].every((flops) => Math.log10(passIntensity({ flops, weight_bytes: 0, cache_bytes: 0 })) >= 0));

// A block's bytes are its tokens' bytes.
const pool = traces.engine.lines.find((line) => line.t === "pool");
deepStrictEqual(tokenBytes(traces.engine) * pool.size, pool.bytes);
deepStrictEqual([0, 7, 999.4, 24448512, 1e15].map(amount), ["0 ", "7 ", "999 ", "24.4 M", "1000 T"]);

deepStrictEqual([0.2461, 3.52, 99.4, 100, 1234].map(ratio), ["0.25", "3.5", "99", "100", "1,234"]);

// Free blocks of a large pool are drawn as one; all blocks of a small pool one by one; and not too many.
const used = (...numbers) => ({
  blocks: Object.fromEntries(numbers.map((number) => [number, { refs: 1, known: false }])),
});
const large = { first: 10, blocks: 40 };
deepStrictEqual(cacheRuns(used(12, 9, 49, 50), large), {
  runs: [
    [10, 11],
    [12, 12],
    [13, 48],
    [49, 49],
  ],
  more: 0,
});
deepStrictEqual(cacheRuns(used(), { first: 0, blocks: 3 }), {
  runs: [
    [0, 0],
    [1, 1],
    [2, 2],
  ],
  more: 0,
});
const many = cacheRuns(used(...Array(500).keys()), { first: 0, blocks: 900 });
deepStrictEqual([many.runs.length, many.runs.at(-1), many.more], [320, [319, 319], 180]);

// The batch: what the requests of the golden run do, step by step. ' ' is before a request came or after it ended.
const signs = { prefill: "P", chunk: "C", decode: "D", waiting: ".", preempted: "X", cancelled: "c" };
const history = batchFold(traces.engine.lines);
const rows = [0, 1, 2, 3, 4, 5, 6].map((id) => history.map(({ cells }) => signs[cells[id]?.kind] ?? " ").join(""));
deepStrictEqual(
  rows.map((row) => row.trimEnd()),
  [".PDDDDDDDD", "..PDDDDDDDD", "..PDD", "   .PDDDDDD", "   ..CPX...DDDDDDDDDDD", "   c", "                     .PDD"],
);
deepStrictEqual(history[4].cells[2].end, "done");

// Attention: every row adds up to 100%, but for the rounding to bytes; every weight is in one shade or in none.
for (const line of traces.generate.lines.filter((each) => each.t === "attention")) {
  for (const [query, row] of attentionUnpack(line).entries()) {
    deepStrictEqual(row.length, query + 1);
    ok(Math.abs(row.reduce((sum, weight) => sum + weight, 0) - 1) < 0.02);
  }
  const drawn = attentionPaths(line).flat().join("").split("z").length - 1;
  deepStrictEqual(
    drawn,
    attentionUnpack(line)
      .flat()
      .filter((weight) => weight > 0).length,
  );
}

// Attention: of a sequence, all tokens but the last one have run, also when draft tokens after them were rejected.
const speculative = new States(traces.speculative.lines);
for (let n = 1; n < speculative.steps.length; n++) {
  const state = speculative.at(n);
  const ran = attentionRan({ trace: traces.speculative, n, state });
  for (const id of state.ran) {
    deepStrictEqual(ran[id], state.requests[id].prompt.length + state.requests[id].tokens.length - 1);
  }
}

// The text wraps: no label leaves its width, and no two overlap.
const places = attentionPlaces(Array(30).fill("token"), 300);
ok(
  places.every(
    (place, index) =>
      place.x + place.size <= 300 && (index === 0 || place.x > places[index - 1].x || place.y > places[index - 1].y),
  ),
);
console.log(`${passes} passes, ${history.length} steps of a batch`);
