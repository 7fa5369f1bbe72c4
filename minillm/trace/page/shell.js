// The player: one moment of a run, in all views. A moment is a step: one pass and what came of it.

const SPEEDS = [0.5, 1, 2, 4]; // steps a second
const FIRST_VIEWS = ["difference", "speculation", "batch", "choice", "pass"]; // a run opens with the first one that it has

function render(data, el) {
  new Player(data, el).begin();
}

class Player {
  constructor(data, el) {
    this.trace = described(data);
    this.states = new States(data.lines);
    this.el = el;
    this.n = 0;
    this.last = this.states.steps.length - 1;
    this.selected = { request: 0, layer: 0, head: 0 };
    this.tabs = Object.keys(views).filter((name) => name !== "text" && (views[name].shows?.(this.trace) ?? true));
    this.view = FIRST_VIEWS.find((name) => this.tabs.includes(name));
    this.timer = null;
    this.guesses = { on: false, question: null, answer: null, right: 0, asked: 0 };
  }

  begin() {
    this.strip = new Strip(this.states.steps, (n) => this.go(n));
    this.controls = new Controls(this);
    const part = (name, label) => make("section", { class: name, "aria-label": label });
    this.parts = { text: part("text", "the text"), sentence: part("sentence", "this step"), view: part("view", "view") };
    this.nav = make("nav", { class: "tabs", "aria-label": "views" }, this.tabs.map((name) => this.tab(name)));
    const { text, sentence, view } = this.parts;
    const player = make("div", { class: "player" }, this.strip.el, this.controls.el);
    this.el.replaceChildren(heading(this.trace, this.last), text, player, this.strip.legend(), sentence, this.nav, view, this.allSteps(), origins(views.text, this.trace), help(this.trace));
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.readHash());
    this.readHash();
  }

  tab(name) {
    return make("button", { "data-view": name, onclick: () => this.show(name) }, views[name].title);
  }

  // What a view is given. `state` and `before` are copies.
  moment() {
    const { trace, n, selected } = this;
    const states = { state: this.states.at(n), before: this.states.at(n - 1) };
    const actions = { select: (changes) => this.select(changes), go: (step) => this.go(step), show: (view) => this.show(view) };
    return { trace, n, lines: this.states.steps[n], selected, ...states, ...actions };
  }

  draw() {
    const focus = document.activeElement?.dataset?.focus;
    const moment = this.moment();
    views.text?.draw(this.parts.text, moment);
    this.drawView(moment);
    this.drawSentence();
    this.strip.show(this.n, this.sentence());
    this.controls.show();
    if (focus) [...this.el.querySelectorAll("[data-focus]")].find((element) => element.dataset.focus === focus)?.focus();
    this.writeHash();
  }

  drawView(moment) {
    const view = views[this.view];
    if (!view) return; // a trace of nothing has no views
    for (const tab of this.nav.children) tab.setAttribute("aria-current", String(tab.dataset.view === this.view));
    this.nav.scrollLeft = this.nav.querySelector("[aria-current=true]").offsetLeft - this.nav.offsetLeft - 40; // a phone shows only some
    const body = make("div", { class: `view-body ${this.view}` });
    this.parts.view.setAttribute("aria-label", view.title);
    this.parts.view.replaceChildren(make("h2", { class: "unseen" }, view.title), make("p", { class: "about" }, view.about), body, origins(view, this.trace));
    view.draw(body, moment); // it is on the page by now, so that a view can measure and scroll
  }

  drawSentence() {
    const { question, answer } = this.guesses;
    const begin = make("button", { class: "begin", "data-focus": "begin", onclick: () => this.forward() }, "Begin ", make("kbd", {}, "→"));
    const words = make("p", {}, make("strong", {}, `Step ${this.n}. `), withTokens(this.trace.sentences[this.n] ?? ""), " ", this.n === 0 && this.last > 0 && begin);
    const above = answer ? answerCard(this.guesses) : this.n === 0 ? welcome(this.trace) : null;
    const shown = question ? questionCard(this.guesses, (index) => this.answer(index)) : [above, words];
    this.parts.sentence.setAttribute("aria-live", this.timer ? "off" : "polite"); // not a word a second while it plays
    this.parts.sentence.replaceChildren(...[shown].flat().filter(Boolean));
  }

  // The strip as a table: what each step did, in words.
  allSteps() {
    const tokens = (lines) => sum(Object.values(tokensByPhase(lines))) || "";
    const rows = this.states.steps.map((lines, step) => [step, tokens(lines), visible(this.trace.sentences[step] ?? "")]);
    return asTable("Tokens are those of the step's pass.", ["step", "tokens", "what it did"], rows, "All steps in words");
  }

  sentence() {
    return visible(this.trace.sentences[this.n] ?? "");
  }

  // Show a step, whichever it is. A question that was open is dropped.
  go(n) {
    this.n = Math.max(0, Math.min(n, this.last));
    Object.assign(this.guesses, { question: null, answer: null });
    this.draw();
  }

  // Go one step forward; with guesses, first ask.
  forward() {
    const { guesses } = this;
    const asks = guesses.on && !guesses.question && this.n < this.last;
    const question = asks ? questionOn(this.trace, this.states.at(this.n), this.states.steps[this.n + 1]) : null;
    if (!question) return this.go(this.n + 1);
    this.pause();
    Object.assign(guesses, { question, answer: null });
    this.draw();
    this.parts.sentence.querySelector("button").focus();
  }

  answer(index) {
    const { guesses } = this;
    const { question } = guesses;
    if (!question || index >= question.options.length) return;
    this.go(this.n + 1);
    guesses.asked += 1;
    guesses.right += index === question.right ? 1 : 0;
    guesses.answer = { question, index };
    this.drawSentence();
    this.strip.el.focus();
  }

  // Change what is selected: a request, a layer, a head, or what else a view has.
  select(changes) {
    Object.assign(this.selected, changes);
    this.draw();
  }

  guessing(on) {
    Object.assign(this.guesses, { on, question: null, answer: null });
    this.draw();
  }

  show(view) {
    this.view = view;
    this.draw();
  }

  play() {
    if (this.timer) return this.pause();
    if (this.n === this.last) this.go(0);
    this.timer = setInterval(() => (this.n < this.last ? this.forward() : this.pause()), 1000 / this.controls.speed());
    this.forward();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.draw();
  }

  key(event) {
    const { target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target instanceof Element && target.matches("input, select, textarea")) return; // arrows are theirs
    if (event.key === " " && target instanceof Element && target.matches("button, summary, a")) return;
    const action = this.actions()[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  actions() {
    const far = Math.max(1, Math.round(this.last / 10));
    const keys = {
      ArrowRight: () => this.forward(), ArrowLeft: () => this.go(this.n - 1), Home: () => this.go(0), End: () => this.go(this.last),
      PageDown: () => this.go(this.n + far), PageUp: () => this.go(this.n - far), " ": () => this.play(),
      "?": () => this.guessing(!this.guesses.on),
    };
    for (const name of this.tabs) keys[views[name].letter] = () => this.show(name);
    if (this.guesses.question) for (let digit = 1; digit <= 9; digit++) keys[digit] = () => this.answer(digit - 1);
    return keys;
  }

  // #step=17&view=cache: a link to a moment. What is not a step or a view of this run changes nothing.
  readHash() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (this.tabs.includes(wanted.get("view"))) this.view = wanted.get("view");
    const request = Number(wanted.get("request") ?? this.selected.request);
    if (this.states.at(this.last).requests[request]) this.selected.request = request;
    const step = Number(wanted.get("step") ?? this.n);
    this.go(Number.isInteger(step) ? step : this.n);
  }

  writeHash() {
    if (location.protocol === "about:") return; // a frame of a notebook has no address of its own
    const request = this.selected.request ? `&request=${this.selected.request}` : "";
    history.replaceState(null, "", `#step=${this.n}&view=${this.view}${request}`);
  }
}

// The trace, with what its lines say of tokens, models, pools and sources.
function described({ header, lines, sentences, difference }) {
  const of = (kind) => lines.filter((line) => line.t === kind);
  const texts = Object.fromEntries(of("tokens").flatMap((line) => line.texts));
  const bytes = Object.fromEntries(of("tokens").flatMap((line) => line.bytes));
  const models = Object.fromEntries(of("model").map((line) => [line.model, line]));
  const sources = Object.fromEntries(of("source").map((line) => [line.of, line.at]));
  return { header, lines, sentences, difference, texts, bytes, models, sources, pools: of("pool") };
}
