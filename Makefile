# The two commands of the README are `make demo` and `make test`; every target first makes what it needs.

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt bench docs clean

PYTHON := .venv/bin/python
INSTALLED := .venv/.installed
# Tests of one file take from a second to minutes, so a process that is done takes over from the others.
PARALLEL := -n auto --dist worksteal

help:
	@echo "make demo    take a capture, ingest it, show the hottest functions, draw a flame graph in demo/"
	@echo "make test    run all tests            (PYTEST_ARGS='-k perf_script -x' is passed on)"
	@echo "make check   hold format, lint rules, types and generated pages"
	@echo "make fmt     format the code and mend what the lint rules can mend"
	@echo "make docs    write the generated pages in docs/, and the output of sessions in documents"
	@echo "make bench   measure against perf script and others (BENCH_ARGS is passed on)"
	@echo "make clean   remove everything that these make"

$(INSTALLED): pyproject.toml constraints.txt scripts/venv.sh
	@scripts/venv.sh
	@touch $@

demo: $(INSTALLED)
	@scripts/demo.sh

test: $(INSTALLED)
	@scripts/debian-tools.sh
	$(PYTHON) -m pytest $(PARALLEL) $(PYTEST_ARGS)

check: $(INSTALLED)
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PYTHON) -m perfkit.cli.docs --check

fmt: $(INSTALLED)
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

docs: $(INSTALLED)
	$(PYTHON) -m perfkit.cli.docs
	$(PYTHON) -m tests.sessions

bench: $(INSTALLED)
	$(PYTHON) bench/run.py $(BENCH_ARGS)

clean:
	rm -rf .venv demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
