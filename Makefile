# The two commands of the README are `make demo` and `make test`; every target first makes what it needs.

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt bench docs clean

BIN := .venv/bin
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
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m perfkit.cli.docs --check

fmt: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED)
	$(BIN)/python -m perfkit.cli.docs
	$(BIN)/python -m tests.sessions

bench: $(INSTALLED)
	$(BIN)/python bench/run.py $(BENCH_ARGS)

clean:
	rm -rf .venv demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
