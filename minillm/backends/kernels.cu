// The kernels of the `cupy` backend. Each is a method of backends/plain.py and has a twin in tests/kernel_twins.py.
//
// kernels.py puts two types before this file: `real`, the type of all computations, and `stored`, the type of weights.
// `read` converts a stored weight to a real number, and `write` converts back. Integers (`whole`) have 64 bits, as
// Python passes them. A `stride` is the distance from one row to the next, in numbers: q, k and v are columns of one
// row, so their rows are not contiguous.

typedef long long whole;

constexpr int THREADS = 256, WARP = 32, WARPS = THREADS / WARP;
constexpr int LARGEST = 256;     // largest head_dim
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

// Plain.embed. One block for each token.
extern "C" __global__ void embed(const stored* embedding, const whole* tokens, real* x, whole dim) {
    const stored* row = embedding + tokens[blockIdx.x] * dim;
    for (whole i = threadIdx.x; i < dim; i += THREADS) x[blockIdx.x * dim + i] = read(row[i]);
}

// layers.rope_cos_sin. One block for each token. Angles are float64, because positions are large.
extern "C" __global__ void cos_sin(const whole* positions, const double* frequencies, real* cosine, real* sine,
                                    whole half) {
    for (whole i = threadIdx.x; i < half; i += THREADS) {
        double angle = positions[blockIdx.x] * frequencies[i];
        cosine[blockIdx.x * half + i] = cos(angle);
        sine[blockIdx.x * half + i] = sin(angle);
    }
}

// layers.rms_norm. One block for each row. A thread keeps its first KEPT numbers, already times their weights, in
// registers while the sum is computed.
constexpr int KEPT = 8;
extern "C" __global__ void rms_norm(const real* x, const real* weight, real* out, whole dim, double eps) {
    x += blockIdx.x * dim, out += blockIdx.x * dim;
    real squares = 0, kept[KEPT];
    #pragma unroll
    for (int n = 0; n < KEPT; n++) {
        whole i = threadIdx.x + n * THREADS;
        real number = i < dim ? x[i] : 0;
        squares += number * number;
        kept[n] = i < dim ? number * weight[i] : 0;
    }
    for (whole i = threadIdx.x + KEPT * THREADS; i < dim; i += THREADS) squares += x[i] * x[i];
    real scale = 1 / sqrt(block_sum(squares) / dim + (real)eps);
    #pragma unroll
    for (int n = 0; n < KEPT; n++)
        if (threadIdx.x + n * THREADS < dim) out[threadIdx.x + n * THREADS] = kept[n] * scale;
    for (whole i = threadIdx.x + KEPT * THREADS; i < dim; i += THREADS) out[i] = x[i] * weight[i] * scale;
}

// Plain.rope and, if there is a weight, Plain.norm_rope. One block for each token, one warp for each head. `out` is
// contiguous.
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

// layers.swiglu. blockIdx.x is the token, blockIdx.y a range of THREADS columns. gate and up have the same stride.
extern "C" __global__ void swiglu(const real* gate, const real* up, real* out, whole stride, whole inner) {
    whole i = blockIdx.y * (whole)THREADS + threadIdx.x, place = blockIdx.x * stride + i;
    if (i >= inner) return;
    real half = (real)0.5 * gate[place];
    out[blockIdx.x * inner + i] = half * (1 + tanh(half)) * up[place];
}

// Convert real numbers to the type in which weights are stored.
extern "C" __global__ void narrow(const real* x, stored* out, whole size) {
    whole i = blockIdx.x * (whole)THREADS + threadIdx.x;
    if (i < size) out[i] = write(x[i]);
}

// Plain.linear for 1 row or for up to 8: out = x @ weight.T (+ bias) (+ residual), with weight [outs, inner]. A warp
// computes one or two columns of the result. It reads their weights once for all rows, four numbers a lane at a time.
// It loads AHEAD of these packs before it uses the first, so that their memory is read at the same time. The numbers of
// x that it reads serve all of its columns. Rows and columns past the last are the last one again, so that the inner
// loops need no conditions.
template <class Kind, int COUNT> struct alignas(COUNT * sizeof(Kind)) Pack { Kind numbers[COUNT]; };
constexpr int PACK = 4;

