# Everything a user or CI needs: `make demo`, `make test`. The virtual environment is made on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo-out
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml check/pyproject.toml constraints.txt
export OMP_NUM_THREADS ?= 1

.PHONY: demo test fuzz lint types contracts bench clean

demo: $(VENV)/.user
	$(BIN)/unmoved demo --out $(OUT) $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# N random nets, trees and graphs (a net takes about 0.03 s): `make fuzz N=100000` for a night
fuzz: $(VENV)/.dev
	FUZZ=$(or $(N),2000) $(BIN)/python -m pytest -n 2 tests/fuzz $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy src/unmoved
	$(BIN)/mypy check/src/unmoved_check

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) $(OUT)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit("unmoved needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# constraints.txt pins a CPU build of torch; without it pip would fetch gigabytes of CUDA packages
$(VENV)/.user: $(VENV)/.made $(SOURCES)
	@echo "installing unmoved and its dependencies into $(VENV) (about a minute)"
	$(PIP) -e ./check -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(SOURCES)
	@echo "installing unmoved with its development tools into $(VENV) (about a minute)"
	$(PIP) -e ./check -e '.[demo,dev]'
	@touch $@ $(VENV)/.user
