# The commands of the README. Each sets up .venv by itself on first use and is quick afterwards.
PYTHON  ?= python3
PROFILE ?= quick
# Passed on to the command that a target runs:   make test ARGS="-k motion"   make reproduce ARGS="--only 03"
ARGS    ?=

# What the default profile and the tests need.
EXTRAS     := clip,offline,table1,download,dev
BIN        := .venv/bin
NOTEBOOKS  := $(wildcard notebooks/*.ipynb)
NBSTRIPOUT := $(BIN)/nbstripout --keep-id \
              --extra-keys "metadata.language_info.version metadata.papermill cell.metadata.papermill"

.DEFAULT_GOAL := help
.PHONY: help reproduce reproduce-seeds figures test test-slow lab lint format clean distclean

# glibc hands large activations back to the system after each use and asks for them again, which costs half of the time
# on a CPU. These thresholds make it keep them.
reproduce reproduce-seeds lab: export MALLOC_MMAP_THRESHOLD_ := 4294967296
reproduce reproduce-seeds lab: export MALLOC_TRIM_THRESHOLD_ := 4294967296
reproduce reproduce-seeds lab: export MALLOC_TOP_PAD_ := 268435456

help: ## list the targets
	@echo 'make TARGET [PROFILE=$(PROFILE)] [ARGS="..."] [PYTHON=$(PYTHON)]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

reproduce: .venv/.installed ## run every notebook of a profile, publish figures/<profile>/
	$(BIN)/moclip reproduce --profile $(PROFILE) $(ARGS)

reproduce-seeds: .venv/.installed ## repeat the trainings of a profile over more seeds
	$(BIN)/moclip seeds --profile $(PROFILE) $(ARGS)

figures: .venv/.installed ## publish tables and figures again from what is in runs/
	$(BIN)/moclip figures --profile $(PROFILE) $(ARGS)

test: .venv/.installed ## run the tests, but for those that take long
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: .venv/.installed ## run the tests that take long
	$(BIN)/python -m pytest -m slow $(ARGS)

lab: .venv/.installed ## open the notebooks in JupyterLab
	cd notebooks && ../$(BIN)/jupyter lab $(ARGS)

lint: .venv/.installed ## check style, types, and that notebooks hold no outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(NOTEBOOKS),$(NBSTRIPOUT) --verify $(NOTEBOOKS))

format: .venv/.installed ## mend what lint finds, where a tool can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(if $(NOTEBOOKS),$(NBSTRIPOUT) $(NOTEBOOKS))

clean: ## delete what runs and tools wrote: runs/ data/ cache/ (not figures/, not .venv)
	rm -rf runs data cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

distclean: clean ## clean, and delete .venv
	rm -rf .venv

# The stamp .installed is written only after pip has succeeded. .unfinished stands from before the first file until then:
# pip cannot tell a package that it had half copied when it was killed from a whole one, so such an environment is made
# anew. Where pip itself gives up on an update (no network, say), the environment is whole and is kept.
# The lock is on a file that is there anyway. pip inherits it, so that one whose make was killed is waited for.
.venv/.installed: pyproject.toml
	@exec 9<pyproject.toml; \
	if command -v flock >/dev/null && ! flock -n 9; then \
	  echo "Another installation into .venv is at work; waiting for it to end."; flock 9; \
	fi; \
	if [ $@ -nt pyproject.toml ] && [ ! -e .venv/.unfinished ]; then exit 0; fi; \
	if [ -e .venv/.unfinished ] || ! $(BIN)/python -c "import pip" 2>/dev/null; then \
	  $(CHECK_PYTHON) \
	  rm -rf .venv && mkdir .venv && : >.venv/.unfinished && "$(PYTHON)" -m venv .venv || exit 1; \
	fi; \
	: >.venv/.unfinished; \
	echo "Installing moclip and what it stands on into .venv: about 7 GB, 3 to 5 minutes, the last of them in silence."; \
	if ! $(BIN)/python -m pip install --disable-pip-version-check -e ".[$(EXTRAS)]"; then \
	  if [ -e $@ ]; then rm .venv/.unfinished; fi; \
	  echo "The installation failed; pip says why above. The same command starts it again." >&2; exit 1; \
	fi; \
	rm .venv/.unfinished && : >$@

define CHECK_PYTHON
found=$$("$(PYTHON)" -c "import sys; print('%d.%d' % sys.version_info[:2])" 2>/dev/null); \
case "$$found" in \
  "") problem="PYTHON=$(PYTHON) does not start" ;; \
  [0-2].*|3.[0-9]|3.10) problem="$(PYTHON) is Python $$found" ;; \
  *) problem=; "$(PYTHON)" -c "import ensurepip, venv" 2>/dev/null || \
     problem="$(PYTHON) has no venv module (Debian, Ubuntu: apt install python$$found-venv)" ;; \
esac; \
if [ -n "$$problem" ]; then \
  echo "moclip needs Python 3.11 or newer, and $$problem." >&2; \
  echo "Name another one:   make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; \
fi;
endef
