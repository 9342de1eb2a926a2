# The two commands of the README, `make demo` and `make test`; CI calls the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test install notebooks figures clean

demo: $(READY)
	$(BIN)/petweak notebooks --profile embedded --run runs/embedded
	$(BIN)/petweak study --profile embedded --run runs/embedded

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q

install: $(READY)

# Installed anew when the list of dependencies changes.
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e .[test]
	$(BIN)/python -c "import torch, torchvision; torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)" \
	  || (echo "torch and torchvision do not match: pip install --force-reinstall -e .[test]"; exit 1)
	touch $@

# Before a commit: the notebooks with their outputs, and what the README shows.
notebooks: $(READY)
	$(BIN)/python -m petweak.notebooks
	$(BIN)/python -m petweak.notebooks --solutions

figures: $(READY)
	$(BIN)/python -m petweak.figures

clean:
	rm -rf $(VENV) runs data
