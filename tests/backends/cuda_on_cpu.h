// CUDA's words for an ordinary C++ compiler, so that kernels.cu itself runs without a GPU: blocks one after another, the
// threads of a block as fibers that take turns at barriers. Both in random order, and each block finds NaN in its shared
// memory: so a block that reads what another writes, or a thread that does not wait for others, reads what is not there
// yet. Two things do not show: blocks that write to one place at the same instant, and how fast anything is.
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <utility>
#include <vector>
#include <ucontext.h>

#define __global__
#define __device__
#define __launch_bounds__(threads, blocks)
#define __shared__ static __attribute__((section("shared_memory")))
extern "C" __attribute__((visibility("hidden"))) char __start_shared_memory[], __stop_shared_memory[];  // by the linker

struct Index { unsigned x, y; };
static Index threadIdx, blockIdx, gridDim;

namespace cpu {
constexpr int THREADS = 256, WARP = 32, STACK = 1 << 16;
static ucontext_t started, fibers[THREADS];
static jmp_buf scheduler, paused[THREADS];  // swapcontext would ask the system at every turn; it is for the start alone
static bool done[THREADS];
static std::vector<char> stacks(THREADS * STACK);
static std::function<void()> kernel;
static double exchanged[THREADS];
static std::minstd_rand dice;

struct Barrier { int arrived = 0, round = 0; };
static Barrier block, warps[THREADS / WARP];

static void wait(Barrier& barrier, int threads) {
    int mine = barrier.round, thread = threadIdx.x;
    if (++barrier.arrived == threads) barrier.arrived = 0, barrier.round++;
    while (barrier.round == mine)
        if (!_setjmp(paused[thread])) _longjmp(scheduler, 1);
}

static void body() {
    kernel();
    done[threadIdx.x] = true;
    _longjmp(scheduler, 1);
}

static void run_block() {
    static int left, turn, t, first, step;  // not in registers, which a jump restores
    static bool begun[THREADS];
    left = THREADS;
    memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
    first = dice() % THREADS;
    step = dice() % THREADS | 1;  // odd: all threads get their turn
    for (t = 0; t < THREADS; t++) {
        done[t] = begun[t] = false;
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = &stacks[t * STACK];
        fibers[t].uc_stack.ss_size = STACK;
        makecontext(&fibers[t], body, 0);
    }
    while (left)
        for (turn = 0; turn < THREADS; turn++) {
            t = (first + turn * step) % THREADS;
            if (done[t]) continue;
            threadIdx.x = t;
            if (!_setjmp(scheduler)) {
                if (begun[t]) _longjmp(paused[t], 1);
                begun[t] = true;
                swapcontext(&started, &fibers[t]);
            }
            left -= done[t];
        }
}

template <class T> T as(long long word) {
    T value;
    memcpy(&value, &word, sizeof value);
    return value;
}

template <class... A, size_t... N>
void launch(void (*function)(A...), long long x, long long y, const long long* words, std::index_sequence<N...>) {
    kernel = [=] { function(as<A>(words[N])...); };
    gridDim = {(unsigned)x, (unsigned)y};
    std::vector<unsigned> order(x * y);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), dice);
    for (unsigned block : order) blockIdx = {unsigned(block % x), unsigned(block / x)}, run_block();
}

template <class... A> void launch(void (*function)(A...), long long x, long long y, const long long* words) {
    launch(function, x, y, words, std::index_sequence_for<A...>());
}
}  // namespace cpu

static void __syncthreads() { cpu::wait(cpu::block, cpu::THREADS); }

template <class T> static T __shfl_sync(unsigned, T value, int lane) {
    int thread = threadIdx.x;
    cpu::Barrier& warp = cpu::warps[thread / cpu::WARP];
    cpu::exchanged[thread] = value;
    cpu::wait(warp, cpu::WARP);
    T other = cpu::exchanged[thread / cpu::WARP * cpu::WARP + lane];
    cpu::wait(warp, cpu::WARP);
    return other;
}

template <class T> static T __shfl_xor_sync(unsigned mask, T value, int distance) {
    return __shfl_sync(mask, value, threadIdx.x % cpu::WARP ^ distance);
}

static float __uint_as_float(unsigned x) { return cpu::as<float>(x); }
static unsigned __float_as_uint(float x) { unsigned y; memcpy(&y, &x, sizeof y); return y; }

#define HALVES  // in place of PTX: 10 bits of 16 are the fraction, 5 the exponent, in steps of 2^-24 where that is 0
static float half_to_float(unsigned short x) {
    int exponent = x >> 10 & 31, fraction = x & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent     ? ldexpf(1024 + fraction, exponent - 25)
                                : ldexpf(fraction, -24);
    return x >> 15 ? -size : size;
}
static unsigned short float_to_half(float x) {
    int exponent = -13, sign = std::signbit(x) << 15;
    if (std::isnan(x)) return sign | 0x7e00;
    if (fabsf(x) >= ldexpf(1, -14)) frexpf(x, &exponent);
    if (exponent > 16 || std::isinf(x)) return sign | 0x7c00;
    return sign | (((exponent + 13) << 10) + (int)nearbyintf(ldexpf(fabsf(x), 11 - exponent)));  // to the even one of two
}

#define LAUNCH(name) extern "C" void launch_##name(long long x, long long y, const long long* words) { cpu::launch(name, x, y, words); }
