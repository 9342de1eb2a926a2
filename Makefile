# The commands of the README, `make demo` and `make test`; CI calls the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test test-hard test-browser test-gpu test-ray mutants lab app install lock audit licences notebooks \
  slides figures docs clean

# Which finished run `make app` shows: make app RUN=runs/mine
RUN ?= runs/embedded
# Photos that are uploaded go through the server as one message; its limit is 10 MB otherwise.
LARGE := {"websocket_max_message_size": 100000000}

# Two notebooks at once, each with half of the cores: small networks gain little from more threads.
demo: $(READY)
	$(BIN)/petweak notebooks --profile embedded --run runs/embedded --jobs 2
	$(BIN)/petweak study --profile embedded --run runs/embedded

# Two processes at once, with a core each: small tests gain nothing from threads.
test: $(READY)
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --processes 2

# What takes minutes: kills, failing writes, mutated inputs. Writes tests/RELIABILITY.md. Full disks
# and the rest side by side, on a core each.
HARD := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/hard
test-hard: $(READY)
	$(HARD)/test_full_disk.py & full=$$!; \
	$(HARD) --ignore=tests/hard/test_full_disk.py; rest=$$?; \
	wait $$full && exit $$rest

# Small changes of the code that numbers come from, one at a time: at least nine in ten have to make
# a test fail. Some 25 minutes; Linux and macOS. What survives is judged in tests/mutants/.
mutants: $(READY)
	$(BIN)/python -m pip install -q -e .[mutants]
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/python -m pytest -q tests/mutants

# The explorers in JupyterLab and Voilà, by a headless Chromium; skipped where there is none.
test-browser: $(READY)
	$(BIN)/petweak study --profile embedded --run runs/embedded
	$(BIN)/python -m pytest -q -rs tests/browser

# Every stage on a CUDA GPU beside the CPU; each test is skipped, with its reason, where there is none. The
# benchmark is timed against other packages, which are installed first: make test-gpu OFFLINE=1 takes
# those that are there, and skips its test otherwise.
test-gpu: $(READY)
ifneq ($(OFFLINE),1)
	$(BIN)/python -m pip install -q -e .[benchmark]
endif
	$(BIN)/python -m pytest -q -rs tests/gpu

# Study, sweep and experiment on a Ray cluster of two workers, one of which is killed. `make test` skips
# this where Ray is not installed: it is large, and for clusters alone.
test-ray: $(READY)
	$(BIN)/python -m pip install -q -e .[ray]
	$(BIN)/python -m pytest -q -rs tests/study/test_on_ray.py

lab: $(READY)
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.tornado_settings='$(LARGE)' notebooks/00_start_here.ipynb

# The explorers without code, in a browser. Both servers listen on this machine alone, and ask for a
# token, which Voilà would not by itself: another user of the machine could run code as you.
app: $(READY)
	test -f $(RUN)/results.csv || (echo "$(RUN) has no finished run: make demo first"; exit 1)
	$(BIN)/papermill --prepare-only notebooks/explorers.ipynb $(RUN)/explorers.ipynb -p run $(abspath $(RUN))
	$(BIN)/voila --Voila.ip=127.0.0.1 --Voila.auto_token=True --Voila.tornado_settings='$(LARGE)' $(RUN)/explorers.ipynb

install: $(READY)

# make install CPU=1: of torch and torchvision the wheels without CUDA, in place of those of the list
# and of NVIDIA's libraries, which Linux alone gets by default. That leaves a third of the size, by the
# computation in notebooks/guide.md; it was not measured. pip compares the wheels with the hashes of
# their index, as the list knows other files of theirs; the rest has the list's. An environment that
# was made so stays so.
CPU ?= $(if $(wildcard $(VENV)/.cpu),1)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -nE 's/^(torch|torchvision)==([^ ]+).*/\1==\2+cpu/p' requirements.txt)
CUDA := ^(torch|torchvision|triton|nvidia-.*|cuda-.*)==

# Installed again when the list of dependencies changes: every file of it has the hash that it had
# when the list was made. Where that list has none (another platform, a mirror that builds its own
# wheels): pip install -e .[test], which takes what pyproject.toml allows.
$(READY): pyproject.toml requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(CPU),1)
	$(BIN)/python -m pip install -q --no-deps --index-url $(TORCH_INDEX) $(TORCH)
	awk '/^[^ #]/ {of_cuda = /$(CUDA)/} !of_cuda' requirements.txt > $(VENV)/requirements.txt
	$(BIN)/python -m pip install -q --require-hashes -r $(VENV)/requirements.txt
	touch $(VENV)/.cpu
else
	$(BIN)/python -m pip install -q --require-hashes -r requirements.txt
endif
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	$(BIN)/python -c "import torch, torchvision; torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)" \
	  || (echo "torch and torchvision do not match: pip install --force-reinstall -e .[test]"; exit 1)
	touch $@

# After a change of pyproject.toml; what it allows stays as it was, unless UPGRADE=--upgrade. All
# extras but benchmark and ray, for Linux, macOS and Windows and every Python from 3.11 on.
lock:
	$(BIN)/uv pip compile -q $(UPGRADE) pyproject.toml --extra test --extra mutants --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" -o requirements.txt

# Known vulnerabilities of what is installed. It asks PyPI's advisories over the network, and fails
# where they cannot be had: AUDIT="-s osv --osv-url URL" asks another service.
audit: $(READY)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.txt $(AUDIT)

# Whose work this stands on: every package of the environment with its licence.
licences: $(READY)
	$(BIN)/pip-licenses --from=mixed --order=license --format=markdown --with-urls

# Before a commit: the notebooks with their outputs, and what README.md and figures/ show.
notebooks: $(READY)
	$(BIN)/python -m petweak.reporting.notebooks
	$(BIN)/python -m petweak.reporting.notebooks --solutions

# Two chapters for a lecture: slides/*.html. Cells say by their metadata on which slide they are; of
# those tagged `hide-input`, only the output is shown. They load reveal.js and MathJax from the web.
# The template gives figures their alternative texts, which nbconvert's own leaves out.
slides: $(READY)
	$(BIN)/jupyter nbconvert --to slides --output-dir slides --SlidesExporter.reveal_scroll=True \
	  --SlidesExporter.reveal_width=1280 --SlidesExporter.reveal_height=800 \
	  --template-file petweak/reporting/templates/described.html.j2 \
	  --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_input_tags=hide-input \
	  notebooks/04_*.ipynb notebooks/07a_*.ipynb

figures: $(READY)
	$(BIN)/python figures/draw.py
	$(BIN)/python figures/benchmark.py

# The API pages: site/index.html, from the docstrings.
docs: $(READY)
	$(BIN)/python -m pdoc petweak --docformat google --no-show-source -o site

# What make itself made: other runs, and photos in data/, are the user's.
clean:
	rm -rf $(VENV) runs/embedded data/rendered site slides
