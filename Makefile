# make demo   the whole loop on a make-believe plant          make test   everything that can be tested here
# make check  lint, types, units, samples, generated files    make help   the rest
PY      ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
ARGS    ?=
export ORT_DISABLE_TELEMETRY := 1
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: help bench bench-quick demo test test-quick torture check format gate-coverage counterparts generate models lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PY) -m venv $(VENV)

$(VENV)/demo.ok: $(BIN)/python pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[demo]'
	@touch $@

$(VENV)/dev.ok: $(BIN)/python pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[demo,pool,models,vision,dev]'
	@touch $@ $(VENV)/demo.ok

demo: $(VENV)/demo.ok ## run the whole loop on a make-believe plant; ARGS=--keep-running stays up
	$(BIN)/edge-agent demo $(ARGS)

counterparts: ## install the servers that the integration tests talk to (Debian: mosquitto, systemd; npm: node-opcua)
	tests/counterparts/install.sh

test: $(VENV)/dev.ok counterparts ## all tests, with real counterparts
	$(BIN)/python -m pytest $(ARGS)
	@$(MAKE) --no-print-directory gate-coverage

test-quick: $(VENV)/dev.ok ## unit tests only
	$(BIN)/python -m pytest -m 'not integration and not slow and not torture' $(ARGS)

LONG = nice $(BIN)/python -m pytest -m "torture or control" --figures docs/promises.json $(ARGS)
torture: $(VENV)/dev.ok counterparts ## kill it, cut its power, fill its disk, again and again; figures into docs/promises.md; as root, most of an hour
	@rm -f docs/promises.json; mkdir -p build
	$(LONG) tests/fault/storage > build/torture-storage.log 2>&1 & storage=$$!; \
	  $(LONG) tests --ignore tests/fault/storage; plant=$$?; \
	  wait $$storage; storage=$$?; cat build/torture-storage.log; \
	  $(BIN)/python -m tests.fault.promises && exit $$((plant + storage))

bench: $(VENV)/dev.ok counterparts ## ours beside the floor and the peers; writes docs/performance.md; 15 minutes on a quiet machine; ARGS="--resume"
	-$(BIN)/python -m bench.peers
	$(BIN)/python -m bench --write docs/performance.md $(ARGS)

bench-quick: $(VENV)/dev.ok counterparts ## a report of the main figures in two minutes; never fails on a figure
	$(BIN)/python -m bench --quick $(ARGS)

gate-coverage: $(VENV)/dev.ok ## every branch of the gate is tested
	$(BIN)/coverage erase
	$(BIN)/coverage run --branch --source edge_agent.execute.gate -m pytest -q tests/execute/gate -m 'not slow'
	$(BIN)/coverage report --show-missing --fail-under=100

generate: $(VENV)/dev.ok ## write what is made from the code: schema, docs/config.md, docs/cli.md, docs/metrics.md
	$(BIN)/python -m edge_agent.cli.generate

check: $(VENV)/dev.ok ## lint, types, sample configurations, units, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/edge-agent check --no-secrets configs/*.yaml
	$(BIN)/python -m edge_agent.cli.generate --check
	systemd/verify.sh

format: $(VENV)/dev.ok ## mend what a formatter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

models: $(BIN)/python ## train every bundle anew; DATA=folder that holds the public data sets
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train]'
	$(BIN)/python models/demo-pump/train.py
	$(BIN)/python models/pump-valve/train.py --data $(DATA)/skab
	$(BIN)/python models/rotor-imbalance/train.py --data $(DATA)/uci_accelerometer
	$(BIN)/python models/process-faults/train.py --data $(DATA)/tep
	$(BIN)/python models/hydraulic-rig/train.py --data $(DATA)/uci_hydraulic_1hz
	$(BIN)/python models/steel-surface/train.py --data $(DATA)/xsdd

lock: $(VENV)/dev.ok ## pin what was resolved today
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url --extra demo --extra pool --extra models \
	  --extra vision --extra dev --output-file requirements.lock pyproject.toml

clean: ## forget everything that was built
	rm -rf $(VENV) build dist tests/counterparts/node_modules .coverage
