// The text, token by token.

views.text = {
  title: "the text",
  letter: "t",
  draw(el, { state, trace }) {
    const rows = Object.entries(state.requests).map(([id, request]) =>
      make("p", {}, badge(Number(id)), " ", [...request.prompt, ...request.tokens].map((token) => make("span", {}, trace.texts[token] ?? `#${token}`))));
    el.replaceChildren(...rows);
  },
};