template <int ROWS, int COLUMNS, int AHEAD>
__device__ void multiply(const real* x, const stored* weight, const real* bias, const real* residual, real* out,
                         whole rows, whole inner, whole outs) {
    whole first = blockIdx.x * (whole)ROWS, column = (blockIdx.y * (whole)WARPS + threadIdx.x / WARP) * COLUMNS;
    int lane = threadIdx.x % WARP, packs = inner % PACK ? 0 : inner / PACK;  // in a row; 0 if they would be misaligned
    const real* row[ROWS];
    const stored* columns[COLUMNS];
    real sums[ROWS][COLUMNS] = {};
    #pragma unroll
    for (int r = 0; r < ROWS; r++) row[r] = x + (first + r < rows ? first + r : rows - 1) * inner;
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) columns[c] = weight + (column + c < outs ? column + c : outs - 1) * inner;
    for (int p = lane; p < packs; p += WARP * AHEAD) {
        Pack<stored, PACK> weights[AHEAD][COLUMNS] = {};
        #pragma unroll
        for (int a = 0; a < AHEAD; a++)
            #pragma unroll
            for (int c = 0; c < COLUMNS; c++)
                if (p + a * WARP < packs) weights[a][c] = ((const Pack<stored, PACK>*)columns[c])[p + a * WARP];
        #pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            int there = p + a * WARP < packs ? p + a * WARP : lane;  // any valid pack: past the last, weights are 0
            #pragma unroll
            for (int r = 0; r < ROWS; r++) {
                Pack<real, PACK> values = ((const Pack<real, PACK>*)row[r])[there];
                #pragma unroll
                for (int c = 0; c < COLUMNS; c++)
                    #pragma unroll
                    for (int i = 0; i < PACK; i++) sums[r][c] += read(weights[a][c].numbers[i]) * values.numbers[i];
            }
        }
    }
    for (whole i = packs * PACK + lane; i < inner; i += WARP)
        #pragma unroll
        for (int r = 0; r < ROWS; r++)
            #pragma unroll
            for (int c = 0; c < COLUMNS; c++) sums[r][c] += read(columns[c][i]) * row[r][i];
    #pragma unroll
    for (int r = 0; r < ROWS; r++)
        #pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            real sum = warp_sum(sums[r][c]);
            if (lane || first + r >= rows || column + c >= outs) continue;
            if (bias) sum += bias[column + c];
            whole place = (first + r) * outs + column + c;
            out[place] = residual ? residual[place] + sum : sum;
        }
}

extern "C" __global__ void one_row(const real* x, const stored* weight, const real* bias, const real* residual,
                                   real* out, whole rows, whole inner, whole outs) {
    multiply<1, 1, 8>(x, weight, bias, residual, out, rows, inner, outs);
}

extern "C" __global__ void few_rows(const real* x, const stored* weight, const real* bias, const real* residual,
                                    real* out, whole rows, whole inner, whole outs) {
    multiply<8, 2, 2>(x, weight, bias, residual, out, rows, inner, outs);
}

// One sequence: its cache, its block table and its rows of the batch.
struct Sequence {
    real *keys, *values;  // addresses of the first layer: [layers, kv_heads, slots, head_dim]
    whole slots;          // slots of one head
    whole block_size;     // token t is in slot table[t / block_size] * block_size + t % block_size
    whole table;          // index of its block table's first entry among all tables
    whole cached;         // tokens that were in the cache before this step
    whole row, rows;      // its new tokens in q, k and v: the first row, and the number of rows
};

// Keys, or values, of one sequence and head. Those of new tokens are read from the projections; they are written to the
// cache but not read from it in this step. Older ones are read from the cache. So no block waits for another.
struct Tokens {
    real* cache;
    const real* fresh;  // the first new token's key or value
    whole stride, head_dim;
    const Sequence& s;
    const whole* table;

    __device__ whole slot(whole p) const {  // a division in 32 bits takes a fraction of the time of one in 64
        unsigned at = p, size = s.block_size;
        return table[at / size] * size + at % size;
    }
    __device__ const real* at(whole p) const {
        return p < s.cached ? cache + slot(p) * head_dim : fresh + (p - s.cached) * stride;
    }
    __device__ void append(whole p) const {
        const real* from = fresh + (p - s.cached) * stride;
        for (whole i = threadIdx.x; i < head_dim; i += THREADS) cache[slot(p) * head_dim + i] = from[i];
    }
};

