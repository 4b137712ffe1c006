# Two commands do all the set-up: `make demo` and `make test`. Both make .venv when it is missing.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DONE = $(VENV)/.installed
PROFILE ?= demo

# Threads that wait must not spin: on shared cores spinning made training five times slower.
export OMP_WAIT_POLICY = PASSIVE
export TOKENIZERS_PARALLELISM = false

.PHONY: demo test test-cpus browser pictures lint lab install clean

demo: $(DONE)
	$(BIN)/cslab notebooks --profile $(PROFILE) --otherwise atlas

# Test files are shared out among the cores, one thread each, in the order that tests/conftest.py gives them: with the
# largest first, as xdist would have it, a core waits for the notebooks that another is running.
test: $(DONE) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs --numprocesses logical --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder

# The tests that compare numbers, as other CPUs would compute them: without AVX, without bf16 and AVX-512 instructions,
# and with two threads. `make test` runs them as this CPU does, with one thread. No code asks what the CPU can do, so a
# CPU with bf16 instructions is one more way of rounding and nothing else.
NUMBERS = $(BIN)/python -m pytest -m numbers --numprocesses logical --maxprocesses 4 --dist load
test-cpus: $(DONE)
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 $(NUMBERS)
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 $(NUMBERS)
	OMP_NUM_THREADS=2 $(NUMBERS)

# Of these only widgets and reports in headless Chromium (Debian: apt-get install chromium fonts-dejavu-core).
browser: $(DONE)
	$(BIN)/python -m pytest -rs -m browser

# The README's pictures, anew from what `make demo` has made.
pictures: $(DONE)
	$(BIN)/python -m tests.browser.pictures $(PROFILE)

lint: $(DONE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(DONE)
	$(BIN)/jupyter lab --ip=127.0.0.1 --LabApp.default_url=/lab/tree/notebooks

install: $(DONE)

$(DONE): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13) and f'Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; use: make PYTHON=python3.11')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about 3 GB, 3 to 5 minutes the first time."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,offline]'
	@touch $(DONE)

clean:
	rm -rf $(VENV) outputs
