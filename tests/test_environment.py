"""One list of dependencies: requirements.txt with hashes, environment.yml, the installed package
and the imports follow it; the wheel carries what the package reads."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[1]
TOML = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = TOML["project"]

# import name -> name in the list, where they differ
NAMES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pillow_heif": "pillow-heif",
    "pytorch_grad_cam": "grad-cam",
    "yaml": "pyyaml",
    "IPython": "jupyterlab",
    "nbformat": "nbconvert",
    "traitlets": "nbconvert",
}


def listed() -> set[str]:
    extra = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    return {re.split(r"[\[<>=!~ ]", r)[0] for r in PROJECT["dependencies"] + extra}


def test_environment_yml_has_no_list_of_its_own():
    environment = yaml.safe_load((TOP / "environment.yml").read_text())
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-e .[test]"]
    assert sorted(re.split("[=<>]", d)[0] for d in plain) == ["pip", "python"]
    (python,) = [d.split("=")[1] for d in plain if d.startswith("python=")]
    lowest = re.search(r">=([\d.]+)", PROJECT["requires-python"])[1]
    assert tuple(map(int, python.split("."))) >= tuple(map(int, lowest.split(".")))[:2]


def locked() -> list[tuple[Requirement, int]]:
    """The lines of requirements.txt, each with how many hashes it has."""
    text = (TOP / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [x for x in text.splitlines() if x.strip() and not x.lstrip().startswith("#")]
    return [(Requirement(x.split("--hash")[0]), x.count("--hash=sha256:")) for x in lines]


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_what_is_installed_has_hashes_and_is_what_the_list_allows(python, platform):
    place = {"python_version": python, "python_full_version": f"{python}.9", "extra": "",
             "sys_platform": platform, "os_name": "nt" if platform == "win32" else "posix",
             "platform_system": {"win32": "Windows"}.get(platform, platform.capitalize())}
    here = [(r, n) for r, n in locked() if r.marker is None or r.marker.evaluate(place)]
    versions = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r, _ in here}
    assert len(versions) == len(here) and all(n > 0 for _, n in here)
    extras = [r for name, group in PROJECT["optional-dependencies"].items() for r in group
              if name not in ("benchmark", "ray")]  # large, and for one experiment, for clusters
    asked = [Requirement(r) for r in PROJECT["dependencies"] + extras]
    for r in (r for r in asked if r.name != "petweak"):
        version = versions.get(canonicalize_name(r.name))
        assert version and r.specifier.contains(version), f"{r}: run `make lock`"


def test_the_makefile_installs_that_list_and_checks_the_form_of_the_code():
    text = (TOP / "Makefile").read_text()
    assert "pip install -q --require-hashes -r requirements.txt\n" in text
    assert "pip install -q --no-deps --no-build-isolation -e .\n" in text
    assert "ruff check ." in text


class Advisories(BaseHTTPRequestHandler):
    """A service that knows one vulnerability, of jinja2 before 3.1.6."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        bad = asked["package"]["name"] == "jinja2" and asked["version"] == "3.1.2"
        events = [{"introduced": "0"}, {"fixed": "3.1.6"}]
        ranges = [{"type": "ECOSYSTEM", "events": events}]
        found = {"id": "PYSEC-0000-1", "summary": "made up",
                 "affected": [{"package": asked["package"], "ranges": ranges}]}
        body = json.dumps({"vulns": [found]} if bad else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("version, code", [("3.1.2", 1), ("3.1.6", 0)])
def test_the_audit_fails_on_a_known_vulnerability(version, code, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"jinja2=={version} --hash=sha256:{'0' * 64}\nabsent==1 ; python_version < '3' "
                    f"--hash=sha256:{'0' * 64}\n", encoding="utf-8")
    service = f"-s osv --osv-url http://127.0.0.1:{server.server_port}/v1/query"
    done = audit(lock, service)
    server.shutdown()
    server.server_close()
    assert done.returncode == code, done.stderr
    assert ("PYSEC-0000-1" in done.stdout) == bool(code)
    assert code or audit(lock, service).returncode == 1  # nobody answers: no all-clear


def audit(lock: Path, service: str) -> subprocess.CompletedProcess:
    """The command of `make audit`, on another list and another service."""
    (command,) = re.findall(r"^audit:.*\n\t\$\(BIN\)/pip-audit (.+) \$\(AUDIT\)$",
                            (TOP / "Makefile").read_text(), re.M)
    words = shlex.split(command.replace("requirements.txt", str(lock))) + shlex.split(service)
    return subprocess.run([sys.executable, "-m", "pip_audit", *words], capture_output=True,
                          text=True, encoding="utf-8", timeout=120)


def wheel(folder: Path, name: str, version: str, code: str = "") -> Path:
    """A package of one module, as a wheel."""
    module, about = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{module}.py", code)
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\n"
                                           f"Version: {version}\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
                                        "Tag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch comes without CUDA")
