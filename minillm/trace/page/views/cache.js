// The cache: a contiguous one that fills up, or a pool of blocks with the tables that hold them.

const CACHE_CHIPS = 160; // tokens with their texts; a longer cache shows its last ones
const CACHE_BLOCKS = 320; // blocks drawn; a larger pool shows those in use first
const CACHE_TEXTS = 6; // slots of a block that have room for their texts; more are small squares
const CACHE_WORDS = {
  take: "taken from the free ones",
  hit: "found by its tokens, and shared",
  share: "shared with a fork",
  copy: "copied, because it had several readers (copy-on-write)",
  release: "given back",
  publish: "full: others may find it by its tokens",
  unpublish: "forgotten",
  evict: "its tokens evicted to make room",
};
const CACHE_BADGES = {
  take: "taken",
  hit: "prefix hit",
  share: "shared",
  copy: "a copy",
  release: "given back",
  publish: "published",
  unpublish: "forgotten",
  evict: "evicted",
};

views.cache = {
  title: "the cache",
  letter: "c",
  sources: ["admit", "take", "hit", "share", "copy", "release", "publish", "unpublish", "evict"],
  draw(el, moment) {
    const pools = moment.trace.lines.filter((line) => line.t === "pool" && line.s <= moment.n);
    const contiguous = Object.entries(moment.state.tables).filter(([, table]) => table.kind === "contiguous");
    const none = !pools.length && !contiguous.length;
    el.replaceChildren(
      ...[
        contiguous.map(([, table]) => cacheContiguous(moment, table)),
        pools.map((pool) => cachePool(moment, pool)),
        none ? make("p", {}, cacheNothing(moment)) : null,
        pools.length ? cacheChanges(moment) : null,
      ]
        .flat()
        .filter(Boolean),
    );
  },
};

function cacheNothing({ state, n }) {
  const naive = Object.values(state.requests).some((request) => request.phase === "naive");
  if (naive) return "This run has no cache: every step runs the whole sequence again.";
  return n === 0 ? "No cache yet: the first pass makes one." : "No cache is in use.";
}

// --- one request, one contiguous cache

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

