"""The same commands on a Ray cluster: the same numbers, whatever fails or is lost on the way."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
import torch
from conftest import small
from few import few_photos
from run_content import content

from petweak.__main__ import main
from petweak.data.files import read_json
from petweak.experiments import run_experiment
from petweak.reporting.notebooks import NotebookError
from petweak.reporting.sweep import sweep
from petweak.study import tasks
from petweak.study.results import read_results, run_study
from petweak.study.run import Run
from petweak.study.tasks import Unmade, ahead, cluster, failures

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install petweak[ray]")
from ray.cluster_utils import Cluster  # noqa: E402

TASK = ("cpus=1", "memory=0.25")
# Long enough for a training to be met at work.
STUDY = small(sources="gradcam_pretrained", epochs=100)
EXPERIMENTS = {
    "supervision": dict(of="gradcam_pretrained", photos="all", models="maskformer", seeds="0",
                        species_seeds="1"),
    "ablation": dict(rows=("maskformer", "maskformer layers=0"), labels="species", seeds="0",
                     sources="ground_truth", contested="0")}
ASKED = small(val_fraction=0.5, epochs=1)
CELLS = (
    'profile = "embedded"\nrun = ""\ndata_root = ""\nseed = 0',
    """from petweak.study.run import open_run
study = open_run(profile, run, data_root, seed=seed, image_size=64, bootstrap=20, engine="eager")
study.mask_scores("ground_truth")""")


@pytest.fixture
def notebook(tmp_path) -> Path:
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    file = tmp_path / "x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), file)
    return file


@pytest.fixture(scope="module")
def few(rendered, tmp_path_factory) -> Path:
    return few_photos(rendered, tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def nodes():
    """Two nodes with a worker of one CPU each. The first is the head, and answers clients."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # others fill this machine, too
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        one = dict(num_cpus=1, object_store_memory=80 << 20, memory=1 << 30)
        head = dict(num_gpus=1, ray_client_server_port=port, include_dashboard=False)
        nodes = Cluster(initialize_head=True, head_node_args=one | head)  # a GPU by its name alone
        nodes.other = nodes.add_node(**one)
        patch.setenv("RAY_ADDRESS", nodes.address)
        nodes.client = f"ray://127.0.0.1:{port}"
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def alone(few, tmp_path_factory):
    """What everything comes to without a cluster, by one thread, as a task of one CPU has."""
    top, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(1)
    run_study(Run(top / "study", few, STUDY))
    tables = {name: run_experiment(name, Run(top / name, few, ASKED), **options)
              for name, options in EXPERIMENTS.items()}
    torch.set_num_threads(threads)
    return tables | {"study": content(top / "study")}


@pytest.fixture(scope="module")
def on_ray(alone, nodes, tmp_path_factory):
    """One connection for several tests, as each starts processes of its own."""
    stop = signal.getsignal(signal.SIGTERM)
    with cluster("ray", TASK, tmp_path_factory.mktemp("command")):
        assert signal.getsignal(signal.SIGTERM) == stop
        yield nodes


def note(file: Path, fails: int = 0) -> None:
    """Writes what it was given of the node, after so many failures."""
    tries = len(list(file.parent.glob(f"{file.name}-try-*")))
    (file.parent / f"{file.name}-try-{tries}").touch()
    if tries < fails:
        raise OSError(f"{file.name} failed")
    file.write_text(str(ray.get_runtime_context().get_assigned_resources()))


# --- the address and the resources


@pytest.mark.parametrize("command", [["study"], ["sweep", "NOTEBOOK"], ["experiment", "levels"]])
@pytest.mark.parametrize("arguments, says", [
    (["--on", "slurm"], "--on slurm: say ray, or ray://host:10001"),
    (["--on", "ray://"], "say ray, or ray://host:10001"),
    (["--on", "ray", "--task", "cpu=2"], "unknown cpu: there are cpus, gpus, memory"),
    (["--on", "ray", "--task", "cpus=many"], "say numbers, memory in GiB")])
def test_a_bad_argument_is_refused(command, arguments, says, few, notebook, tmp_path, capsys):
    words = [w.replace("NOTEBOOK", str(notebook)) for w in command]
    words += ["-p", "seed=0,1"] * (command[0] == "sweep")
    run = ["--run", str(tmp_path / "run"), "--data-root", str(few)]
    assert main([*words, *run, *arguments]) == 2
    assert says in capsys.readouterr().err


def test_it_says_how_to_install_ray(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"needs Ray: pip install petweak\[ray\]"):
        with cluster("ray", (), tmp_path):
            pass


@pytest.mark.parametrize("address, listens", [("ray", 0), ("ray://127.0.0.1:{}", 0),
                                              ("ray://127.0.0.1:{}", 1)])
def test_where_nobody_answers_it_says_so_and_the_way_out(
        address, listens, few, tmp_path, capsys, monkeypatch):
    for name in ("INITIAL_TIMEOUT_SEC", "MAX_TIMEOUT_SEC"):  # 30 s in all, unless told otherwise
        monkeypatch.setattr(f"ray.util.client.worker.{name}", 1)
    with socket.socket() as other:  # closed, or of a program that says nothing
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        assert main(["study", "--run", str(tmp_path / "run"), "--data-root", str(few),
                     "--on", address.format(port)]) == 1
    said = capsys.readouterr().err
    assert f"no Ray cluster answers at 127.0.0.1:{port}" in said and "start --head`" in said


def test_a_task_gets_what_it_asks_for_and_too_much_is_refused(nodes, tmp_path):
    with cluster(nodes.client, ("cpus=0.5", "gpus=1", "memory=0.25"), tmp_path):
        assert failures([partial(note, tmp_path / "given")]) == {}
    given = eval((tmp_path / "given").read_text())
    assert (given["CPU"], given["GPU"], given["memory"]) == (0.5, 1, 2**28)
    with pytest.raises(ValueError, match="no node has room for a task.*cpus=1 gpus=1 memory=1.0"):
        with cluster("ray", ("gpus=2",), tmp_path):
            pass