def test_without_cuda_the_rest_of_the_list_is_installed_with_its_hashes(tmp_path):
    """`make install CPU=1`, but for petweak itself, on stand-ins for PyTorch's index and PyPI."""
    def index(name: str, *wheels: Path) -> str:
        links = "".join(f"<a href='{w.as_uri()}'>{w.name}</a>" for w in wheels)
        (page := tmp_path / name / wheels[0].name.split("-")[0] / "index.html").parent.mkdir()
        page.write_text(links)
        return (tmp_path / name).as_uri()

    (tmp_path / "torch").mkdir(), (tmp_path / "pypi").mkdir()
    nms = "import types\nops = types.SimpleNamespace(nms=lambda *of: None)"
    rand = "rand = lambda *of: None"
    index("torch", wheel(tmp_path / "w", "torch", "2.0.0+cpu", rand),
          wheel(tmp_path / "cuda", "torch", "2.0.0", "raise OSError('libcudart')"))
    of_torch = index("torch", wheel(tmp_path / "w", "torchvision", "0.15.0+cpu", nms))
    rest = wheel(tmp_path / "w", "torchmetrics", "1.0")
    of_pypi = index("pypi", rest)
    right, wrong = hashlib.sha256(rest.read_bytes()).hexdigest(), "0" * 64
    names = ["torch==2.0.0", "torchvision==0.15.0", "nvidia-cublas==1 ; sys_platform == 'linux'",
             "cuda-toolkit==1", "triton==1 ; python_full_version < '3.15'"]
    lines = "".join(f"{n} \\\n    --hash=sha256:{wrong}\n    # via petweak\n" for n in names)
    list_of = f"# made\n{lines}torchmetrics==1.0 \\\n    --hash=sha256:{{}}\n    # via petweak\n"
    shutil.copy(TOP / "Makefile", tmp_path)
    shutil.copy(TOP / "pyproject.toml", tmp_path)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE"))}
    plain |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": of_pypi}
    # pip is lent to the new environment: to unpack one takes longer than all else.
    pip = Path(importlib.util.find_spec("pip").origin).parent
    (python := tmp_path / "python").write_text(
        f"#!/bin/sh\n'{sys.executable}' \"$@\" --without-pip || exit\n"
        f"ln -s '{pip}' $(echo .venv/lib/*/site-packages)\n")
    python.chmod(0o755)

    def commands(*words: str) -> str:
        command = ["make", "-n", "install", f"PYTHON={python}", *words]
        lines = subprocess.check_output(command, cwd=tmp_path, text=True, env=plain)
        return "".join(x for x in lines.splitlines(True) if not x.endswith(" -e .\n"))

    def install(lines: str) -> subprocess.CompletedProcess:
        return subprocess.run(["sh", "-ec", lines], cwd=tmp_path, env=plain, text=True,
                              capture_output=True)

    def there() -> set[str]:
        return {p.name for p in tmp_path.glob(".venv/lib/*/site-packages/*.dist-info")}

    of_cpu = {"torch-2.0.0+cpu.dist-info", "torchvision-0.15.0+cpu.dist-info"}
    (tmp_path / "requirements.txt").write_text(list_of.format(wrong))
    without_cuda = commands("CPU=1", f"TORCH_INDEX={of_torch}")
    done = install(without_cuda)
    assert done.returncode and "HASHES" in done.stderr and of_cpu <= there()
    (tmp_path / "requirements.txt").write_text(list_of.format(right))
    assert commands("CPU=1", f"TORCH_INDEX={of_torch}") == without_cuda
    done = install(without_cuda)
    assert not done.returncode, done.stderr
    assert of_cpu < there() and "torchmetrics-1.0.dist-info" in there()
    assert not [n for n in there() if n.startswith(("nvidia", "cuda", "triton"))]
    # The next time, it is known how the environment was made.
    (tmp_path / ".venv" / ".installed").unlink()
    assert commands(f"TORCH_INDEX={of_torch}") == without_cuda


