// The strip: a cell for each step, wide for many tokens in its pass and narrow for few. It is also the slider.

const PHASES = { // letter, and words for the legend
  prefill: ["P", "prefill: a prompt in one pass"],
  chunk: ["C", "chunk of a prompt"],
  decode: ["D", "decode: one token a request"],
  verify: ["V", "verify: draft tokens in one pass"],
  recompute: ["R", "recompute: tokens that were given up"],
  naive: ["N", "naive: all tokens, no cache"],
};

class Strip {
  constructor(steps, go) {
    this.cells = steps.map(stripCell);
    this.go = go;
    this.el = make("div", {
      class: "strip", role: "slider", tabindex: 0, "aria-label": "step", "aria-valuemin": 0,
      "aria-valuemax": steps.length - 1, onpointerdown: (event) => this.drag(event),
      onpointermove: (event) => event.buttons === 1 && this.goTo(event.clientX),
    }, this.cells);
    this.phases = Object.keys(PHASES).filter((phase) => steps.some((lines) => tokensByPhase(lines)[phase]));
  }

  legend() {
    const entry = (kind, sign, words) => make("div", {}, make("dt", { class: kind }, sign), make("dd", {}, words));
    return make("dl", { class: "legend" },
      this.phases.map((phase) => entry(`strip-part strip-${phase}`, ...PHASES[phase])),
      entry("legend-wide", "↔", "wider: more tokens in the pass"));
  }

  drag(event) {
    this.el.setPointerCapture(event.pointerId);
    this.goTo(event.clientX);
  }

  // Go to the step at a place on the screen. Cells are in order, so the first that ends after it is the one.
  goTo(x) {
    const found = this.cells.findIndex((cell) => x < cell.getBoundingClientRect().right);
    this.go(found < 0 ? this.cells.length - 1 : found);
  }

  show(n, words) {
    this.cells.forEach((cell, index) => {
      cell.classList.toggle("strip-ahead", index > n);
      cell.classList.toggle("strip-now", index === n);
    });
    this.el.setAttribute("aria-valuenow", n);
    this.el.setAttribute("aria-valuetext", `step ${n}. ${words}`);
  }
}

// A step's cell. A mixed batch has a part for each phase, as high as its share of the tokens.
function stripCell(lines, step) {
  const counts = tokensByPhase(lines);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const parts = Object.entries(counts).map(([phase, count]) =>
    make("span", { class: `strip-part strip-${phase}`, style: { "flex-grow": count } },
      count / total > 0.35 ? PHASES[phase][0] : "")); // a lower part has no room for its letter
  const title = total ? `step ${step}: ${counted(total, "token")}` : `step ${step}: no pass`;
  return make("span", { class: "strip-cell", title, style: { "flex-grow": Math.sqrt(total || 0.1) } }, parts);
}

function tokensByPhase(lines) {
  const counts = {};
  for (const line of lines.filter((line) => line.t === "pass" && line.model === 0)) {
    for (const row of line.rows) counts[row.phase] = (counts[row.phase] ?? 0) + row.count;
  }
  return counts;
}
