// The player: one moment of a run, in all views. A moment is a step: one pass and what came of it.

function render({ model, el }) {
  const player = new Player(model.get("trace"), el);
  player.go(0);
}

class Player {
  constructor(data, el) {
    this.trace = described(data);
    this.states = new States(data.lines);
    this.el = el;
    this.n = 0;
    this.view = Object.keys(views).find((name) => name !== "text");
    this.selected = { request: 0, layer: 0, head: 0 };
    this.parts = Object.fromEntries(["text", "sentence", "view"].map((name) => [name, make("section", { class: name })]));
    this.slider = make("input", { type: "range", min: 0, max: this.states.steps.length - 1, "aria-label": "step", oninput: (event) => this.go(Number(event.target.value)) });
    const tabs = Object.entries(views).filter(([name]) => name !== "text").map(([name, view]) => make("button", { onclick: () => { this.view = name; this.draw(); } }, view.title));
    el.replaceChildren(this.parts.text, this.slider, this.parts.sentence, make("nav", {}, tabs), this.parts.view);
    document.addEventListener("keydown", (event) => { if (event.target !== this.slider) this.go(this.n + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0)); });
  }

  go(n) {
    this.n = Math.max(0, Math.min(n, this.states.steps.length - 1));
    this.slider.value = this.n;
    this.draw();
  }

  moment() {
    const { trace, n, selected } = this;
    const select = (changes) => { Object.assign(this.selected, changes); this.draw(); };
    return { trace, n, lines: this.states.steps[n], state: this.states.at(n), before: this.states.at(n - 1), selected, select };
  }

  draw() {
    const moment = this.moment();
    views.text?.draw(this.parts.text, moment);
    this.parts.sentence.textContent = `Step ${this.n}: ${this.trace.sentences[this.n] ?? ""}`;
    views[this.view]?.draw(this.parts.view, moment);
  }
}

// The trace, with what its lines say of tokens, models and sources found by key.
function described({ header, lines, sentences }) {
  const of = (kind) => lines.filter((line) => line.t === kind);
  const texts = Object.fromEntries(of("tokens").flatMap((line) => line.texts));
  const bytes = Object.fromEntries(of("tokens").flatMap((line) => line.bytes));
  const models = Object.fromEntries(of("model").map((line) => [line.model, line]));
  const sources = Object.fromEntries(of("source").map((line) => [line.of, line.at]));
  return { header, lines, sentences, texts, bytes, models, sources };
}
