# `make demo` and `make test` need only python3 (>= 3.11) and make: all else goes into .venv.
# A C++ compiler is used where there is one; without, all works but the native kernel.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
KERNEL := CMakeLists.txt $(wildcard cpp/*.cpp cpp/*.hpp)
CPP := $(wildcard cpp/*.cpp cpp/*.hpp cpp/tests/*.cpp cpp/tests/*.hpp)
SANITIZE := off address,undefined thread

.PHONY: demo test check sanitize format clean
# The build tools go into .venv, pinned like all else, and not into a throw-away folder of pip's: so only what changed
# in cpp/ is compiled again.
.venv/tools: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cellgate needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv .venv
	$(PIP) cmake nanobind ninja scikit-build-core
	@touch $@

# The module that is there goes first: it must not stand in for one that fails to build. So does a build folder that was
# never set up whole: CMake would remember that there was no compiler. What Cellgate needs comes in a step of its own:
# some of it is built from source by tools that are not in .venv.
.venv/installed: .venv/tools pyproject.toml $(KERNEL)
	@ls build/cp*/build.ninja >/dev/null 2>&1 || rm -rf build/cp*
	@rm -f src/cellgate/kernel/_native.*.so
	$(PIP) --no-build-isolation --no-deps -e .
	$(PIP) 'cellgate[train,bench,dev]'
	@ls src/cellgate/kernel/_native.*.so >/dev/null 2>&1 || \
		echo 'Installed without the native kernel. To see why: CELLGATE_REQUIRE_KERNEL=1 make -B .venv/installed'
	@touch $@

demo: .venv/installed
	$(BIN)/python -m cellgate.samples.demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/installed
	$(BIN)/ruff format --check src tests
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The kernel's own test, which has no Python in it: as it is, and under the compiler's sanitizers.
sanitize: $(SANITIZE:%=sanitize-%)
$(SANITIZE:%=sanitize-%): sanitize-%: .venv/tools
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --log-level=NOTICE -G Ninja -S . -B build/$@ -DSANITIZE=$*
	$(BIN)/cmake --build build/$@ -- --quiet
	build/$@/recurrence_test

format: .venv/installed
	$(BIN)/ruff format src tests
	$(BIN)/clang-format -i $(CPP)
	$(BIN)/ruff check --fix src tests

clean:
	rm -rf .venv build demo src/cellgate/kernel/_native.*.so
