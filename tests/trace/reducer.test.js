// The page's reducer gives the states that the Python one gave: `node tests/trace/reducer.test.js`.
"use strict";
const { deepStrictEqual } = require("node:assert");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const read = (...parts) => readFileSync(join(__dirname, ...parts), "utf8");
const source = read("..", "..", "minillm", "trace", "page", "reducer.js");
const States = new Function(`"use strict"; ${source}; return States;`)();
const golden = JSON.parse(read("golden_states.json"));
// An object of a class without prototype and one with it are the same state; JSON makes both plain.
const plain = (value) => JSON.parse(JSON.stringify(value));

let compared = 0;
for (const [name, expected] of Object.entries(golden)) {
  const [, ...lines] = read(`${name}.jsonl`).trimEnd().split("\n").map((line) => JSON.parse(line));
  const states = new States(lines);
  deepStrictEqual(states.steps.length, expected.length, name);
  const backwards = [...expected.keys()].reverse();
  for (const step of [...expected.keys(), ...backwards]) {
    deepStrictEqual(plain(states.at(step)), expected[step], `${name}, step ${step}`);
    compared++;
  }
}
console.log(`${compared} states compared`);
