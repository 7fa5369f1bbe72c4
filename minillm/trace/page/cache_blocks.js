// A pool of blocks, the tables that hold them, and what a step did with them.

const CACHE_BLOCKS = 320; // blocks drawn
const CACHE_FEW = 24; // free blocks are drawn one by one in a pool of no more; else neighbours are drawn as one
const CACHE_TEXTS = 6; // slots of a block that have room for their texts; more are small squares
const CACHE_WORDS = {
  take: "taken from the free ones",
  hit: "found by its tokens, and shared",
  share: "shared with a fork",
  copy: "copied, because it had several readers (copy-on-write)",
  release: "given back",
  publish: "full: others may find it by its tokens",
  unpublish: "no longer found by its tokens",
  evict: "its tokens evicted to make room",
};
const CACHE_BADGES = {
  take: "taken",
  hit: "prefix hit",
  share: "shared",
  copy: "a copy",
  release: "given back",
  publish: "published",
  unpublish: "unpublished",
  evict: "evicted",
};

function cachePool(moment, pool) {
  const holders = cacheHolders(moment, pool);
  const done = cacheDone(moment.lines);
  const { runs, more } = cacheRuns(moment.state, pool);
  return make(
    "section",
    { class: "cache-pool" },
    cachePoolFacts(moment, pool, holders),
    make(
      "ol",
      { class: "cache-blocks", "aria-label": "blocks of the pool" },
      runs.map(([first, last]) =>
        first === last ? cacheBlock(moment, pool, first, holders, done) : cacheFreeRun(first, last),
      ),
      more ? make("li", { class: "cache-more" }, `… and ${counted(more, "block")} in use`) : null,
    ),
    cacheKey(["new", "old", "shared", "findable", "known", "free"]),
    cacheBlocksTable(moment, pool, holders),
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

// What is drawn: [first, last] of each run of neighbours. Blocks in use and known ones are runs of one.
function cacheRuns(state, pool) {
  const end = pool.first + pool.blocks;
  const all = cacheNumbers(state, pool);
  const shown = all.slice(0, CACHE_BLOCKS);
  const stops = all.length > shown.length ? shown : [...shown, end];
  const runs = [];
  let next = pool.first;
  for (const number of stops) {
    if (number > next) runs.push(...cacheFree(next, number - 1, pool));
    if (number < end) runs.push([number, number]);
    next = number + 1;
  }
  return { runs, more: all.length - shown.length };
}

// The blocks of a pool that are in use or known, in order.
function cacheNumbers(state, pool) {
  const numbers = Object.keys(state.blocks).map(Number);
  return numbers.filter((number) => number >= pool.first && number < pool.first + pool.blocks).sort((a, b) => a - b);
}

function cacheFree(first, last, pool) {
  if (pool.blocks > CACHE_FEW) return [[first, last]];
  return Array.from({ length: last - first + 1 }, (_, index) => [first + index, first + index]);
}

function cacheFreeRun(first, last) {
  return make(
    "li",
    { class: "cache-block cache-block-free" },
    make("div", { class: "cache-block-head" }, make("b", {}, `${first} to ${last}`), "free"),
    counted(last - first + 1, "block"),
  );
}

function cachePoolFacts({ state }, pool) {
  const blocks = cacheNumbers(state, pool).map((number) => state.blocks[number]);
  const used = blocks.filter((block) => block.refs > 0).length;
  const known = blocks.length - used;
  const entries = sum(blocks.map((block) => block.refs));
  const free = pool.blocks - used - known;
  return make(
    "p",
    { class: "cache-facts" },
    make("b", {}, `${used} of ${pool.blocks} blocks in use`),
    ` (${bytesText(used * pool.bytes)} of ${bytesText(pool.blocks * pool.bytes)}), `,
    `${known} known but unused, ${free} free. `,
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

function cacheBlocksTable({ state, trace }, pool, holders) {
  const rows = cacheNumbers(state, pool).map((number) => {
    const { refs, known } = state.blocks[number];
    const mine = holders[number] ?? [];
    const tokens = mine.length ? sequenceOf(state.requests[mine[0].id]) : [];
    const start = mine.length ? mine[0].at * pool.size : 0;
    const texts = tokens.slice(start, Math.min(start + pool.size, mine[0]?.table.length)).map((token) => tokenText(trace, token));
    return [number, refs, mine.map(({ id }) => letterOf(id)).join(", "), known ? "yes" : "no", texts.join(" ")];
  });
  return asTable("Blocks in use or known", ["block", "references", "of request", "found by its tokens", "tokens"], rows);
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
function cacheChanges({ lines, state, before }) {
  const blocks = lines.filter((line) => line.t === "block" || line.t === "preempt");
  if (!blocks.length) return make("p", { class: "cache-quiet" }, "This step took, shared and released no block.");
  const owner = (number) => (state.tables[number] ?? before.tables[number])?.request ?? null; // it may have ended
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