@pytest.mark.parametrize("patched, value, says", [
    ("read_json", {"pid": 0}, "does not see .*: --run and --data-root have to lie where all"),
    ("versions", {"torch": "1.0"}, "has another torch, .*, than the 1.0 that was asked for")])
def test_a_node_with_other_files_or_packages_makes_nothing(
        patched, value, says, on_ray, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, patched, lambda *path: value)
    monkeypatch.setattr(tasks, "SHARED", 0)
    with pytest.raises(Unmade, match=says):
        ahead([partial(note, tmp_path / "made")])
    assert not any(tmp_path.iterdir())


# --- what fails


def test_what_fails_is_tried_again_then_reported_and_what_needs_it_is_not_tried(on_ray, tmp_path):
    again, always, free = (partial(note, tmp_path / name, n)
                           for name, n in (("again", 2), ("always", 9), ("free", 0)))
    late, wants = partial(note, tmp_path / "late"), partial(note, tmp_path / "wants")
    with pytest.raises(Unmade) as error:
        ahead({again: [], always: [], free: [], late: [again], wants: [late, always]})
    text = str(error.value)
    assert "2 of 5 tasks failed (the same command tries them again)" in text
    assert f"note {tmp_path / 'always'} 9: OSError('always failed')" in text
    assert f"not tried, as these failed: note {tmp_path / 'always'} 9" in text
    assert "in note" in str(error.value.__cause__.exceptions[0].__cause__)  # the traceback there
    assert {p.name for p in tmp_path.iterdir()} == {
        "again", "free", "late", "free-try-0", "late-try-0",
        *(f"{name}-try-{n}" for name in ("again", "always") for n in range(3))}


def test_a_stage_that_fails_leaves_the_others_and_their_results(on_ray, few, tmp_path):
    run = Run(tmp_path / "run", few, small(sources="ground_truth,gradcam_pretrained", epochs=1,
                                           labels="species"))
    stone = run.model_folder("ground_truth", "species")
    stone.parent.mkdir(parents=True)
    stone.touch()  # a file in the place of the folder
    with pytest.raises(Unmade, match="1 of 7 tasks failed[^$]*ground_truth species in .*Error"):
        run_study(run)
    assert set(read_results(run.folder)["source"]) == {
        "all_ones", "centre_box", "gradcam_pretrained"}
    weights = run.model_folder("gradcam_pretrained", "species") / "model.safetensors"
    done = weights.stat()
    stone.unlink()
    assert "ground_truth" in set(run_study(run)["source"])
    assert (weights.stat().st_ino, weights.stat().st_mtime_ns) == (done.st_ino, done.st_mtime_ns)
    timings = pd.read_csv(run.folder / "timings.csv")
    assert timings["peak_rss_mb"].notna().all() and len(timings) == 11


# --- the same numbers


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_the_models_of_an_experiment_are_tasks(name, on_ray, alone, few, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(f"petweak.experiments.{name}.ahead", lambda calls: (
        ahead(calls), made.append(len(list(tmp_path.rglob("model.safetensors"))))))
    table = run_experiment(name, Run(tmp_path / "run", few, ASKED), **EXPERIMENTS[name])
    pd.testing.assert_frame_equal(*(t.drop(columns="train_seconds", errors="ignore")
                                    for t in (table, alone[name])), check_exact=True)
    assert made[0] == made[-1] == {"supervision": 2, "ablation": 2}[name]


def test_the_combinations_of_a_sweep_are_tasks(on_ray, notebook, few, tmp_path):
    with pytest.raises(NotebookError, match="1 of 2 failed"):
        list(sweep(notebook, ["seed=-1,0"], run=tmp_path / "run", data_root=few))
    top = tmp_path / "run" / "sweeps" / "x"
    assert set(pd.read_csv(top / "sweep.csv")["swept_seed"]) == {0}
    assert len(list(top.glob("seed-0*/notebooks/x.ipynb"))) == 1
    (error,) = top.glob("seed--1*/error.txt")
    assert "seed=-1" in error.read_text() and "_execute" in error.read_text()  # the traceback there


def test_a_node_is_lost_at_work_and_the_study_is_complete_and_the_same(
        on_ray, alone, few, tmp_path, reliability):
    run, lost = Run(tmp_path / "run", few, STUDY), []

    def lose() -> None:
        """The node that is not the head, when its training has come to the second epoch."""
        raylets = [p.process.pid for p in on_ray.other.all_processes["raylet"]]
        while not lost:
            time.sleep(0.02)
            for model in run.folder.glob("models/*"):
                file = "train-{}-{}.json".format(*model.name.split("-"))
                task = read_json(run.folder / ".locks" / file)
                if task and (model / "epochs" / "02.safetensors").exists() and (
                        psutil.Process(task["pid"]).ppid() in raylets):
                    on_ray.remove_node(on_ray.other, allow_graceful=False)
                    lost.append((model / "config.json").exists())

    thread = threading.Thread(target=lose, daemon=True)
    thread.start()
    run_study(run)
    thread.join(60)
    assert lost == [False]  # the training had not ended
    while sum(n["Alive"] and n["Resources"].get("CPU", 0) for n in ray.nodes()) > 1:
        time.sleep(0.1)  # the cluster notices it later; at most until the test's timeout
    same = content(run.folder) == alone["study"]
    reliability("One of two Ray workers, killed while it trains a model of a study", len(lost),
                f"{int(same)} of {len(lost)} studies end like those of one machine")
    assert same
