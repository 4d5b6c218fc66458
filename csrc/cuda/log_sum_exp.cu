// A block takes a tile of rows and goes through tiles of columns: their products are made in registers from slices of
// both in shared memory, used, and forgotten. Forward, rows are queries and columns keys; backward there is a pass in
// which queries are the rows and one in which keys are. Blocks share out the columns too, and what they found of a row is
// added up in the shares' order. No sum's order depends on the GPU.
#include "ops/log_sum_exp.h"

#include "common/exp.h"
#include "cuda/team.h"

namespace ans::cuda {
namespace {

constexpr int kTile = 64;                               // rows and columns of a tile
constexpr int kSlice = 16;                              // values of rows and columns that are in shared memory at a time
constexpr int kTileStride = kTile + 4;                  // so that a column of four rows starts at 16 bytes
constexpr int kOwnRows = 4, kOwnColumns = 8;            // of a thread
constexpr int kGroup = kTile / kOwnColumns;             // threads that share rows: neighbours in a warp
constexpr int kTilesAShare = 8;                         // of keys, for a block of the forward pass
constexpr int kLeastTilesAShare = 4;                    // of columns, for one of a backward pass
constexpr int64_t kBlocks = 512;                        // that keep a GPU busy: a backward pass makes no more by shares
static_assert(kTile / kOwnRows * kGroup == kThreads, "every element of a tile has one thread");

// A matrix [n, dim] of rows or columns, and what each of them brings to the scores and weights of its pairs.
template <typename T>
struct Side {
  const T* values;
  const int64_t* ids;     // or null
  const float* bias;      // added to the score, or null: zeros
  const float* log_sums;  // taken off it, or null; -inf counts as 0
  const float* grad;      // a factor of the weight, or null: 1
  int64_t n;

  __device__ __forceinline__ float offset(int64_t i) const {
    float offset = bias != nullptr ? __ldg(bias + i) : 0.0f;
    if (log_sums != nullptr && __ldg(log_sums + i) != -INFINITY) offset -= __ldg(log_sums + i);
    return offset;
  }
  __device__ __forceinline__ float factor(int64_t i) const { return grad != nullptr ? __ldg(grad + i) : 1.0f; }
  __device__ __forceinline__ float value(int64_t i, int64_t d, int64_t dim) const {
    return i < n && d < dim ? to_float(values[i * dim + d]) : 0.0f;
  }
};

// Where a thread's part of a tile is: rows row … row + 3, columns column, column + 8, …
struct Place {
  int row, column;
};

__device__ __forceinline__ Place place() {
  const int thread = static_cast<int>(threadIdx.x);
  return {thread / kGroup * kOwnRows, thread % kGroup};
}

// sums += the products of four neighbouring rows and the thread's columns, `depth` values each.
template <int kDepth>
__device__ __forceinline__ void multiply(const float* rows, const float* columns, Place own,
                                         float (&sums)[kOwnRows][kOwnColumns]) {
#pragma unroll 4
  for (int k = 0; k < kDepth; ++k) {
    const float4 four = *reinterpret_cast<const float4*>(rows + k * kTileStride + own.row);
    const float left[kOwnRows] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int j = 0; j < kOwnColumns; ++j) {
      const float right = columns[k * kTileStride + own.column + j * kGroup];
#pragma unroll
      for (int i = 0; i < kOwnRows; ++i) sums[i][j] += left[i] * right;
    }
  }
}

// products[i][j] = x_i · y_j of a tile; `shared` has 2 kSlice kTileStride places. All threads of the block come.
template <typename T>
__device__ void multiply_tile(const Side<T>& x, const Side<T>& y, int64_t first_x, int64_t first_y, int64_t dim,
                              Place own, float* shared, float (&products)[kOwnRows][kOwnColumns]) {
  float* const columns = shared + kSlice * kTileStride;
#pragma unroll
  for (int i = 0; i < kOwnRows; ++i)
#pragma unroll
    for (int j = 0; j < kOwnColumns; ++j) products[i][j] = 0.0f;
  for (int64_t start = 0; start < dim; start += kSlice) {
    __syncthreads();
    for (int at = static_cast<int>(threadIdx.x); at < kSlice * kTile; at += kThreads) {
      const int k = at % kSlice, i = at / kSlice;
      shared[k * kTileStride + i] = x.value(first_x + i, start + k, dim);
      columns[k * kTileStride + i] = y.value(first_y + i, start + k, dim);
    }
    __syncthreads();
    multiply<kSlice>(shared, columns, own, products);
  }
}

// Whether a pair of a row and a column counts.
template <typename T>
__device__ __forceinline__ bool counts(const Side<T>& x, const Side<T>& y, int64_t i, int64_t j) {
  return i < x.n && j < y.n && (x.ids == nullptr || __ldg(x.ids + i) != __ldg(y.ids + j));
}

// Σ e^score = e^most · sum, over no scores to begin with.
struct Running {
  float most, sum;
};

__device__ __forceinline__ Running add(Running a, Running b) {
  const float most = a.most > b.most ? a.most : b.most;
  if (most == -INFINITY) return {most, a.sum + b.sum};
  return {most, a.sum * fast_exp(a.most - most) + b.sum * fast_exp(b.most - most)};
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 3) forward_kernel(const Side<T> queries, const Side<T> keys, float scale,
                                                           int64_t dim, Running* shares) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile, share = blockIdx.y;
  const int64_t begin = share * kTilesAShare * kTile;
  const int64_t most_end = begin + kTilesAShare * kTile, end = most_end < keys.n ? most_end : keys.n;
  const Place own = place();
  Running rows[kOwnRows];
#pragma unroll
  for (int i = 0; i < kOwnRows; ++i) rows[i] = {-INFINITY, 0.0f};
  for (int64_t start = begin; start < end; start += kTile) {
    float scores[kOwnRows][kOwnColumns];
    multiply_tile(queries, keys, first, start, dim, own, dynamic_shared<float>(), scores);
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      float most = -INFINITY;
#pragma unroll
      for (int j = 0; j < kOwnColumns; ++j) {
        const int64_t key = start + own.column + j * kGroup;
        scores[i][j] = counts(queries, keys, first + own.row + i, key) ? scores[i][j] * scale + keys.offset(key)
                                                                       : -INFINITY;
        most = scores[i][j] > most ? scores[i][j] : most;
      }
      Running some = {most, 0.0f};
      const float origin = most == -INFINITY ? 0.0f : most;
#pragma unroll
      for (int j = 0; j < kOwnColumns; ++j) some.sum += fast_exp(scores[i][j] - origin);
      rows[i] = add(rows[i], some);
    }
  }
