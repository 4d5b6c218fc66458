// Products of matrices small enough for the caches, by one thread: always the same bits.
#pragma once

#include "cpu/pack.h"

namespace ans::cpu {
namespace {

// A matrix: element (i, j) lies at data + i * row + j * column.
template <typename T>
struct Strided {
  const T* data;
  int64_t row, column;
};

// A matrix cut into panels as wide as a register: element (i, j) of a panel lies at data + i * row + j, wherever that is.
template <typename T>
struct Panels {
  const T* data;
  int64_t row, panel;
};

// As many rows of a product as there are registers for, of two panels each.
constexpr int kTileRows = kVectorBytes == 64 ? 12 : 6;

// What becomes of the numbers in c.
enum class Old { replaced, added };

// c[Rows, Count panels] = a[Rows, depth] b[depth, Count panels], or += it; c's rows are `c_row` apart, and aligned.
template <int Rows, int Count, Old old, typename T>
inline void multiply_tile(Strided<T> a, Panels<T> b, int64_t depth, T* c, int64_t c_row) {
  using Vector = typename Pack<T>::Vector;
  const auto at = [=](int i, int v) { return reinterpret_cast<Vector*>(c + i * c_row) + v; };
  Vector sums[Rows][Count];
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < Count; ++v) sums[i][v] = old == Old::added ? *at(i, v) : Vector{};
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[Count];
#pragma GCC unroll 2
    for (int v = 0; v < Count; ++v) right[v] = load<Pack<T>>(b.data + v * b.panel + k * b.row).lanes;
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      const T left = a.data[i * a.row + k * a.column];
#pragma GCC unroll 2
      for (int v = 0; v < Count; ++v) sums[i][v] += left * right[v];
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < Count; ++v) *at(i, v) = sums[i][v];
}

// The same for n ≤ Rows rows.
template <int Rows, int Count, Old old, typename T>
inline void multiply_rows(int64_t n, Strided<T> a, Panels<T> b, int64_t depth, T* c, int64_t c_row) {
  if (n == Rows) multiply_tile<Rows, Count, old>(a, b, depth, c, c_row);
  else if constexpr (Rows > 1) multiply_rows<Rows - 1, Count, old>(n, a, b, depth, c, c_row);
}

// The same for any n and any number of panels. Two panels of b, in the first cache meanwhile, meet all rows.
template <Old old, typename T>
void multiply(int64_t n, int64_t n_panels, int64_t depth, Strided<T> a, Panels<T> b, T* c, int64_t c_row) {
  for (int64_t p = 0; p < n_panels; p += 2) {
    const Panels<T> some = {b.data + p * b.panel, b.row, b.panel};
    for (int64_t i = 0; i < n; i += kTileRows) {
      const int64_t rows = n - i < kTileRows ? n - i : kTileRows;
      const Strided<T> left = {a.data + i * a.row, a.row, a.column};
      T* out = c + i * c_row + p * Pack<T>::size;
      if (p + 1 < n_panels) multiply_rows<kTileRows, 2, old>(rows, left, some, depth, out, c_row);
      else multiply_rows<kTileRows, 1, old>(rows, left, some, depth, out, c_row);
    }
  }
}

}  // namespace
}  // namespace ans::cpu
