// The cache: a contiguous one that fills up, or a pool of blocks with the tables that hold them.

views.cache = {
  title: "the cache",
  letter: "c",
  about: "The keys and values that are kept, so that no token has to be computed twice.",
  lessons: ["kv_cache", "paged_attention"],
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
