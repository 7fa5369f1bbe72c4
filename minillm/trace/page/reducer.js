// The state of a run after a step, as a fold of the lines of its trace. minillm/trace/state.py has the same functions
// in Python, in the same order, and says what a state holds. States is in minillm/trace/states.py there.
// tests/trace/golden_states.json holds the two together.

const TOTALS = [
  "passes", "draft_passes", "flops", "weight_bytes", "cache_bytes", "drafted", "accepted", "known", "preemptions",
  "copies", "evictions",
];

function newState() {
  const totals = Object.fromEntries(TOTALS.map((name) => [name, 0]));
  return { step: 0, requests: {}, tables: {}, blocks: {}, running: [], waiting: [], ran: [], totals };
}

// Begin a step: no request has rows in it so far.
function beginStep(state, step) {
  for (const number of state.ran) state.requests[number].phase = "";
  state.step = step;
  state.ran = [];
}

// Change the state by one line. Lines of other kinds than CHANGES change nothing.
function applyLine(state, line) {
  if ((line.s ?? 0) > state.step) beginStep(state, line.s);
  CHANGES[line.t]?.(state, line);
}

const CHANGES = {
  request(state, line) {
    state.requests[line.id] = {
      group: line.group, prompt: line.prompt, tokens: [], origins: [], born: [], text: "", status: "waiting",
      phase: "", table: null, drafts: [], swapped: 0, why: "",
    };
    state.waiting.push(line.id);
  },

  admit(state, line) {
    const request = state.requests[line.id];
    dropTable(state, request.table, line.table);
    Object.assign(request, { status: "running", table: line.table, swapped: 0 });
    if (line.table !== null) {
      const { kind, capacity } = line;
      Object.assign(tableOf(state, line.table), { kind, capacity, request: line.id, length: line.known + line.restored });
    }
    remove(state.waiting, line.id);
    state.running.push(line.id);
    state.totals.known += line.known;
  },

  preempt(state, line) {
    Object.assign(state.requests[line.id], { status: "waiting", swapped: line.swapped });
    remove(state.running, line.id);
    state.waiting.unshift(line.id);
    state.totals.preemptions += 1;
  },

  finish(state, line) {
    const request = state.requests[line.id];
    remove(state.running.includes(line.id) ? state.running : state.waiting, line.id);
    request.status = line.why === "cancelled" ? "cancelled" : "finished";
    request.why = line.why;
    request.drafts = [];
    if (request.table !== null && state.tables[request.table].kind === "paged") {
      dropTable(state, request.table, null);
      request.table = null;
    }
  },

  pass(state, line) {
    for (const name of ["flops", "weight_bytes", "cache_bytes"]) state.totals[name] += line[name];
    if (line.model > 0) {
      state.totals.draft_passes += 1;
      return;
    }
    state.totals.passes += 1;
    for (const row of line.rows) runRow(state, row);
  },

  block(state, line) {
    BLOCK_CHANGES[line.do](state, line);
  },

  choice(state, line) {
    const request = state.requests[line.id];
    request.tokens.push(line.token);
    request.origins.push(line.origin);
    request.born.push(line.s);
    request.text += line.text;
  },

  draft(state, line) {
    state.requests[line.id].drafts = line.tokens;
    state.totals.drafted += line.tokens.length;
  },

  verdict(state, line) {
    const request = state.requests[line.id];
    request.drafts = [];
    state.totals.accepted += line.tokens.filter((judged) => judged.accepted).length;
    if (request.table !== null) { // what was rejected leaves the cache, and the last token was never in it
      state.tables[request.table].length = request.prompt.length + request.tokens.length - 1;
    }
  },
};

const BLOCK_CHANGES = {
  take, hit: take, share: take, copy, release, publish, unpublish, evict: unpublish,
};

function runRow(state, row) {
  if (row.id === null) return;
  const request = state.requests[row.id];
  request.phase = row.phase;
  state.ran.push(row.id);
  if (request.table !== null) state.tables[request.table].length = row.first + row.count;
}

function take(state, line) {
  tableOf(state, line.table).blocks.push(...line.blocks);
  for (const number of line.blocks) blockOf(state, number).refs += 1;
}

function copy(state, line) {
  const blocks = tableOf(state, line.table).blocks;
  const [fresh] = line.blocks;
  blocks[blocks.indexOf(line.from)] = fresh;
  blockOf(state, fresh).refs += 1;
  dropReference(state, line.from);
  state.totals.copies += 1;
}

function release(state, line) {
  const table = tableOf(state, line.table);
  table.blocks.length -= line.blocks.length;
  for (const number of line.blocks) dropReference(state, number);
  if (table.blocks.length === 0) table.length = 0;
}

function publish(state, line) {
  for (const number of line.blocks) blockOf(state, number).known = true;
}

function unpublish(state, line) {
  for (const number of line.blocks) {
    blockOf(state, number).known = false;
    dropBlockIfFree(state, number);
  }
  if (line.do === "evict") state.totals.evictions += line.blocks.length;
}

function tableOf(state, number) {
  return (state.tables[number] ??= { kind: "paged", capacity: null, request: null, length: 0, blocks: [] });
}

// Drop the table that a request no longer has.
function dropTable(state, old, fresh) {
  if (old !== null && old !== fresh) delete state.tables[old];
}

function blockOf(state, number) {
  return (state.blocks[number] ??= { refs: 0, known: false });
}

function dropReference(state, number) {
  state.blocks[number].refs -= 1;
  dropBlockIfFree(state, number);
}

function dropBlockIfFree(state, number) {
  const block = state.blocks[number];
  if (block.refs === 0 && !block.known) delete state.blocks[number];
}

function remove(queue, number) {
  queue.splice(queue.indexOf(number), 1);
}

const EVERY = 32; // steps between keyframes

// The states of a trace after each step, each found from the nearest keyframe before it: a step back costs no more
// than a step forward, however long the run is.
class States {
  constructor(lines) {
    this.steps = [[]]; // for each step from 0, its lines
    this.keyframes = [newState()]; // number n: the state before step n * EVERY
    const last = newState();
    for (const line of lines) {
      if (line.s === this.steps.length) this.begin(line.s, last);
      applyLine(last, line);
      this.steps[line.s].push(line);
    }
  }

  begin(step, last) {
    this.steps.push([]);
    if (step % EVERY === 0) this.keyframes.push(structuredClone(last));
  }

  // Return the state after a step, a copy that may be changed. Before step 0 there is nothing.
  at(step) {
    if (step < 0) return newState();
    const state = structuredClone(this.keyframes[Math.floor(step / EVERY)]);
    for (let number = Math.floor(step / EVERY) * EVERY; number <= step; number++) {
      beginStep(state, number);
      for (const line of this.steps[number]) applyLine(state, line);
    }
    return state;
  }
}
