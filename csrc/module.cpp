// The Python module: build_info() alone, since all else lies in libraries that serve every Python.
#include <pybind11/pybind11.h>

#include "cpu/simd.h"

namespace ans {
namespace {

pybind11::dict build_info() {
  pybind11::list levels;
#define ANS_APPEND_LEVEL(level, unused) levels.append(#level);
  ANS_FOR_EACH_LEVEL(ANS_APPEND_LEVEL, 0)
  pybind11::dict info;
  info["version"] = ANS_VERSION;
  info["torch"] = ANS_TORCH;
  info["compiler"] = __VERSION__;
  info["simd"] = levels;
  info["simd_in_use"] = cpu::simd_level_name(cpu::simd_level());
  info["cuda"] = *ANS_CUDA ? pybind11::object(pybind11::str(ANS_CUDA)) : pybind11::none();
  info["cuda_architectures"] = pybind11::str(ANS_CUDA_ARCHITECTURES).attr("split")();
  return info;
}

}  // namespace
}  // namespace ans

PYBIND11_MODULE(_C, m) { m.def("build_info", &ans::build_info, "What this build was made with, as a dict."); }