// A chip for each slot: a token's keys and values in all layers.
function cacheSlots({ trace }, request, { length, capacity, fresh, ran }) {
  const tokens = sequenceOf(request);
  const from = Math.max(0, Math.min(length - CACHE_CHIPS / 2, capacity - CACHE_CHIPS));
  const to = Math.min(capacity, from + CACHE_CHIPS);
  const chips = Array.from({ length: to - from }, (_, index) => {
    const slot = from + index;
    const kind = slot >= Math.max(length, ran) ? "empty" : slot >= length ? "cut" : slot >= fresh ? "new" : "old";
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

// --- many requests, blocks of one pool

function cachePool(moment, pool) {
  const holders = cacheHolders(moment, pool);
  const done = cacheDone(moment.lines);
  const numbers = cacheShown(moment.state, pool);
  return make(
    "section",
    { class: "cache-pool" },
    cachePoolFacts(moment, pool, holders),
    make(
      "ol",
      { class: "cache-blocks", "aria-label": "blocks of the pool" },
      numbers.map((number) => cacheBlock(moment, pool, number, holders, done)),
      numbers.length < pool.blocks
        ? make("li", { class: "cache-more" }, `… and ${pool.blocks - numbers.length} free blocks`)
        : null,
    ),
    cacheKey(["new", "old", "shared", "findable", "known", "free"]),
    make("h3", {}, "Block tables"),
    cacheTables(moment, pool),
  );
}

// For each block, who has it: [{ id, at }], `at` its place in the table.
function cacheHolders({ state }, pool) {
  const holders = {};
  for (const table of Object.values(state.tables)) {
    if (table.kind !== "paged" || table.request === null) continue;
    table.blocks.forEach((number, at) => (holders[number] ??= []).push({ id: table.request, at, table }));
  }
  return holders;
}

// For each block, what happened to it in this step: its lines, in order.
function cacheDone(lines) {
  const done = {};
  for (const line of lines) if (line.t === "block") for (const number of line.blocks) (done[number] ??= []).push(line);
  return done;
}

// The numbers of the blocks to draw: all, or of a large pool those in use and a few more.
function cacheShown(state, pool) {
  const all = Array.from({ length: Math.min(pool.blocks, CACHE_BLOCKS) }, (_, index) => pool.first + index);
  if (pool.blocks <= CACHE_BLOCKS) return all;
  const used = Object.keys(state.blocks)
    .map(Number)
    .filter((number) => number >= pool.first && number < pool.first + pool.blocks);
  return [...new Set([...used, ...all])].slice(0, CACHE_BLOCKS).sort((a, b) => a - b);
}

function cachePoolFacts({ state }, pool) {
  const blocks = Object.entries(state.blocks)
    .filter(([number]) => number >= pool.first && number < pool.first + pool.blocks)
    .map(([, block]) => block);
  const used = blocks.filter((block) => block.refs > 0).length;
  const known = blocks.length - used;
  const entries = sum(blocks.map((block) => block.refs));
  const free = pool.blocks - used - known;
  return make(
    "p",
    { class: "cache-facts" },
    make("b", {}, `${used} of ${pool.blocks} blocks in use`),
    ` (${bytesText(used * pool.bytes)} of ${bytesText(pool.blocks * pool.bytes)}), ${known} known but unused, ${free} free. `,
    `A block has ${counted(pool.size, "token")}. `,
    entries > used ? `Sharing saves ${counted(entries - used, "block")}: the tables have ${entries} entries.` : "",
  );
}

function cacheBlock(moment, pool, number, holders, done) {
  const block = moment.state.blocks[number];
  const mine = holders[number] ?? [];
  const kind = !block ? "free" : block.refs === 0 ? "known" : block.refs > 1 ? "shared" : "used";
  const hues = Object.fromEntries(
    [...new Set(mine.map(({ id }) => id))].slice(0, 2).map((id, index) => [index ? "--hue-2" : "--hue", colourOf(id)]),
  );
  return make(
    "li",
    { class: `cache-block cache-block-${kind}`, style: { "--hue-2": hues["--hue"], ...hues } },
    make("div", { class: "cache-block-head" }, make("b", {}, number), make("span", {}, cacheReferences(block, mine))),
    make(
      "div",
      { class: `cache-block-slots${pool.size > CACHE_TEXTS ? " cache-block-small" : ""}`, "aria-hidden": "true" },
      cacheBlockSlots(moment, pool, block, mine),
    ),
    make("div", { class: "cache-block-done" }, cacheBadges(done[number] ?? [])),
  );
}

function cacheReferences(block, mine) {
  if (!block) return "free";
  if (block.refs === 0) return "known";
  return [
    mine.map(({ id }) => badge(id)),
    block.refs > 1 ? ` ×${block.refs}` : "",
    block.known ? make("span", { title: "known: others may find it by its tokens" }, " ◆") : "",
  ];
}

// The tokens in a block, from the first table that has it. What an unused block holds is not in the state.
function cacheBlockSlots(moment, pool, block, [holder]) {
  const tokens = holder ? sequenceOf(moment.state.requests[holder.id]) : [];
  const row = holder && answeringPass(moment.lines)?.rows.find((each) => each.id === holder.id);
  return Array.from({ length: Math.min(pool.size, 64) }, (_, index) => {
    const position = holder ? holder.at * pool.size + index : 0;
    const full = holder ? position < holder.table.length : block !== undefined;
    const fresh = full && row && position >= row.first;
    const text = holder && full ? tokenText(moment.trace, tokens[position]) : "";
    return make(
      "span",
      { class: `cache-slot cache-${fresh ? "new" : full ? "old" : "empty"}`, title: text || null },
      pool.size > CACHE_TEXTS ? "" : text,
    );
  });
}

function cacheBadges(lines) {
  const last = new Map(lines.map((line) => [line.do, line]));
  return [...last.values()].map((line) =>
    make(
      "span",
      { class: `cache-did cache-did-${line.do}`, title: CACHE_WORDS[line.do] },
      line.do === "copy" ? `copy of ${line.from}` : CACHE_BADGES[line.do],
    ),
  );
}

function cacheTables(moment, pool) {
  const { requests, tables } = moment.state;
  const rows = Object.entries(requests).filter(([, request]) => ["running", "waiting"].includes(request.status));
  if (!rows.length) return make("p", {}, "No request is running: all blocks went back.");
  return make(
    "ul",
    { class: "cache-tables" },
    rows.map(([id, request]) =>
      make(
        "li",
        {},
        badge(Number(id)),
        request.status === "running" && tables[request.table]
          ? cacheTableRow(tables[request.table], pool, Number(id), moment)
          : cacheWaiting(request, moment),
      ),
    ),
  );
}

function cacheTableRow(table, pool, id, moment) {
  const { blocks } = moment.state;
  return [
    make(
      "span",
      { class: "cache-entries", style: { "--hue": colourOf(id) } },
      table.blocks.map((number, at) => {
        const filled = Math.max(0, Math.min(pool.size, table.length - at * pool.size));
        return make(
          "span",
          {
            class: `cache-entry${blocks[number].refs > 1 ? " cache-entry-shared" : ""}`,
            title: `block ${number}: ${filled} of ${pool.size} slots`,
          },
          number,
          filled < pool.size ? make("small", {}, ` ${filled}/${pool.size}`) : null,
        );
      }),
    ),
    make("span", { class: "cache-length" }, counted(table.length, "token")),
  ];
}

function cacheWaiting(request, { trace }) {
  if (!request.swapped) return make("span", { class: "cache-length" }, "waits, without blocks");
  const bytes = tokenBytes(trace) * request.swapped;
  return make(
    "span",
    { class: "cache-swapped" },
    `swapped out: ${counted(request.swapped, "token")} (${bytesText(bytes)}) in ordinary memory`,
  );
}

// What this step did with blocks, line by line.
function cacheChanges({ lines, state }) {
  const blocks = lines.filter((line) => line.t === "block" || line.t === "preempt");
  if (!blocks.length) return make("p", { class: "cache-quiet" }, "This step took, shared and released no block.");
  const owner = (number) => state.tables[number]?.request ?? null;
  return make(
    "div",
    {},
    make("h3", {}, "In this step"),
    make(
      "ol",
      { class: "cache-changes" },
      blocks.map((line) => cacheChange(line, owner)),
    ),
  );
}

function cacheChange(line, owner) {
  if (line.t === "preempt") {
    return make(
      "li",
      {},
      badge(line.id),
      line.swapped
        ? ` preempted: ${counted(line.swapped, "token")} swapped out`
        : " preempted: its tokens will be computed again",
    );
  }
  const id = line.table === null ? null : owner(line.table);
  const which =
    line.do === "copy"
      ? `block ${line.from} to block ${line.blocks[0]}`
      : `block${line.blocks.length > 1 ? "s" : ""} ${line.blocks.join(", ")}`;
  return make("li", {}, id === null ? null : [badge(id), " "], `${which}: ${CACHE_WORDS[line.do]}`);
}