// Plain.attention: one block for each new token (x) and query head (y). Keys are read in stretches of STRETCH keys, and
// each warp takes every 8th stretch. It keeps an online softmax (Milakov and Gimelshein, 1805.02867): the highest score
// so far, the total of the weights, and the weighted sum of the values (`mix`). At the end the results of all warps are
// combined. The keys of a stretch are loaded at the same time. A lane holds SOME numbers of a head.
struct Parts { real highest[WARPS], totals[WARPS], mixes[WARPS][LARGEST]; };  // the online softmax of each warp

// Return the address that another lane of the warp has looked up.
__device__ const real* from_lane(const real* address, int lane) {
    return (const real*)__shfl_sync(~0u, (whole)address, lane);
}

template <int SOME>
__device__ void attend(const real* q, real* out, const Tokens& keys, const Tokens& values, int first, int position,
                       real scale, Parts& parts) {
    constexpr int STRETCH = 16 / SOME;  // keys read at a time: 16 numbers of keys and 16 of values for each lane
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, head_dim = keys.head_dim;
    real query[SOME], mix[SOME] = {}, most = LOWEST, total = 0;
    #pragma unroll
    for (int n = 0; n < SOME; n++) query[n] = lane + n * WARP < head_dim ? q[lane + n * WARP] * scale : 0;
    for (int stretch = first; stretch <= position; stretch += WARPS * STRETCH) {
        int p = stretch + warp * STRETCH, mine = p + lane % STRETCH < position ? p + lane % STRETCH : position;
        const real *key_at = keys.at(mine), *value_at = values.at(mine);  // each lane looks up one key for all lanes
        real key[STRETCH][SOME], value[STRETCH][SOME], weights[STRETCH], higher = most;
        #pragma unroll
        for (int e = 0; e < STRETCH; e++) {
            const real *k = from_lane(key_at, e), *v = from_lane(value_at, e);
            #pragma unroll
            for (int n = 0; n < SOME; n++) {
                key[e][n] = lane + n * WARP < head_dim ? k[lane + n * WARP] : 0;
                value[e][n] = lane + n * WARP < head_dim ? v[lane + n * WARP] : 0;
            }
        }
        #pragma unroll
        for (int e = 0; e < STRETCH; e++) {
            real score = 0;
            #pragma unroll
            for (int n = 0; n < SOME; n++) score += query[n] * key[e][n];
            score = warp_sum(score);
            weights[e] = p + e <= position ? score : 2 * LOWEST;  // its exp is 0, even if the stretch has no key at all
            higher = weights[e] > higher ? weights[e] : higher;
        }
        real kept = exp(most - higher);
        total *= kept, most = higher;
        #pragma unroll
        for (int n = 0; n < SOME; n++) mix[n] *= kept;
        #pragma unroll
        for (int e = 0; e < STRETCH; e++) {
            real weight = exp(weights[e] - higher);
            total += weight;
            #pragma unroll
            for (int n = 0; n < SOME; n++) mix[n] += weight * value[e][n];
        }
    }
    #pragma unroll
    for (int n = 0; n < SOME; n++) parts.mixes[warp][lane + n * WARP] = mix[n];
    if (lane == 0) parts.highest[warp] = most, parts.totals[warp] = total;
    __syncthreads();
    real top = LOWEST, sum = 0;
    for (int w = 0; w < WARPS; w++) top = parts.highest[w] > top ? parts.highest[w] : top;
    for (int w = 0; w < WARPS; w++) sum += parts.totals[w] * exp(parts.highest[w] - top);  // a warp without keys: 0 * 0
    for (int i = threadIdx.x; i < head_dim; i += THREADS) {
        real joined = 0;
        for (int w = 0; w < WARPS; w++) joined += parts.mixes[w][i] * exp(parts.highest[w] - top);
        out[i] = joined / sum;
    }
}

