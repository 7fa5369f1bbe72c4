// What is around the views: the heading, questions and their answers, and where to read on.

function heading(trace, last) {
  const model = trace.models[0] ?? { name: "an unknown model", backend: "unknown", dtype: "" };
  const requests = trace.lines.filter((line) => line.t === "request").length;
  const facts = [`${model.backend} backend`, model.dtype, counted(requests, "request"), counted(last, "step")];
  if (trace.lines.at(-1)?.t !== "end") facts.push("interrupted: this is what ran until then");
  const { title, sides } = trace.difference ?? { title: `A run of ${model.name}` };
  const about = sides ? `run A: ${visible(sides.a)} · run B: ${visible(sides.b)}` : facts.join(" · ");
  return make("header", { class: "heading" }, make("h1", {}, visible(title)), make("p", {}, about),
    make("button", { class: "theme", onclick: changeTheme, "aria-label": "light or dark" }, "◐"));
}

// What a reader who comes for the first time has to know.
function welcome(trace) {
  if (trace.difference) {
    return make("p", { class: "welcome" }, "Two runs of the same tokens, run A and run B, were compared operation by operation. ",
      "You can step through the passes of run A, forward and back. All that you see belongs to the same step. ",
      "Letters in colour name the sequences of run A: that of the prompt, others in its batches, copies of its cache.");
  }
  const name = visible(trace.models[0]?.name ?? "unknown");
  return make("p", { class: "welcome" }, "This is a real run of the language model ", make("b", {}, name), ", which you can step through, forward and back. ",
    "A step is one pass of tokens through the model, and a cell of the strip. All that you see belongs to the same step.");
}

// Which lines of minillm recorded what a view shows, and the lessons on it.
function origins(view, trace) {
  const places = [...new Set((view.sources ?? []).map((kind) => trace.sources[kind]).filter(Boolean))];
  const list = (texts) => texts.map((text, index) => [index ? ", " : "", make("code", {}, text)]);
  return make("p", { class: "origins" }, `To learn more about ${view.title}: `, list(view.lessons.map((topic) => `minillm lesson ${topic}`)), ".",
    places.length ? [" Recorded at ", list(places), "."] : null);
}

function questionCard({ question }, answer) {
  return make("div", { class: "question" }, make("p", {}, make("strong", {}, "What happens next? "), question.text),
    make("div", { class: "options" }, question.options.map((option, index) =>
      make("button", { onclick: () => answer(index) }, make("kbd", {}, index + 1), ` ${option}`))));
}

function answerCard({ answer: { question, index }, right, asked }) {
  const good = index === question.right;
  const verdict = good ? "✓ Right. " : `✗ Not this time: ${question.options[question.right]}. `;
  return make("p", { class: `answer ${good ? "answer-right" : "answer-wrong"}` }, make("strong", {}, verdict), question.why,
    make("span", { class: "score" }, ` ${right} of ${asked} right so far.`));
}

function help(trace) {
  const keys = [["← →", "one step"], ["Home End", "beginning, end"], ["Space", "play, pause"], ["?", "guess what happens next"]];
  const views_ = Object.values(views).filter((view) => view !== views.text && (view.shows?.(trace) ?? true)).map((view) => [view.letter, view.title]);
  return make("details", { class: "help" }, make("summary", {}, "Keys"),
    make("dl", {}, [...keys, ...views_].map(([key, what]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, what)])));
}
