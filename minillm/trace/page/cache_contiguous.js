// A contiguous cache of one request: the tokens whose keys and values it has, and the slots that are still empty.

const CACHE_CHIPS = 160; // tokens with their texts; a longer cache shows its last ones

function cacheContiguous(moment, table) {
  const { request: id, length, capacity } = table;
  const request = moment.state.requests[id];
  const row = answeringPass(moment.lines)?.rows.find((each) => each.id === id);
  const ran = row ? row.first + row.count : length; // more than `length`: rejected draft tokens left the cache again
  const fresh = row ? row.first : length;
  return make(
    "section",
    { class: "cache-contiguous", style: { "--hue": colourOf(id) } },
    make("h3", {}, badge(id), " one contiguous cache"),
    cacheMeter(moment, length, capacity),
    cacheSlots(moment, request, { length, capacity, fresh, ran }),
    cacheKey(["new", ran > length ? "cut" : null, "old", "empty"]),
    cacheSlotsTable(moment, request, { length, fresh, ran }),
  );
}

function cacheMeter({ trace }, length, capacity) {
  const bytes = tokenBytes(trace);
  const size = bytes
    ? `: ${bytesText(length * bytes)} of ${bytesText(capacity * bytes)}, ${bytesText(bytes)} a token`
    : "";
  return make(
    "div",
    { class: "cache-meter" },
    svg(
      "svg",
      { viewBox: `0 0 ${Math.max(capacity, 1)} 1`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "cache-meter-all", width: capacity, height: 1 }),
      svg("rect", { class: "cache-meter-full", width: length, height: 1 }),
    ),
    make("p", {}, make("b", {}, `${length} of ${counted(capacity, "token")}`), size),
  );
}

function cacheSlotKind(slot, { length, fresh, ran }) {
  if (slot >= Math.max(length, ran)) return "empty";
  if (slot >= length) return "cut";
  return slot >= fresh ? "new" : "old";
}

function cacheSlotsTable({ trace }, request, filled) {
  const tokens = sequenceOf(request);
  const rows = Array.from({ length: Math.max(filled.length, filled.ran) }, (_, slot) => [
    slot,
    slot < filled.length ? tokenText(trace, tokens[slot]) : "",
    CACHE_KEYS[cacheSlotKind(slot, filled)],
  ]);
  return asTable("The slots that were written", ["slot", "token", "state"], rows);
}

// A chip for each slot: a token's keys and values in all layers.
function cacheSlots({ trace }, request, { length, capacity, fresh, ran }) {
  const tokens = sequenceOf(request);
  const from = Math.max(0, Math.min(length - CACHE_CHIPS / 2, capacity - CACHE_CHIPS));
  const to = Math.min(capacity, from + CACHE_CHIPS);
  const chips = Array.from({ length: to - from }, (_, index) => {
    const slot = from + index;
    const kind = cacheSlotKind(slot, { length, fresh, ran });
    const text = kind === "empty" || kind === "cut" ? "" : tokenText(trace, tokens[slot]);
    return make(
      "li",
      {
        class: `cache-slot cache-${kind}`,
        title: `slot ${slot}: ${kind === "cut" ? "a rejected draft token was here" : text || "empty"}`,
      },
      text,
    );
  });
  return make(
    "ol",
    { class: "cache-slots", "aria-label": `slots ${from} to ${to - 1}` },
    from ? make("li", { class: "cache-more" }, `… ${from} before`) : null,
    chips,
    to < capacity ? make("li", { class: "cache-more" }, `… ${capacity - to} after`) : null,
  );
}

const CACHE_KEYS = {
  new: "written in this step",
  old: "written before, only read",
  empty: "reserved, and empty",
  cut: "a rejected draft token: written, then cut off",
  shared: "in several tables",
  known: "in no table, but known: a prompt that begins with its tokens can use it again",
  findable: "full: others may find it by its tokens",
  free: "free",
};

function cacheKey(kinds) {
  return make(
    "ul",
    { class: "cache-key" },
    kinds
      .filter(Boolean)
      .map((kind) =>
        make(
          "li",
          {},
          make("span", { class: `cache-slot cache-${kind}`, "aria-hidden": "true" }, kind === "findable" ? "◆" : ""),
          ` ${CACHE_KEYS[kind]}`,
        ),
      ),
  );
}
