// Amounts that several views show: large numbers, bytes, shapes, and what a model's cache takes.

const PREFIXES = ["", "k", "M", "G", "T"];

// 24448512 -> "24.4 M"; a unit follows it.
function amount(number) {
  let power = 0;
  while (Math.abs(number) >= 999.5 && power < PREFIXES.length - 1) [number, power] = [number / 1000, power + 1];
  const digits = power === 0 && Number.isInteger(number) ? 0 : number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2;
  return `${number.toFixed(digits)} ${PREFIXES[power]}`;
}

function bytesText(bytes) {
  return `${amount(bytes)}B`;
}

// 0.2461 -> "0.25", 3.52 -> "3.5", 295.2 -> "295"
function ratio(number) {
  return number >= 99.5 ? Math.round(number).toLocaleString("en") : number.toPrecision(2);
}

// [5, 192] -> "5 × 192"
function shapeText(shape) {
  return shape.map((size) => size.toLocaleString("en")).join(" × ");
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function sequenceOf(request) {
  return request.prompt.concat(request.tokens);
}

// The pass of the model that answers in these lines, or undefined: step 0 has none, and an interrupted step may not.
function answeringPass(lines) {
  return lines.find((line) => line.t === "pass" && line.model === 0);
}

// The keys that at least one of `count` new queries may see, after `first` tokens in the cache.
function visibleKeys(first, count, window) {
  return window === null ? first + count : Math.min(first + count, window + count - 1);
}

// The pairs of a new query and a key that it may see: itself and those before it, at most `window` in all.
function visiblePairs(first, count, window) {
  if (window === null) return count * first + (count * (count + 1)) / 2;
  const growing = Math.min(Math.max(window - first, 0), count);
  return growing * first + (growing * (growing + 1)) / 2 + (count - growing) * window;
}

// The bytes of one token's keys and values in all layers: what a pass read, by the keys that it saw. 0 if unknown.
function tokenBytes(trace) {
  const windows = trace.models[0]?.config.sliding_windows ?? [];
  const line = trace.lines.find((each) => each.t === "pass" && each.model === 0 && each.cache_bytes > 0);
  if (!line) return 0;
  const keys = sum(line.rows.flatMap((row) => windows.map((window) => visibleKeys(row.first, row.count, window))));
  return (line.cache_bytes * windows.length) / keys;
}
