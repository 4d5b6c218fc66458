# Everything from nothing but Python 3.10+, pip and g++. Each target makes its own environment in .venv first; repeated
# runs skip what is done. nvcc is not waited for here: `pip install .` builds the CUDA half wherever nvcc is.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
RUN := $(VENV)/bin/python
export ANS_FAST_CUDA ?= 0

.PHONY: demo test docs torch-headers torch-versions recbole wheel bench gpu-check attack sanitize clean

demo: $(VENV)/.built
	$(RUN) -m ans_fast.demo

test: $(VENV)/.built
	$(VENV)/bin/ruff check .
	$(RUN) -m pytest

# The pages of docs/ and an API reference made of docstrings, in build/docs/index.html. A warning is an error.
docs: $(VENV)/.built
	$(RUN) -m sphinx -q -W --keep-going docs build/docs

# The headers of every torch from 2.10 on, about 500 MB of downloads once; with them `make test` compiles against each.
torch-headers: $(VENV)/.installed
	$(RUN) tests/torch_headers.py

torch-versions: torch-headers $(VENV)/.built
	$(RUN) -m pytest tests/test_torch_versions.py tests/test_cuda_compile.py

# RecBole beside ans_fast, and the plug-in's tests. Its own list of needs has a ray that new Pythons cannot install.
recbole: $(VENV)/.built
	$(RUN) -m pip install -q --no-build-isolation -e ".[recbole]"
	$(RUN) -m pip install -q --no-deps recbole==1.2.1
	$(RUN) -m pytest tests/test_recbole.py tests/test_docs.py -k recbole

# A wheel of this machine's Python in dist/, audited, then installed and run where there is neither compiler nor source.
wheel: $(VENV)/.installed
	rm -rf dist
	$(RUN) -m pip wheel -q --no-deps --no-build-isolation -w dist .
	$(RUN) tests/wheel.py dist/ans_fast-*.whl "$(TORCH)"

bench: $(VENV)/.built
	$(RUN) -m benchmarks.report

# On a machine with a GPU, a CUDA build of torch and nvcc: builds the CUDA half, checks every operator on the GPU, times
# operators, training steps and growing graphs, and writes a report to benchmarks/results, in less than five minutes.
# Installs nothing: without .venv it takes PYTHON as it is. LONGER=4 gives each part four times as long.
LONGER ?= 1
gpu-check:
	$(if $(wildcard $(RUN)),$(RUN),$(PYTHON)) -m benchmarks.gpu --longer $(LONGER)

# Generated attacks on data, flags, files, processes and operators, for so many minutes from a seed.
MINUTES ?= 20
SEED ?= 0
attack: $(VENV)/.built
	$(RUN) -m tests.attack --minutes $(MINUTES) --seed $(SEED)

# The operators' tests, and attacks on them, under AddressSanitizer and UndefinedBehaviorSanitizer, in a build of their
# own. libstdc++ is preloaded too, or AddressSanitizer finds no __cxa_throw to hand exceptions on to. Who asks for more
# memory than there is gets an error, as without it.
sanitize: $(VENV)/.installed
	ANS_FAST_SANITIZE=1 $(RUN) setup.py -q build --build-lib build/sanitized
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4096 \
	  PYTHONPATH=$(CURDIR)/build/sanitized $(RUN) -P -m pytest -o pythonpath= -p no:cacheprovider -m "not compiles" tests/ops tests/test_graph.py \
	  "tests/attack/test_attack.py::test_no_fault[operators]"

clean:
	rm -rf $(VENV) build dist *.egg-info ans_fast/*.so

# The build's needs come first: torch by itself, so that the pinned one is taken, then pip without isolation.
$(VENV)/.installed: pyproject.toml Makefile
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q $(TORCH) "setuptools>=77" wheel pybind11 ninja
	$(RUN) -m pip install -q --no-build-isolation -e ".[dev]"
	touch $@

$(VENV)/.built: $(VENV)/.installed setup.py $(shell find csrc -type f)
	$(RUN) setup.py -q build_ext --inplace
	touch $@
