# Everything that people and continuous integration run.
#
#   make setup        .venv with what the demo, the tests and development need
#   make setup-all    the same with every extra
#   make demo         segment a photo in four ways; pictures go to demo/
#   make test         the tests (make test-slow: those that take minutes)
#   make test-web     the page in a real browser; installs Debian's chromium where it can
#   make check        style, types, import contracts
#   make parity       our networks against recordings of the official ones (DIR=<folder>)
#   make bench        speed, beside a commit (OTHER=<commit>) and other networks; BENCH=<options of benchmarks/speed.py>
#   make clean        remove what the above leave behind, but for .venv
#
# PYTHON=python3.12 chooses the interpreter. TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu takes torch from
# PyTorch's own index, where it is smaller if there is no GPU.

PYTHON ?= python3
DIR ?= ../shared/parity

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
TORCH := $(shell sed -n 's/^\(torch==[^ ;]*\).*/\1/p' constraints.txt)
READY := .venv/.ready
READY_ALL := .venv/.ready-all
READY_WEB := .venv/.ready-web

.DEFAULT_GOAL := help
.PHONY: help setup setup-all demo test test-slow test-web check parity bench clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)
	@echo "Ready: $(BIN)/seem --help, or source $(BIN)/activate and then seem --help"

setup-all: $(READY_ALL)

# torch first and alone: what comes after it finds it there and does not ask for another build.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up .venv ($(TORCH) first; this takes minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(PIP) $(TORCH) $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL))
	@$(PIP) --constraint constraints.txt --editable ".[dev,train,evaluate]"
	@touch $@

$(READY_ALL): $(READY)
	@$(PIP) --constraint constraints.txt --editable ".[dev,all]"
	@touch $@

demo: $(READY)
	@$(BIN)/python -m seem.cli.demo examples/photos/astronaut.jpg demo

test: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

test-slow: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m slow

test-web: $(READY_WEB)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m web tests/web

# A browser, what drives it, and where there is npm axe-core (accessibility), TypeScript (types in comments) and ONNX
# Runtime for browsers (the page without a server).
$(READY_WEB): $(READY)
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing chromium" && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || { \
		echo "make test-web needs Chromium; install it (Debian: apt-get install chromium)"; exit 1; }
	@$(PIP) "playwright>=1.49"
	@if command -v npm >/dev/null; then npm install --silent --no-save --prefix .venv/node axe-core typescript@5 onnxruntime-web@1.30.0; \
		else echo "npm is missing: the tests of accessibility, types and the page without a server will be skipped"; fi
	@touch $@

check: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

parity: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "" tests/parity --parity-dir="$(DIR)"

bench: $(READY)
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python benchmarks/speed.py $(if $(OTHER),--other $(OTHER)) $(BENCH)

clean:
	@rm -rf build dist demo seem-out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
