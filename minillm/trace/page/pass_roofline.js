// Where a pass stands under the roofline: arithmetic or memory is the limit.

// Peaks of datasheets: products in float32 on a laptop with eight cores, in float16 on the GPU.
const PASS_MACHINES = [
  { name: "a laptop", flops: 2e11, bandwidth: 5e10 },
  { name: "an H100", flops: 9.89e14, bandwidth: 3.35e12 },
];
const ROOF_X = [-1, 4]; // powers of ten: FLOPs per byte
const ROOF_Y = [9, 15.3]; // powers of ten: FLOPs per second

// A pass of a stranger's trace may have no work, or read nothing: its point is at the picture's edge, as 0 has no logarithm.
function passIntensity(pass) {
  return Math.max(pass.flops, 1) / Math.max(pass.weight_bytes + pass.cache_bytes, 1);
}

function passReach(machine, intensity) {
  return Math.min(machine.flops, machine.bandwidth * intensity);
}

function passRoofline(moment, pass, clientWidth) {
  const width = Math.max(270, Math.min(clientWidth || 640, 760));
  const frame = { left: 52, right: width - 14, top: 12, bottom: 250 };
  const x = (value) =>
    frame.left + ((Math.log10(value) - ROOF_X[0]) / (ROOF_X[1] - ROOF_X[0])) * (frame.right - frame.left);
  const y = (value) =>
    frame.bottom - ((Math.log10(value) - ROOF_Y[0]) / (ROOF_Y[1] - ROOF_Y[0])) * (frame.bottom - frame.top);
  const earlier = moment.trace.lines.filter((line) => line.t === "pass" && line.model === 0 && line.s < moment.n);
  const intensity = passIntensity(pass);
  const picture = svg(
    "svg",
    {
      class: "pass-roofline",
      viewBox: `0 0 ${width} 292`,
      role: "img",
      "aria-label": `Roofline: this pass has ${ratio(intensity)} FLOPs for each byte`,
    },
    passAxes(frame, x, y),
    PASS_MACHINES.map((machine) => passRoof(machine, x, y, frame)),
    svg("line", { class: "pass-here", x1: x(intensity), x2: x(intensity), y1: frame.top, y2: frame.bottom }),
    PASS_MACHINES.map((machine) => passPoints(machine, earlier, pass, x, y)),
  );
  return make("figure", { class: "pass-figure" }, picture, passVerdicts(pass), passRooflineTable(pass));
}

function passAxes(frame, x, y) {
  const xs = powers(ROOF_X[0], ROOF_X[1]).map((power) => [
    svg("line", { class: "pass-grid", x1: x(10 ** power), x2: x(10 ** power), y1: frame.top, y2: frame.bottom }),
    svg(
      "text",
      { x: x(10 ** power), y: frame.bottom + 17, "text-anchor": power === ROOF_X[1] ? "end" : "middle" },
      ["0.1", "1", "10", "100", "1 k", "10 k"][power - ROOF_X[0]],
    ),
  ]);
  const ys = powers(ROOF_Y[0], Math.floor(ROOF_Y[1]), 3).map((power) => [
    svg("line", { class: "pass-grid", x1: frame.left, x2: frame.right, y1: y(10 ** power), y2: y(10 ** power) }),
    svg(
      "text",
      { x: frame.left - 6, y: y(10 ** power) + 4, "text-anchor": "end" },
      { 9: "1 G", 12: "1 T", 15: "1 P" }[power],
    ),
  ]);
  return [
    xs,
    ys,
    svg("text", { x: frame.right, y: frame.bottom + 36, "text-anchor": "end" }, "FLOPs for each byte read →"),
    svg("text", { class: "pass-axis", x: frame.left + 6, y: frame.top + 12 }, "↑ FLOPs per second"),
  ];
}

function powers(from, to, step = 1) {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}

// The slope is the memory's bandwidth, the flat part the arithmetic's peak.
function passRoof(machine, x, y, frame) {
  const ridge = machine.flops / machine.bandwidth;
  const [start, peak] = [10 ** ROOF_X[0], y(machine.flops)];
  return [
    svg("path", {
      class: "pass-roof",
      d: `M${x(start)} ${y(passReach(machine, start))}L${x(ridge)} ${peak}H${frame.right}`,
    }),
    svg("text", { x: frame.right, y: y(machine.flops) + 17, "text-anchor": "end" }, machine.name),
  ];
}

function passPoints(machine, earlier, pass, x, y) {
  const point = (each, kind, radius) =>
    svg("circle", {
      class: kind,
      cx: x(passIntensity(each)),
      cy: y(passReach(machine, passIntensity(each))),
      r: radius,
    });
  return [earlier.slice(-200).map((each) => point(each, "pass-point-before", 3.5)), point(pass, "pass-point", 7)];
}

function passVerdicts(pass) {
  const intensity = passIntensity(pass);
  const sentences = PASS_MACHINES.map((machine) => {
    const bound = intensity < machine.flops / machine.bandwidth ? "memory is the limit" : "arithmetic is the limit";
    const share = percent(passReach(machine, intensity) / machine.flops);
    return `On ${machine.name} ${bound}: at most ${share} of its arithmetic is used.`;
  });
  return make("figcaption", {}, sentences.join(" "), " Small dots are the passes before.");
}

function passRooflineTable(pass) {
  const intensity = passIntensity(pass);
  return asTable(
    "This pass on two machines, by their datasheets",
    ["machine", "ridge (FLOPs for each byte)", "at most", "takes at least"],
    PASS_MACHINES.map((machine) => [
      machine.name,
      ratio(machine.flops / machine.bandwidth),
      `${amount(passReach(machine, intensity))}FLOP/s`,
      passTime(pass.flops / passReach(machine, intensity)),
    ]),
  );
}

function passTime(seconds) {
  return seconds < 1e-3 ? `${ratio(seconds * 1e6)} µs` : `${ratio(seconds * 1e3)} ms`;
}
