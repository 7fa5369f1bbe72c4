// "What happens next?" asks fair questions: one option is right, as the trace says. `node tests/trace/guess.test.js`.
"use strict";
const { deepStrictEqual, ok } = require("node:assert");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const read = (...parts) => readFileSync(join(__dirname, ...parts), "utf8");
const sources = ["elements", "reducer", "guess"].map((name) => read("..", "..", "minillm", "trace", "page", `${name}.js`));
const { States, questionOn, verdictQuestion, blockQuestion, tokenQuestion, visible, percent, letterOf } = new Function(
  `"use strict"; ${sources.join("\n")}; return { States, questionOn, verdictQuestion, blockQuestion, tokenQuestion, visible, percent, letterOf };`)();

function golden(name) {
  const [, ...lines] = read(`golden_${name}.jsonl`).trimEnd().split("\n").map((line) => JSON.parse(line));
  const of = (kind) => lines.filter((line) => line.t === kind);
  return { states: new States(lines), trace: { lines, texts: Object.fromEntries(of("tokens").flatMap((line) => line.texts)), pools: of("pool") } };
}

function questions(name, maker) {
  const { states, trace } = golden(name);
  return states.steps.slice(1).map((lines, index) => maker(trace, states.at(index), lines));
}

for (const name of ["generate", "engine", "speculative"]) {
  const asked = questions(name, questionOn);
  ok(asked.every((question) => question === null || (question.right >= 0 && question.right < question.options.length && question.why)));
  ok(asked.some(Boolean), name);
}

// The first answer is "Paris." and an end: the options have the right token in them, in the order of token ids.
const tokens = questions("generate", tokenQuestion);
deepStrictEqual(tokens.map((question) => question.options[question.right]), ["“␣P”", "“aris”", "“.”", "“<|endoftext|>”"]);

// Which of 3 draft tokens were accepted, round by round.
const verdicts = questions("speculative", verdictQuestion).filter(Boolean);
deepStrictEqual(verdicts.slice(0, 3).map((question) => question.options[question.right]), ["all 3", "all 3", "none"]);

// The reason is that of the token's origin: an accepted draft token may be less probable than others.
const why = (choice) => tokenQuestion({ texts: { 1: "a", 2: "b" } }, { requests: {} }, [{ t: "choice", token: 1, ...choice }]).why;
const less = { before: [[2, 0.6], [1, 0.3]], after: [[1, 0.3]], number: null };
deepStrictEqual(why({ ...less, origin: "accepted" }), "The draft had “a”, and the model accepted it: it gave it 30%.");
deepStrictEqual(why({ ...less, origin: "" }), "“a” has 30%, and no token has more after the repetition penalty.");
deepStrictEqual(why({ ...less, origin: "", before: [[1, 0.6], [2, 0.3]] }), "“a” has 60%, and no token has more.");
ok(why({ ...less, origin: "corrected", number: 0.5 }).endsWith("30% of what p has above q."));
ok(why({ ...less, origin: "bonus", number: 0.5 }).endsWith("30% after the filters."));

// A block has 4 slots: positions 12, 16, ... begin a new one, and others go into the last one.
for (const question of questions("engine", blockQuestion).filter(Boolean)) {
  const position = Number(question.text.match(/position (\d+)/)[1]);
  deepStrictEqual(question.right === 1, position % 4 === 0, question.text);
}

// What cannot be seen, or turns other text around, is shown as its code.
deepStrictEqual(visible("a\u202eb\u0000\ud800\n"), "a‹202E›b‹0›‹D800›⏎");
deepStrictEqual([1, 0.97, 0.0123, 0.00001, 0].map(percent), ["100%", "97%", "1.2%", "0.001%", "0%"]);
deepStrictEqual([0, 25, 26, 701, 702].map(letterOf), ["A", "Z", "AA", "ZZ", "AAA"]);
console.log("questions are fair");
