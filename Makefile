# `make demo` and `make test` are the two commands; both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
NATIVE := $(wildcard native/* native/*/* include/*) CMakeLists.txt pyproject.toml

# Compiled modules and tests are kept: hundreds of tests start a process that imports the package.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-avx2 test-slow figures fuzz lint types format docs axe wasm wheels clean

demo: $(STAMP)
	$(BIN)/hdlif demo

# A process for each core, each with one thread: the tests' tensors are too small to share out. One that dies ends the
# run, with the name of its test; so does a test that hangs (pyproject.toml, tests/time_limits.py).
IN_PROCESSES := -n auto --maxprocesses 8 --dist loadfile --max-worker-restart=0
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(IN_PROCESSES) -o faulthandler_timeout=240 -m "not slow and not peers" $(PYTEST_ARGS) $(TESTS)

# What PyTorch computes, as on a processor with AVX2 alone, by its own switches and oneDNN's. They do not reach the runtime,
# whose tests run each instruction set that the processor has.
test-avx2: export ONEDNN_MAX_CPU_ISA = AVX2
test-avx2: export ATEN_CPU_CAPABILITY = avx2
test-avx2: TESTS = tests/equivalence tests/nn $(wildcard tests/deploy/test_*.py)
test-avx2: test

# What takes longer; and then what measures time or memory, or starts several trainings, where nothing else runs. Pytest
# ends with 5 where it has no test: of one group's files the other has none. Files with few tests, which pytest-xdist would
# begin last, take the longest.
test-slow: $(STAMP)
	@many=0; alone=0; \
	OMP_NUM_THREADS=1 $(BIN)/pytest $(IN_PROCESSES) --no-loadscope-reorder -m "(slow or peers) and not alone" $(PYTEST_ARGS) || many=$$?; \
	$(BIN)/pytest $(IN_PROCESSES) -n 1 -m alone $(PYTEST_ARGS) || alone=$$?; \
	case $$many,$$alone in 0,0 | 0,5 | 5,0) ;; *) exit 1 ;; esac

# The plots of README and docs, from benchmarks/records.
figures: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m figures

# Each target in turn; with atheris (the extra "fuzz") they are guided by coverage.
FUZZ_SECONDS ?= 600
fuzz: $(STAMP)
	for target in tests/fuzz/fuzz_*.py; do OMP_NUM_THREADS=1 $(BIN)/python $$target --seconds $(FUZZ_SECONDS) || exit 1; done

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(shell find native include examples tests/native -name '*.cpp' -o -name '*.hpp' -o -name '*.c' -o -name '*.h' -o -name '*.inl')

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find native include examples tests/native -name '*.cpp' -o -name '*.hpp' -o -name '*.c' -o -name '*.h' -o -name '*.inl')

# The site, into build/site; nothing is fetched, and a broken link ends it.
docs: $(VENV)/docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# What tests look for faults of accessibility with, in the site and in the pages that hdlif writes; it comes by npm.
axe: build/axe/node_modules
build/axe/node_modules:
	npm install --silent --no-audit --no-fund --prefix build/axe 'axe-core@^4.10'

# The requirements of the extra "docs" alone: the package is there.
$(VENV)/docs-installed: $(STAMP)
	$(BIN)/python -m pip install --quiet $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	touch $@

# An editable install: Python sources are read from src/, the extension is rebuilt when native/ changes.
$(STAMP): $(NATIVE)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hdlif needs Python 3.11 or later; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[train,dev]"
	touch $(STAMP)

# The runtime for pages, which is committed; it needs emscripten (Debian: apt-get install emscripten).
wasm:
	emcmake cmake -S . -B build/wasm
	cmake --build build/wasm
	gzip -9nc build/wasm/native/wasm/hdlif.wasm > src/hdlif/deploy/browser/hdlif.wasm.gz
	$(PYTHON) native/wasm/sources.py > native/wasm/sources.sha256

# Wheels for Linux, by zig from PyPI; those that can be are run (docs/reference/targets.md).
wheels:
	$(PYTHON) .ci/wheels.py

clean:
	rm -rf $(VENV) build dist runs
