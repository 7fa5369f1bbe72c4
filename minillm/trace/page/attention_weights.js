// The weights of an attention line, unpacked, and the tokens that they belong to.

// Weights of all queries, each a fraction of 1: unpacked once for a line.
const attentionWeights = new WeakMap();

function attentionRows(line) {
  if (!attentionWeights.has(line)) attentionWeights.set(line, attentionUnpack(line));
  return attentionWeights.get(line);
}

function attentionUnpack(line) {
  const bytes = Uint8Array.from(atob(line.weights), (sign) => sign.charCodeAt(0));
  return line.scales.map((scale, query) => {
    const start = (query * (query + 1)) / 2;
    return Array.from(bytes.subarray(start, start + query + 1), (byte) => (byte / 255) * scale);
  });
}

function attentionTokens(moment, id) {
  return sequenceOf(moment.state.requests[id]);
}

function attentionWindow(moment, line) {
  return moment.trace.models[0].config.sliding_windows[line.layer];
}