#pragma unroll
  for (int i = 0; i < kOwnRows; ++i) {
#pragma unroll
    for (int offset = kGroup / 2; offset > 0; offset /= 2) {
      const Running other = {__shfl_xor_sync(kAllLanes, rows[i].most, offset),
                             __shfl_xor_sync(kAllLanes, rows[i].sum, offset)};
      rows[i] = add(rows[i], other);
    }
    const int64_t query = first + own.row + i;
    if (own.column == 0 && query < queries.n) shares[share * queries.n + query] = rows[i];
  }
}

__global__ void __launch_bounds__(kThreads) add_kernel(const Running* shares, int64_t n_shares, int64_t n_queries,
                                                       float* log_sums) {
  const int64_t query = thread_of_grid();
  if (query >= n_queries) return;
  Running all = {-INFINITY, 0.0f};
  for (int64_t share = 0; share < n_shares; ++share) all = add(all, shares[share * n_queries + query]);
  log_sums[query] = all.most + logf(all.sum);
}

// gradients[share, i, d] = scale Σ_j weight_ij y_j[d] over the share's columns j, the weights being those of the scores'
// gradients.
template <typename T>
__global__ void __launch_bounds__(kThreads, 3) backward_kernel(const Side<T> x, const Side<T> y, float scale, int64_t dim,
                                                            int64_t columns_a_share, float* gradients) {
  float *const slices = dynamic_shared<float>(), *const weights = slices + 2 * kSlice * kTileStride;
  float* const values = weights + kTile * kTileStride;  // of the columns: [kTile, kTileStride]
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile, first_d = static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t share = blockIdx.z, begin = share * columns_a_share;
  const int64_t end = begin + columns_a_share < y.n ? begin + columns_a_share : y.n;
  const Place own = place();
  float sums[kOwnRows][kOwnColumns] = {};
  for (int64_t start = begin; start < end; start += kTile) {
    float products[kOwnRows][kOwnColumns];
    multiply_tile(x, y, first, start, dim, own, slices, products);
#pragma unroll
    for (int j = 0; j < kOwnColumns; ++j) {
      const int64_t column = start + own.column + j * kGroup;
      float weight[kOwnRows];
#pragma unroll
      for (int i = 0; i < kOwnRows; ++i) {
        const int64_t row = first + own.row + i;
        weight[i] = counts(x, y, row, column)
                        ? fast_exp(products[i][j] * scale + x.offset(row) + y.offset(column)) * x.factor(row) *
                              y.factor(column) * scale
                        : 0.0f;
      }
      *reinterpret_cast<float4*>(weights + (own.column + j * kGroup) * kTileStride + own.row) =
          make_float4(weight[0], weight[1], weight[2], weight[3]);
    }
    for (int at = static_cast<int>(threadIdx.x); at < kTile * kTile; at += kThreads) {
      const int j = at / kTile, d = at % kTile;
      values[j * kTileStride + d] = y.value(start + j, first_d + d, dim);
    }
    __syncthreads();
    multiply<kTile>(weights, values, own, sums);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kOwnRows; ++i) {
#pragma unroll
    for (int j = 0; j < kOwnColumns; ++j) {
      const int64_t row = first + own.row + i, d = first_d + own.column + j * kGroup;
      if (row < x.n && d < dim) gradients[(share * x.n + row) * dim + d] = sums[i][j];
    }
  }
}

