// The difference: where this run, A, differs from another run of the same tokens, B, as `minillm bisect` found it.

const DIFFERENCE_PASSES = 16; // of each run that are drawn: those around the step

views.difference = {
  title: "the difference",
  letter: "d",
  about: "Where run A differs from run B, and in which operations the difference grows.",
  lessons: ["kv_cache", "prefill", "decode"],
  shows: (trace) => Boolean(trace.difference),
  draw(el, moment) {
    const { difference } = moment.trace;
    el.replaceChildren(
      ...[
        make("p", { class: "difference-verdict" }, capitalised(difference.verdict)),
        difference.first && firstDifference(moment),
        difference.steps.length > 1 && bothRuns(moment),
        difference.largest.length > 0 && growth(difference),
        difference.notes.map((note) => make("p", { class: "difference-note" }, visible(note))),
      ]
        .flat()
        .filter(Boolean),
    );
  },
};

function capitalised(text) {
  return text[0].toUpperCase() + text.slice(1);
}

// --- the first difference: where it is, both numbers, and the lines that computed them

function firstDifference({ trace, n, go, show }) {
  const { about, meaning, step } = trace.difference.first;
  const isCode = (name) => name === "asked for by" || name === "computed by";
  const entries = about.map(([name, value]) => [
    make("dt", { class: isCode(name) ? "difference-source" : "" }, name),
    make("dd", {}, isCode(name) ? make("code", {}, visible(value)) : visible(value)),
  ]);
  return [
    make("h3", {}, "The first difference"),
    make("dl", { class: "difference-first" }, entries),
    make("p", {}, meaning),
    trace.difference.steps.length > 1 && jumps(step, n, go, show),
  ];
}

function jumps(step, n, go, show) {
  const jump = (view, words) =>
    make("button", { "data-focus": `jump ${view}`, onclick: () => (go(step), show(view)) }, words);
  return make(
    "p",
    { class: "difference-jumps" },
    make("button", { "data-focus": "jump", onclick: () => go(step), disabled: n === step }, `Go to step ${step}`),
    jump("pass", `The pass of step ${step}`),
    jump("cache", `The cache after step ${step}`),
  );
}

// --- the passes of both runs: what this step ran, and where B ran the same tokens

function bothRuns(moment) {
  const { difference } = moment.trace;
  const { steps, passes, first, sides } = difference;
  const same = moment.n > 0 ? steps[moment.n].b : [];
  const longest = Math.max(...[...passes.a, ...passes.b].map(([begin, count]) => begin + count));
  const ofA = passes.a.map((span, index) => ({
    span, longest, name: `step ${index + 1}`, words: inWords(steps[index + 1]), differs: steps[index + 1].different > 0,
    first: first?.step === index + 1, now: index + 1 === moment.n ? "this step" : "", go: () => moment.go(index + 1),
  }));
  const ofB = passes.b.map((span, index) => ({
    span, longest, name: `pass ${index}`, words: "", differs: false,
    first: first?.b === index, now: same.includes(index) ? "the same tokens" : "",
  }));
  const rows = steps.slice(1).map(({ results, different, b }, index) =>
    [index + 1, ...places(passes.a[index]), results, different, b.join(", ")]);
  return [
    make("h3", {}, `The passes of run A: ${visible(sides.a)}`),
    runPicture(ofA, moment.n - 1),
    make("h3", {}, `The passes of run B: ${visible(sides.b)}`),
    runPicture(ofB, same[0] ?? 0),
    asTable("Passes of run A, and how many of their results differ from run B.",
      ["step", "tokens from", "to", "results", "different", "passes of run B"], rows),
  ];
}

function inWords({ results, different }) {
  if (!results) return "not compared";
  return different ? `${different} of ${results} differ` : `${results} are equal`;
}

function places([begin, count]) {
  return count ? [begin, begin + count - 1] : ["", ""];
}

// The passes around one of them, from top to bottom. A bar covers the tokens that a pass ran.
function runPicture(passes, middle) {
  const begin = Math.max(0, Math.min(middle - DIFFERENCE_PASSES / 2, passes.length - DIFFERENCE_PASSES));
  const shown = passes.slice(begin, begin + DIFFERENCE_PASSES);
  const hidden = passes.length - shown.length;
  return make("div", { class: "difference-run" },
    make("ol", { class: "difference-passes" }, shown.map(passRow)),
    hidden > 0 && make("p", { class: "difference-note" }, `${hidden} of ${passes.length} passes are not drawn.`));
}

function passRow({ span: [begin, count], longest, name, words, differs, first, now, go }) {
  const bar = make("span", {
    class: `difference-bar${differs ? " difference-differs" : ""}`,
    style: { left: `${(100 * begin) / longest}%`, width: `${(100 * count) / longest}%` },
  });
  const signs = [now && `◀ ${now}`, first && "✗ first difference"].filter(Boolean).join(" ");
  return make("li", { class: now ? "difference-now" : "" },
    go ? make("button", { "data-focus": `pass ${name}`, onclick: go }, name) : make("span", {}, name),
    make("span", { class: "difference-track", "aria-hidden": "true" }, count ? bar : null),
    make("span", { class: "difference-words" }, [words, signs].filter(Boolean).join(" ")));
}

// --- how it grows: the largest relative difference of each operation in each layer

function growth({ largest }) {
  const layers = [...new Set(largest.map(({ layer }) => layer))].filter((layer) => layer !== null).sort((a, b) => a - b);
  const operations = [...new Set(largest.map(({ operation }) => operation))];
  const found = (operation, layer) => largest.find((one) => one.operation === operation && one.layer === layer);
  const row = (operation) => {
    const alone = found(operation, null);
    const cells = alone ? [growthCell(alone, Math.max(1, layers.length))] : layers.map((layer) => growthCell(found(operation, layer)));
    return make("tr", {}, make("th", { scope: "row" }, operation), cells);
  };
  return [
    make("h3", {}, "How it grows"),
    make("div", { class: "difference-growth", tabindex: 0, role: "group", "aria-label": "the largest relative differences" },
      make("table", {},
        make("caption", {}, "The largest relative difference of each operation. ✗ is the first difference."),
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "operation"), layers.map((layer) => make("th", { scope: "col" }, `layer ${layer}`)))),
        make("tbody", {}, operations.map(row)))),
  ];
}

function growthCell(one, columns = 1) {
  if (!one) return make("td", {}, "0");
  const kind = `${one.large ? "difference-large" : "difference-some"}${one.first ? " difference-here" : ""}`;
  return make("td", { class: kind, colspan: columns > 1 ? columns : null }, `${one.first ? "✗ " : ""}${one.relative}`);
}