extern "C" __global__ void attention(const real* q, const real* k, const real* v, real* out, whole q_stride,
                                     whole k_stride, whole v_stride, const whole* owners, const Sequence* sequences,
                                     const whole* tables, whole layer, whole kv_heads, whole head_dim, whole window,
                                     double scale) {
    __shared__ Parts parts;
    int token = blockIdx.x, head = blockIdx.y, heads = gridDim.y, group = heads / (int)kv_heads, kv_head = head / group;
    const Sequence s = sequences[owners[token]];
    whole position = s.cached + token - s.row, cache = (layer * kv_heads + kv_head) * s.slots * head_dim;
    Tokens keys = {s.keys + cache, k + s.row * k_stride + kv_head * head_dim, k_stride, head_dim, s, tables + s.table};
    Tokens values = {s.values + cache, v + s.row * v_stride + kv_head * head_dim, v_stride, head_dim, s, keys.table};
    if (head % group == 0) keys.append(position), values.append(position);
    whole first = window && position >= window ? position - window + 1 : 0;
    q += token * q_stride + head * head_dim;
    out += ((whole)token * heads + head) * head_dim;
    if (head_dim <= 2 * WARP) attend<2>(q, out, keys, values, first, position, scale, parts);
    else if (head_dim <= 4 * WARP) attend<4>(q, out, keys, values, first, position, scale, parts);
    else attend<LARGEST / WARP>(q, out, keys, values, first, position, scale, parts);
}

// Plain.attention for prompts: one block for each query tile of one sequence (x) and query head (y). A query tile has
// 64 rows, in float64 32. A key tile has the keys, or the values, of 32 positions. A block copies it to shared memory,
// where it serves all rows of the query tile (Dao et al., FlashAttention, 2205.14135). A warp computes every 8th row. A
// lane computes the scores of one of the 32 keys.
constexpr int QUERIES = 256 / sizeof(real), KEYS = WARP, EACH = QUERIES / WARPS, WIDEST = 1024 / sizeof(real);
typedef real Tile[KEYS][WIDEST + 1];  // a key tile; one column more, so that lanes read a column from different banks

// Copy the keys or values of 32 positions, from p on, to the tile, and zeros from position `end` on. The first barrier
// waits until all threads are done with the old contents. A warp copies four positions, loaded at the same time.
__device__ void copy_tile(Tile& tile, const Tokens& tokens, int p, int end) {
    constexpr int COPIED = KEYS / WARPS;
    int warp = threadIdx.x / WARP;
    const real* from[COPIED];
    #pragma unroll
    for (int n = 0; n < COPIED; n++) from[n] = tokens.at(p + n * WARPS + warp < end ? p + n * WARPS + warp : end - 1);
    __syncthreads();
    for (int i = threadIdx.x % WARP; i < tokens.head_dim; i += WARP) {
        real numbers[COPIED];
        #pragma unroll
        for (int n = 0; n < COPIED; n++) numbers[n] = p + n * WARPS + warp < end ? from[n][i] : 0;
        #pragma unroll
        for (int n = 0; n < COPIED; n++) tile[n * WARPS + warp][i] = numbers[n];
    }
    __syncthreads();
}

// Add to `scores` the dot products of this lane's key with each of the warp's queries. Queries are read STEP numbers at
// a time.
template <int STEP>
__device__ void dot_products(const real* q, const int* queries, const Tile& tile, int head_dim, real* scores) {
    #pragma unroll 1
    for (int i = 0; i < head_dim; i += STEP)
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            Pack<real, STEP> query = *(const Pack<real, STEP>*)(q + queries[e] + i);
            #pragma unroll
            for (int j = 0; j < STEP; j++) scores[e] += query.numbers[j] * tile[threadIdx.x % WARP][i + j];
        }
}

