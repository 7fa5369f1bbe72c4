// The kernels of the `cupy` backend. Each is a method of backends/plain.py, and has a twin in tests/kernel_twins.py.
//
// What stands before this file says which numbers there are: `real`, in which everything is computed, and `stored`, in
// which weights are kept, with `read` from one to the other and `write` back. Whole numbers are 64 bits long, as Python
// passes them. "stride" is how many numbers lie between one row and the next, since q, k and v are parts of one row.

typedef long long whole;

constexpr int THREADS = 256, WARP = 32, WARPS = THREADS / WARP;
constexpr int ROWS = 8;          // rows that `few_rows` multiplies with a weight that it has read once
constexpr int PER_LANE = 8;      // numbers of a head that one lane holds: heads of up to 256
constexpr real LOWEST = -3e38;  // below any score

__device__ real warp_sum(real x) {
    for (int distance = WARP / 2; distance; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
    return x;
}

__device__ real warp_max(real x) {
    for (int distance = WARP / 2; distance; distance /= 2) {
        real other = __shfl_xor_sync(~0u, x, distance);
        x = other > x ? other : x;
    }
    return x;
}

__device__ real block_sum(real x) {
    __shared__ real sums[WARPS];
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = x;
    __syncthreads();
    x = 0;
    for (int warp = 0; warp < WARPS; warp++) x += sums[warp];
    return x;
}

// Plain.embed. One block a token.
extern "C" __global__ void embed(const stored* embedding, const whole* tokens, real* x, whole dim) {
    const stored* row = embedding + tokens[blockIdx.x] * dim;
    for (whole i = threadIdx.x; i < dim; i += THREADS) x[blockIdx.x * dim + i] = read(row[i]);
}

// layers.rope_rotation. One block a token; angles in float64, since positions are large.
extern "C" __global__ void rotation(const whole* positions, const double* frequencies, real* cosine, real* sine,
                                    whole half) {
    for (whole i = threadIdx.x; i < half; i += THREADS) {
        double angle = positions[blockIdx.x] * frequencies[i];
        cosine[blockIdx.x * half + i] = cos(angle);
        sine[blockIdx.x * half + i] = sin(angle);
    }
}

// layers.rms_norm. One block a row.
extern "C" __global__ void rms_norm(const real* x, const real* weight, real* out, whole dim, double eps) {
    x += blockIdx.x * dim;
    real squares = 0;
    for (whole i = threadIdx.x; i < dim; i += THREADS) squares += x[i] * x[i];
    real root = sqrt(block_sum(squares) / dim + (real)eps);
    for (whole i = threadIdx.x; i < dim; i += THREADS) out[blockIdx.x * dim + i] = x[i] / root * weight[i];
}

// Plain.rope and, if there is a weight, Plain.norm_rope. One block a token, a warp a head; out has no gaps.
extern "C" __global__ void rope(const real* x, const real* weight, const real* cosine, const real* sine, real* out,
                                whole heads, whole stride, whole half, double eps) {
    whole token = blockIdx.x, lane = threadIdx.x % WARP;
    for (whole head = threadIdx.x / WARP; head < heads; head += WARPS) {
        const real *first = x + token * stride + head * 2 * half, *second = first + half;
        real* rotated = out + (token * heads + head) * 2 * half;
        real squares = 0, root = 1;
        for (whole i = lane; i < half; i += WARP) squares += first[i] * first[i] + second[i] * second[i];
        if (weight) root = sqrt(warp_sum(squares) / (2 * half) + (real)eps);
        for (whole i = lane; i < half; i += WARP) {
            real a = first[i] / root, b = second[i] / root, c = cosine[token * half + i], s = sine[token * half + i];
            if (weight) a *= weight[head * 2 * half + i], b *= weight[head * 2 * half + half + i];
            rotated[i] = a * c - b * s;
            rotated[half + i] = b * c + a * s;
        }
    }
}

// layers.swiglu. blockIdx.x is the token, blockIdx.y a stretch of the row; gate and up have the same stride.
extern "C" __global__ void swiglu(const real* gate, const real* up, real* out, whole stride, whole inner) {
    whole i = blockIdx.y * (whole)THREADS + threadIdx.x, place = blockIdx.x * stride + i;
    if (i >= inner) return;
    real half = (real)0.5 * gate[place];
    out[blockIdx.x * inner + i] = half * (1 + tanh(half)) * up[place];
}

// Real numbers as weights are stored.
extern "C" __global__ void narrow(const real* x, stored* out, whole size) {
    whole i = blockIdx.x * (whole)THREADS + threadIdx.x;
    if (i < size) out[i] = write(x[i]);
}

// Plain.linear for 1 or up to 8 rows: out = x @ weight.T (+ bias) (+ residual), with weight [outs, inner]. A warp makes
// one column of the result: it reads the column's weights once, 16 bytes a lane at a time, for all rows.
constexpr int PACK = 16 / sizeof(stored);
struct alignas(16) Pack { stored numbers[PACK]; };

template <int N>
__device__ void multiply(const real* x, const stored* weight, const real* bias, const real* residual, real* out,
                         whole rows, whole inner, whole outs) {
    whole column = blockIdx.x * (whole)WARPS + threadIdx.x / WARP, first = blockIdx.y * (whole)N;
    if (column >= outs) return;
    int lane = threadIdx.x % WARP, some = rows - first < N ? rows - first : N;
    x += first * inner;
    weight += column * inner;
    real sums[N] = {};
    whole packs = inner % PACK ? 0 : inner / PACK;  // else rows do not begin at a multiple of 16 bytes
    #pragma unroll (N == 1 ? 4 : 1)
    for (whole p = lane; p < packs; p += WARP) {
        Pack pack = ((const Pack*)weight)[p];
        #pragma unroll
        for (int i = 0; i < PACK; i++) {
            real w = read(pack.numbers[i]);
            #pragma unroll
            for (int row = 0; row < N; row++) if (row < some) sums[row] += w * x[row * inner + p * PACK + i];
        }
    }
    for (whole i = packs * PACK + lane; i < inner; i += WARP)
        for (int row = 0; row < some; row++) sums[row] += read(weight[i]) * x[row * inner + i];
    #pragma unroll
    for (int row = 0; row < N; row++) {
        real sum = warp_sum(sums[row]);
        if (lane || row >= some) continue;
        if (bias) sum += bias[column];
        whole place = (first + row) * outs + column;
        out[place] = residual ? residual[place] + sum : sum;
    }
}

extern "C" __global__ void one_row(const real* x, const stored* weight, const real* bias, const real* residual,
                                   real* out, whole rows, whole inner, whole outs) {
    multiply<1>(x, weight, bias, residual, out, rows, inner, outs);
}

extern "C" __global__ void few_rows(const real* x, const stored* weight, const real* bias, const real* residual,
                                    real* out, whole rows, whole inner, whole outs) {
    multiply<ROWS>(x, weight, bias, residual, out, rows, inner, outs);
}

// Where one sequence lies: addresses of the first layer's keys and values, numbers of the cache, rows of the batch.
struct Sequence {
    real *keys, *values;  // [layers, kv_heads, slots, head_dim]
    whole slots;          // of one head
    whole block_size;     // token t lies in slot table[t / block_size] * block_size + t % block_size
    whole table;          // where its block table begins among all tables
    whole cached;         // tokens that the cache held before this step
    whole row, rows;      // of its new tokens in q, k and v: the first, and how many
};

// Keys, or values, of one sequence and head. Those of new tokens are read from the projections and only written to the
// cache, older ones are read from there: so that no block waits for another.
struct Tokens {
    real* cache;
    const real* fresh;  // of the first new token
    whole stride, head_dim;
    const Sequence& s;
    const whole* table;

    __device__ whole slot(whole p) const { return table[p / s.block_size] * s.block_size + p % s.block_size; }
    __device__ const real* at(whole p) const {
        return p < s.cached ? cache + slot(p) * head_dim : fresh + (p - s.cached) * stride;
    }
    __device__ void append(whole p) const {
        const real* from = fresh + (p - s.cached) * stride;
        for (whole i = threadIdx.x; i < head_dim; i += THREADS) cache[slot(p) * head_dim + i] = from[i];
    }
};

// Plain.attention: one block for each new token (x) and query head (y). Each warp takes every 8th key, with an online
// softmax (Milakov and Gimelshein, 1805.02867); in the end the warps' parts are joined.
extern "C" __global__ void attention(const real* q, const real* k, const real* v, real* out, whole q_stride,
                                     whole k_stride, whole v_stride, const whole* owners, const Sequence* sequences,
                                     const whole* tables, whole layer, whole kv_heads, whole head_dim, whole window,
                                     double scale) {
    __shared__ real highest[WARPS], totals[WARPS], mixes[WARPS][WARP * PER_LANE];
    whole token = blockIdx.x, head = blockIdx.y, heads = gridDim.y, kv_head = head / (heads / kv_heads);
    const Sequence s = sequences[owners[token]];
    whole position = s.cached + token - s.row, cache = (layer * kv_heads + kv_head) * s.slots * head_dim;
    Tokens keys = {s.keys + cache, k + s.row * k_stride + kv_head * head_dim, k_stride, head_dim, s, tables + s.table};
    Tokens values = {s.values + cache, v + s.row * v_stride + kv_head * head_dim, v_stride, head_dim, s, keys.table};
    q += token * q_stride + head * head_dim;
    if (head % (heads / kv_heads) == 0) keys.append(position), values.append(position);

    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    real query[PER_LANE], mix[PER_LANE] = {}, most = LOWEST, total = 0;
    #pragma unroll
    for (int n = 0; n < PER_LANE; n++) {
        whole i = lane + n * WARP;
        query[n] = i < head_dim ? q[i] * (real)scale : 0;
    }
    whole first = window && position >= window ? position - window + 1 : 0;
    for (whole p = first + warp; p <= position; p += WARPS) {
        const real *key = keys.at(p), *value = values.at(p);
        real score = 0;
        #pragma unroll
        for (int n = 0; n < PER_LANE; n++) if (lane + n * WARP < head_dim) score += query[n] * key[lane + n * WARP];
        score = warp_sum(score);
        real higher = score > most ? score : most, kept = exp(most - higher), weight = exp(score - higher);
        total = total * kept + weight;
        #pragma unroll
        for (int n = 0; n < PER_LANE; n++)
            if (lane + n * WARP < head_dim) mix[n] = mix[n] * kept + weight * value[lane + n * WARP];
        most = higher;
    }
    for (int n = 0; n < PER_LANE; n++) mixes[warp][lane + n * WARP] = mix[n];
    if (lane == 0) highest[warp] = most, totals[warp] = total;
    __syncthreads();
    real top = LOWEST, sum = 0;
    for (int w = 0; w < WARPS; w++) top = highest[w] > top ? highest[w] : top;
    for (int w = 0; w < WARPS; w++) sum += totals[w] * exp(highest[w] - top);  // a warp without keys: 0 * exp(-inf)
    for (whole i = threadIdx.x; i < head_dim; i += THREADS) {
        real joined = 0;
        for (int w = 0; w < WARPS; w++) joined += mixes[w][i] * exp(highest[w] - top);
        out[(token * heads + head) * head_dim + i] = joined / sum;
    }
}

// Plain.attention again, for prompts: one block for each tile of 32 rows of one sequence (x) and query head (y). Keys
// that a block has copied to shared memory serve all of its rows (Dao et al., FlashAttention, 2205.14135). A warp has
// four of the rows, a lane the scores of one of 32 keys.
constexpr int QUERIES = 32, KEYS = WARP, EACH = QUERIES / WARPS, WIDEST = 1024 / sizeof(real);

// Keys or values of 32 positions from p on; zeros from `end` on. All threads are done with what the tile held before.
__device__ void copy_tile(real (*tile)[WIDEST + 1], const Tokens& tokens, whole p, whole end) {
    __syncthreads();
    for (int n = threadIdx.x / WARP; n < KEYS; n += WARPS) {
        const real* from = tokens.at(p + n);
        for (whole i = threadIdx.x % WARP; i < tokens.head_dim; i += WARP) tile[n][i] = p + n < end ? from[i] : 0;
    }
    __syncthreads();
}

extern "C" __global__ void attention_in_tiles(const real* q, const real* k, const real* v, real* out, whole q_stride,
                                              whole k_stride, whole v_stride, const whole* owners,
                                              const Sequence* sequences, const whole* tables, const whole* tiles,
                                              whole layer, whole kv_heads, whole head_dim, whole window, double scale) {
    __shared__ real tile[KEYS][WIDEST + 1], weights[QUERIES][KEYS];
    whole token = tiles[blockIdx.x], head = blockIdx.y, heads = gridDim.y, kv_head = head / (heads / kv_heads);
    const Sequence s = sequences[owners[token]];
    whole position = s.cached + token - s.row, cache = (layer * kv_heads + kv_head) * s.slots * head_dim;
    Tokens keys = {s.keys + cache, k + s.row * k_stride + kv_head * head_dim, k_stride, head_dim, s, tables + s.table};
    Tokens values = {s.values + cache, v + s.row * v_stride + kv_head * head_dim, v_stride, head_dim, s, keys.table};
    whole left = s.row + s.rows - token, rows = left < QUERIES ? left : QUERIES, end = position + rows;
    if (head % (heads / kv_heads) == 0)
        for (whole p = position; p < end; p++) keys.append(p), values.append(p);

    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const real* queries[EACH];
    real most[EACH], total[EACH] = {}, mix[EACH][WIDEST / WARP] = {};
    #pragma unroll
    for (int e = 0; e < EACH; e++) {  // row e * 8 + warp of the tile; behind the last, that one again
        whole row = e * WARPS + warp < rows ? e * WARPS + warp : rows - 1;
        queries[e] = q + (token + row) * q_stride + head * head_dim;
        most[e] = LOWEST;
    }
    for (whole p = window && position >= window ? position - window + 1 : 0; p < end; p += KEYS) {
        copy_tile(tile, keys, p, end);
        real scores[EACH] = {};
        for (whole i = 0; i < head_dim; i++)
            #pragma unroll
            for (int e = 0; e < EACH; e++) scores[e] += queries[e][i] * tile[lane][i];
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            whole back = position + e * WARPS + warp - (p + lane);  // how far behind its query the key lies
            bool seen = back >= 0 && (!window || back < window);
            real score = seen ? scores[e] * (real)scale : LOWEST, highest = warp_max(score);
            real higher = highest > most[e] ? highest : most[e], kept = exp(most[e] - higher);
            real weight = seen ? exp(score - higher) : 0;
            weights[e * WARPS + warp][lane] = weight;
            total[e] = total[e] * kept + weight;  // of this lane's keys
            for (int i = 0; i < WIDEST / WARP; i++) mix[e][i] *= kept;
            most[e] = higher;
        }
        copy_tile(tile, values, p, end);
        for (int n = 0; n < KEYS; n++)
            #pragma unroll
            for (int i = 0; i < WIDEST / WARP; i++)
                if (i * WARP < head_dim)
                    for (int e = 0; e < EACH; e++) mix[e][i] += weights[e * WARPS + warp][n] * tile[n][i * WARP + lane];
    }
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        whole row = e * WARPS + warp;
        real sum = warp_sum(total[e]);
        #pragma unroll
        for (int i = 0; i < WIDEST / WARP; i++)
            if (row < rows && i * WARP + lane < head_dim)
                out[((token + row) * heads + head) * head_dim + i * WARP + lane] = mix[e][i] / sum;
    }
}
