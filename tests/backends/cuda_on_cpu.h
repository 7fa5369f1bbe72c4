// CUDA's words for an ordinary C++ compiler, so that kernels.cu itself runs without a GPU: blocks one after another, the
// threads of a block as fibers that take turns at barriers. Slow, and it proves nothing about races between blocks.
#include <cmath>
#include <csetjmp>
#include <csetjmp>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static

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
    static int left, t;  // not in registers, which a jump restores
    static bool begun[THREADS];
    left = THREADS;
    for (t = 0; t < THREADS; t++) {
        done[t] = begun[t] = false;
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = &stacks[t * STACK];
        fibers[t].uc_stack.ss_size = STACK;
        makecontext(&fibers[t], body, 0);
    }
    while (left)
        for (t = 0; t < THREADS; t++) {
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
    for (blockIdx.y = 0; blockIdx.y < y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < x; blockIdx.x++) run_block();
}

template <class... A> void launch(void (*function)(A...), long long x, long long y, const long long* words) {
    launch(function, x, y, words, std::index_sequence_for<A...>());
}
}  // namespace cpu

static void __syncthreads() { cpu::wait(cpu::block, cpu::THREADS); }

template <class T> static T __shfl_xor_sync(unsigned, T value, int distance) {
    int thread = threadIdx.x;
    cpu::Barrier& warp = cpu::warps[thread / cpu::WARP];
    cpu::exchanged[thread] = value;
    cpu::wait(warp, cpu::WARP);
    T other = cpu::exchanged[thread ^ distance];
    cpu::wait(warp, cpu::WARP);
    return other;
}

static float __uint_as_float(unsigned x) { return cpu::as<float>(x); }
static unsigned __float_as_uint(float x) { unsigned y; memcpy(&y, &x, sizeof y); return y; }

#define LAUNCH(name) extern "C" void launch_##name(long long x, long long y, const long long* words) { cpu::launch(name, x, y, words); }
