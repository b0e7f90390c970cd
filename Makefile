# The first two are all that a fresh machine needs: `make demo`, `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo test cut generate check lint types docs bench clean

VENV ?= .venv
RUN := $(VENV)/bin/python
# The environment is made anew when what it holds changes.
READY := $(VENV)/.ready

help: ## show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml scripts/setup.sh
	sh scripts/setup.sh $(VENV)
	@touch $@

demo: $(READY) ## pull a year of real prices from a misbehaving portal into SQLite, and prove it
	$(RUN) -m examples.ccee_prices

test: $(READY) ## run all tests, with coverage
	sh scripts/servers.sh
	sh scripts/test.sh $(RUN)

cut: $(READY) ## cut SQL and FTP connections at every single byte, which takes long
	ECHO_TEST_CUT_STEP=1 $(RUN) -m pytest -q -n auto $(foreach half,_async _sync,tests/$(half)/test_sql_cut.py tests/$(half)/test_ftp_cut.py)

generate: $(READY) ## write the sync twins
	$(RUN) scripts/unasync.py

check: $(READY) ## fail if the sync twins are not current
	$(RUN) scripts/unasync.py --check

lint: $(READY) ## check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(READY) ## check types
	$(RUN) -m mypy

docs: $(READY) ## build the documentation
	$(RUN) -m sphinx -W -n -E --keep-going -q -b html docs docs/_build/html

bench: $(READY) ## compare with peers, side by side
	$(RUN) -m pip install --quiet --group bench
	sh scripts/servers.sh
	$(RUN) -m benchmarks.imports
	$(RUN) -m benchmarks.sqlite
	$(RUN) -m benchmarks.sql
	$(RUN) -m benchmarks.sql_mysql
	$(RUN) -m benchmarks.http
	$(RUN) -m benchmarks.ftp

clean: ## remove what was made
	rm -rf $(VENV) .servers docs/_build demo-output .coverage* .pytest_cache .mypy_cache .ruff_cache