// Row e * 8 + warp of the query tile is this warp's row e. For each row a lane holds SOME numbers of the weighted sum
// of the values (`mix`). Some loops, here and above, are not unrolled. That leaves registers for a second block on the
// same multiprocessor: one block computes while the other waits for memory.
struct Shared { Tile tile; Pack<real, PACK> weights[QUERIES][KEYS / PACK]; };
template <int SOME>
__device__ void attend_in_tile(const real* q, real* out, const Tokens& keys, const Tokens& values, int position,
                               int rows, int q_stride, int out_stride, int window, real scale, Shared& shared) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, head_dim = keys.head_dim, end = position + rows;
    int queries[EACH];  // offsets of the warp's queries from q
    real most[EACH], total[EACH] = {}, mix[EACH][SOME] = {};
    #pragma unroll
    for (int e = 0; e < EACH; e++) {  // past the last row, the last row again
        queries[e] = (e * WARPS + warp < rows ? e * WARPS + warp : rows - 1) * q_stride;
        most[e] = LOWEST;
    }
    for (int p = window && position >= window ? position - window + 1 : 0; p < end; p += KEYS) {
        copy_tile(shared.tile, keys, p, end);
        real scores[EACH] = {};
        head_dim % PACK ? dot_products<1>(q, queries, shared.tile, head_dim, scores)
                        : dot_products<PACK>(q, queries, shared.tile, head_dim, scores);
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            int back = position + e * WARPS + warp - (p + lane);  // positions from the key to its query
            bool seen = back >= 0 && (!window || back < window);
            real score = seen ? scores[e] * scale : LOWEST, highest = warp_max(score);
            real higher = highest > most[e] ? highest : most[e], kept = exp(most[e] - higher);
            real weight = seen ? exp(score - higher) : 0;
            shared.weights[e * WARPS + warp][lane / PACK].numbers[lane % PACK] = weight;
            total[e] = total[e] * kept + weight;  // over this lane's keys
            #pragma unroll
            for (int i = 0; i < SOME; i++) mix[e][i] *= kept;
            most[e] = higher;
        }
        copy_tile(shared.tile, values, p, end);
        #pragma unroll
        for (int i = 0; i < SOME; i++) {
            if (i * WARP >= head_dim) continue;
            int column = i * WARP + lane;
            #pragma unroll 1
            for (int n = 0; n < KEYS; n += PACK)
                #pragma unroll
                for (int e = 0; e < EACH; e++) {
                    Pack<real, PACK> weights = shared.weights[e * WARPS + warp][n / PACK];
                    #pragma unroll
                    for (int j = 0; j < PACK; j++) mix[e][i] += weights.numbers[j] * shared.tile[n + j][column];
                }
        }
    }
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        int row = e * WARPS + warp;
        real sum = warp_sum(total[e]);
        #pragma unroll
        for (int i = 0; i < SOME; i++)
            if (row < rows && i * WARP + lane < head_dim)
                out[(whole)row * out_stride + i * WARP + lane] = mix[e][i] / sum;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_in_tiles(
        const real* q, const real* k, const real* v, real* out, whole q_stride, whole k_stride, whole v_stride,
        const whole* owners, const Sequence* sequences, const whole* tables, const whole* tiles, whole layer,
        whole kv_heads, whole head_dim, whole window, double scale) {
    __shared__ Shared shared;
    whole token = tiles[gridDim.x - 1 - blockIdx.x];  // last tiles first: they attend over most keys
    int head = blockIdx.y, heads = gridDim.y, group = heads / (int)kv_heads, kv_head = head / group;
    const Sequence s = sequences[owners[token]];
    whole position = s.cached + token - s.row, cache = (layer * kv_heads + kv_head) * s.slots * head_dim;
    Tokens keys = {s.keys + cache, k + s.row * k_stride + kv_head * head_dim, k_stride, head_dim, s, tables + s.table};
    Tokens values = {s.values + cache, v + s.row * v_stride + kv_head * head_dim, v_stride, head_dim, s, keys.table};
    whole left = s.row + s.rows - token, rows = left < QUERIES ? left : QUERIES, stride = heads * head_dim;
    if (head % group == 0)
        for (whole p = position; p < position + rows; p++) keys.append(p), values.append(p);
    q += token * q_stride + head * head_dim;
    out += token * stride + head * head_dim;
    if (head_dim <= 2 * WARP)
        attend_in_tile<2>(q, out, keys, values, position, rows, q_stride, stride, window, scale, shared);
    else if (head_dim <= 4 * WARP)
        attend_in_tile<4>(q, out, keys, values, position, rows, q_stride, stride, window, scale, shared);
    else
        attend_in_tile<WIDEST / WARP>(q, out, keys, values, position, rows, q_stride, stride, window, scale, shared);
}