def test_licences_are_listed():
    command = re.search(r"^licences:.*\n\t\$\(BIN\)/pip-licenses (.+)$",
                        (TOP / "Makefile").read_text(), re.M)[1]
    words = [sys.executable, "-m", "piplicenses", *shlex.split(command), "--packages", "tqdm"]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True)
    assert re.search(r"\| tqdm .*MPL.*MIT", done.stdout)


def test_torch_and_torchvision_are_pinned_as_a_pair():
    pins = dict(
        r.split("==") for r in PROJECT["dependencies"] if r.startswith("torch") and "==" in r
    )
    assert set(pins) == {"torch", "torchvision"}


@pytest.mark.parametrize("folder", ["petweak", "tests"])
def test_whatever_is_imported_is_listed(folder):
    imported = set()
    for path in (TOP / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    draws = ["figures"] * (folder == "tests")  # tests import its modules, the package must not
    beside = [p for at in ("tests", *draws) for p in (TOP / at).rglob("*.py")]
    ours = {"petweak"} | {p.stem for p in beside}
    others = imported - ours - set(sys.stdlib_module_names)
    assert {NAMES.get(n, n).replace("_", "-") for n in others} <= listed()


def test_the_package_holds_its_files_and_no_name_of_one_that_is_gone():
    package = TOP / "petweak"
    patterns = TOML["tool"]["setuptools"]["package-data"]["petweak"]
    matched = [{p for p in package.glob(pattern) if p.is_file()} for pattern in patterns]
    assert all(matched), patterns
    files = {p for p in package.rglob("*.*") if p.suffix not in (".py", ".pyc")}
    files = {p for p in files if p.is_file() and "/." not in str(p.relative_to(TOP))}
    assert files == set().union(*matched)


def test_the_wheel_has_every_package_and_what_lies_beside_them(monkeypatch):
    """setup.py, as a build calls it; tests/hard builds the wheel and runs a study from it."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(TOP)
    runpy.run_path(str(TOP / "setup.py"))
    folders = {p.parent.relative_to(TOP) for p in (TOP / "petweak").rglob("*.py")}
    beside = given["package_dir"]
    assert set(given["packages"]) == {".".join(f.parts) for f in folders} | set(beside)
    files = {f for name, patterns in TOML["tool"]["setuptools"]["package-data"].items()
             if name in beside for p in patterns for f in (TOP / beside[name]).glob(p)}
    assert files >= {*TOP.glob("notebooks/**/[!.]*.ipynb"), *TOP.glob("figures/data/*/*.csv"),
                     *TOP.glob("notebooks/*.md")}


def test_the_command_is_there():
    module, name = PROJECT["scripts"]["petweak"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_modules_that_the_makefile_runs_are_there():
    text = (TOP / "Makefile").read_text()
    modules = set(re.findall(r"python -m (petweak\S+)", text))
    assert modules and all(importlib.util.find_spec(m) for m in modules)
    scripts = re.findall(r"python (\S+\.py)", text)
    assert scripts and all((TOP / script).is_file() for script in scripts)


def test_servers_of_the_makefile_are_for_this_machine_and_ask_for_a_token():
    text = (TOP / "Makefile").read_text(encoding="utf-8")
    (lab,) = re.findall(r"^\t\S*jupyter lab (.*)$", text, re.M)
    (app,) = re.findall(r"^\t\S*voila (.*)$", text, re.M)
    assert "--ServerApp.ip=127.0.0.1" in lab
    assert "--Voila.ip=127.0.0.1" in app and "--Voila.auto_token=True" in app
    assert not re.search(r"allow_(origin|root|remote)|[ .](token|password)=|disable_check", text)


def test_make_clean_leaves_the_users_photos_and_runs():
    text = (TOP / "Makefile").read_text(encoding="utf-8")
    (removed,) = re.findall(r"^clean:\n\trm -rf (.*)$", text, re.M)
    assert set(removed.split()) == {"$(VENV)", "runs/embedded", "data/rendered", "site", "slides"}