__global__ void __launch_bounds__(kThreads) add_gradients_kernel(const float* shares, int64_t n_shares, int64_t size,
                                                                 float* gradients) {
  for (int64_t i = thread_of_grid(); i < size; i += threads_of_grid()) {
    float sum = 0.0f;
    for (int64_t share = 0; share < n_shares; ++share) sum += shares[share * size + i];
    gradients[i] = sum;
  }
}

unsigned tiles(int64_t n) { return blocks_for(n, kTile); }

template <typename T>
Side<T> queries_of(const LogSumExpArgs<T>& a, const float* log_sums, const float* grad) {
  return {a.queries, a.query_ids, nullptr, log_sums, grad, a.n_queries};
}

template <typename T>
Side<T> keys_of(const LogSumExpArgs<T>& a) {
  return {a.keys, a.key_ids, a.key_bias, nullptr, nullptr, a.n_keys};
}

template <typename T>
void backward_pass(const Side<T>& x, const Side<T>& y, float scale, int64_t dim, float* gradients,
                   const Stream& stream) {
  constexpr int shared = (2 * kSlice + 2 * kTile) * kTileStride * static_cast<int>(sizeof(float));
  if (x.n == 0) return;
  const int64_t size = x.n * dim, wanted = kBlocks / (int64_t{tiles(x.n)} * tiles(dim));
  const int64_t even = wanted > 1 ? blocks_for(tiles(y.n), wanted) : tiles(y.n);
  const int64_t columns_a_share = kTile * (even < kLeastTilesAShare ? kLeastTilesAShare : even);
  const unsigned n_shares = y.n == 0 ? 1 : blocks_for(y.n, columns_a_share);
  float* const shares = n_shares == 1 ? gradients : take<float>(stream.memory, n_shares * size);
  ANS_LAUNCH(backward_kernel<T>, dim3(tiles(x.n), tiles(dim), n_shares), dim3(kThreads), shared, stream.stream, x, y,
             scale, dim, columns_a_share, shares);
  if (n_shares == 1) return;
  ANS_LAUNCH(add_gradients_kernel, dim3(grid_for(size, kThreads, 8)), dim3(kThreads), 0, stream.stream, shares, n_shares,
             size, gradients);
}

}  // namespace

template <typename T>
void log_sum_exp(const LogSumExpArgs<T>& a, const Stream& stream) {
  constexpr int shared = 2 * kSlice * kTileStride * static_cast<int>(sizeof(float));
  const unsigned n_shares = blocks_for(tiles(a.n_keys), kTilesAShare);
  Running* const shares = take<Running>(stream.memory, n_shares * a.n_queries);
  if (n_shares > 0) {
    ANS_LAUNCH(forward_kernel<T>, dim3(tiles(a.n_queries), n_shares), dim3(kThreads), shared, stream.stream,
               queries_of(a, nullptr, nullptr), keys_of(a), a.scale, a.dim, shares);
  }
  ANS_LAUNCH(add_kernel, dim3(blocks_for(a.n_queries, kThreads)), dim3(kThreads), 0,
             stream.stream, shares, n_shares, a.n_queries, a.log_sums);
}

template <typename T>
void log_sum_exp_backward(const LogSumExpBackwardArgs<T>& a, const Stream& stream) {
  const LogSumExpArgs<T>& in = a.inputs;
  const Side<T> queries = queries_of(in, in.log_sums, a.grad), keys = keys_of(in);
  backward_pass(queries, keys, in.scale, in.dim, a.grad_queries, stream);
  backward_pass(keys, queries, in.scale, in.dim, a.grad_keys, stream);
}

#define ANS_INSTANTIATE(T)                                                \
  template void log_sum_exp<T>(const LogSumExpArgs<T>&, const Stream&);   \
  template void log_sum_exp_backward<T>(const LogSumExpBackwardArgs<T>&, const Stream&);
ANS_INSTANTIATE(float)
ANS_INSTANTIATE(__nv_bfloat16)
ANS_INSTANTIATE(__half)

}  // namespace ans::cuda
