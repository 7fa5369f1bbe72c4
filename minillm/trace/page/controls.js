// The row of buttons below the strip.

const ICONS = { // paths in a square of 20
  first: "M4 4v12M16 4l-9 6 9 6z", back: "M14 4l-8 6 8 6z", play: "M6 3l11 7-11 7z", pause: "M6 4v12M14 4v12",
  forward: "M6 4l8 6-8 6z", last: "M16 4v12M4 4l9 6-9 6z",
};

class Controls {
  constructor(player) {
    this.player = player;
    this.playing = iconButton("play", "play", () => player.play());
    this.speeds = make("select", { "aria-label": "speed", onchange: () => this.changeSpeed() },
      SPEEDS.map((speed) => make("option", { value: speed, selected: speed === 1 }, `${speed}×`)));
    this.count = make("output", { class: "count" });
    this.guess = make("button", { class: "guess", "aria-label": "What happens next?", title: "guess each step before it is shown", onclick: () => player.guessing(!player.guesses.on) }, make("span", { class: "wide" }, "What happens next?"), make("span", { class: "narrow" }, "Guess"));
    this.el = make("div", { class: "controls" },
      iconButton("first", "to the beginning", () => player.go(0)),
      iconButton("back", "one step back", () => player.go(player.n - 1)),
      this.playing,
      iconButton("forward", "one step forward", () => player.forward()),
      iconButton("last", "to the end", () => player.go(player.last)),
      this.speeds, this.count, this.guess);
  }

  speed() {
    return Number(this.speeds.value);
  }

  changeSpeed() {
    if (!this.player.timer) return;
    this.player.pause();
    this.player.play();
  }

  show() {
    const { player } = this;
    const name = player.timer ? "pause" : "play";
    this.playing.setAttribute("aria-label", name);
    this.playing.title = name;
    this.playing.replaceChildren(icon(name));
    this.count.replaceChildren(make("span", { class: "wide" }, "step "), `${player.n} of ${player.last}`);
    this.guess.setAttribute("aria-pressed", String(player.guesses.on));
  }
}

function iconButton(name, label, onclick) {
  return make("button", { class: `icon icon-${name}`, "aria-label": label, title: label, onclick }, icon(name));
}

function icon(name) {
  return svg("svg", { viewBox: "0 0 20 20", width: 20, height: 20, "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}
