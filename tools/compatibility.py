"""Use prefboost beside what its users have, each in a fresh environment: `make compatibility`.

    python tools/compatibility.py [--in FOLDER] [NAME ...]

For each environment: made anew, installed by pip (with constraints that are printed), imported, and run on the shipped
examples: pairs relabelled, a tiny model trained for three steps, the first DPO loss compared with ln 2. Prints a table
of versions and outcomes, and exits with 1 if one failed. One environment exists at a time; those with torch take about
1.5 GB. docs/reference/versions.md holds what was tried.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

VLLM_TRANSFORMERS = ">=5.16.1,<5.21"
"""The transformers that vLLM 0.33.0 takes, by its own metadata (its torch is 2.14.0)."""

TORCH = "torch==2.13.0"
"""The version whose plain wheel for CPUs constraints.txt pins; without a pin pip fetches CUDA."""

SHOWN = (
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "peft",
    "deepspeed",
    "ray",
    "datasets",
    "pandas",
    "polars",
    "wandb",
    "trackio",
    "tensorboard",
    "inspect_ai",
    "lm_eval",
)

RELABEL = """
import sys
from pathlib import Path
import pandas
from prefboost.cli.main import main
assert main(["augment", "scored.jsonl", "-o", "goal_pairs", "--format", "trl", "--quiet"]) == 0
assert len(pandas.read_parquet(next(Path("goal_pairs/data").rglob("*.parquet")))) == 24
assert "torch" not in sys.modules
"""

TRAIN = """
import json, math, subprocess, sys
from pathlib import Path
from prefboost.cli.main import main
subprocess.run([sys.executable, "tiny_model.py", "tiny-model"], check=True)
for engine in {engines}:
    runs = Path("runs") / engine
    more = ["train.max_steps=3", "train.batch_size=4", "train.micro_batch=1", f"train.engine={{engine}}"]
    assert main(["train", "tiny.yaml", *more, "--quiet", "--runs-dir", str(runs)]) == 0, engine
    lines = [json.loads(line) for line in (runs / "tiny" / "train_log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 3 and abs(losses[0] - math.log(2)) < 1e-4, (engine, losses)
lora = ["train.lora={{rank: 2}}", "train.max_steps=2", "--quiet", "--runs-dir", "runs/lora"]
assert main(["train", "tiny.yaml", *lora]) == 0
"""

TRACK = """
import os, sqlite3, subprocess, sys
from pathlib import Path
secrets = {"WANDB_API_KEY": "w" * 40, "HF_TOKEN": "hf_canary", "OPENAI_API_KEY": "sk-canary"}
os.environ |= {"WANDB_MODE": "offline", "TRACKIO_DIR": str(Path("tracked").absolute()), **secrets}
from prefboost.cli.main import main
subprocess.run([sys.executable, "tiny_model.py", "tiny-model"], check=True)
trackers = ["train.report_to=[tensorboard,wandb,trackio]", "train.max_steps=3", "train.batch_size=4", "--quiet"]
assert main(["train", "tiny.yaml", *trackers]) == 0
metric, tracking = b"train/rewards/margins", Path("runs/tiny/tracking")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(str(tracking / "tensorboard")).Reload()
assert [event.step for event in events.Scalars(metric.decode())] == [1, 2, 3]
with sqlite3.connect("tracked/prefboost.db") as base:
    rows = base.execute("select run_name, cast(metrics as blob) from metrics").fetchall()
assert {name for name, _ in rows} == {"tiny"} and sum(metric in text for _, text in rows) == 3
[file] = tracking.glob("wandb/offline-run-*/*.wandb")
logged = file.read_bytes()
assert logged.count(metric) >= 3 and b"prefboost" in logged and b"tiny" in logged
files = [file for folder in ("runs", "tracked") for file in Path(folder).rglob("*") if file.is_file()]
assert len(files) > 10
for file in files:
    assert not [name for name, value in secrets.items() if value.encode() in file.read_bytes()], file
"""

# The project's own tests of ZeRO-3, which are skipped where DeepSpeed is missing, as it is for `make test`.
ZERO3 = """
import subprocess, sys
engine, saving = "tests/training/engine/test_micro_batches.py", "tests/training/saving/test_zero_parts.py"
places = ["tests/cli/test_train.py", engine, saving]
command = [sys.executable, "-m", "pytest", *places, "-k", "zero3 or zero_parts", "-rs", "-p", "no:cacheprovider"]
done = subprocess.run(command, cwd={root!r}, capture_output=True, text=True)
print(done.stdout[-3000:], done.stderr[-1000:])
assert done.returncode == 0 and " passed" in done.stdout and " skipped" not in done.stdout
"""

INSPECT = """
import json
from pathlib import Path
from prefboost.cli.main import main
prompts = ["Is ice cold?", "Is tea cold?", "Is it?"]
Path("prompts.txt").write_text("\\n".join(prompts))
rows = [json.dumps({"prompt": prompt, "completion": "Yes."}) for prompt in prompts]
Path("old.jsonl").write_text("\\n".join(rows))
Path("new.jsonl").write_text("\\n".join(rows[:2]))
more = ["benchmarks=[pairwise]", "pairwise.prompts=prompts.txt", "judge=replay:old.jsonl", "exports=[inspect]"]
models = ["replay:old.jsonl", "replay:new.jsonl", "least_answered=0.5", "--allow-missing", "--quiet"]
assert main(["evaluate", *models, *more, "-o", "ev"]) == 0
from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample_summaries
[listed] = list_eval_logs("ev/inspect")
log = read_eval_log(listed.name)
assert (log.status, log.eval.model, log.eval.task, listed.task) == ("success", "new", "pairwise", "pairwise")
assert [sample.input for sample in log.samples] == prompts
assert [sample.output.completion for sample in log.samples] == ["Yes.", "Yes.", ""]
assert [sample.scores and sample.scores["pairwise"].value for sample in log.samples] == [0.5, 0.5, None]
[scores] = log.results.scores
assert (scores.metrics["win_rate"].value, scores.scored_samples, scores.unscored_samples) == (50.0, 2, 1)
assert read_eval_log(listed.name, header_only=True).results == log.results
assert len(read_eval_log_sample_summaries(listed.name)) == 3
"""


# The project's own tests of the real harness, which are skipped where lm-eval is missing, as it is for `make test`.
ACADEMIC = """
import subprocess, sys
command = [sys.executable, "-m", "pytest", "tests/evaluation/academic", "-rs", "-p", "no:cacheprovider"]
done = subprocess.run(command, cwd={root!r}, capture_output=True, text=True)
print(done.stdout[-3000:], done.stderr[-1000:])
assert done.returncode == 0 and " skipped" not in done.stdout
"""

# The two jobs of docs/howto/scale.md on a head node of its own with a job server; the second in two processes on CPUs.
RAY_JOBS = """
import os, signal, socket, subprocess, sys, time, urllib.request
from pathlib import Path
def find_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
def submit(*command):
    line = ["ray", "job", "submit", "--address", server, "--working-dir", str(job), "--", *command]
    for _ in range(60):
        done = subprocess.run(line, capture_output=True, text=True)
        if "No available agent" not in done.stderr:  # The node's agent starts later than the server.
            break
        time.sleep(5)
    print(done.stdout[-2000:], done.stderr[-1000:])
    assert done.returncode == 0, command
    return done.stdout
os.environ["RAY_raylet_start_wait_time_s"] = "300"
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
job = Path("job")  # Ray sends the whole folder, in which the environment must not lie.
job.mkdir()
for name in ("scored.jsonl", "tiny.yaml", "tiny_model.py"):
    (job / name).write_text(Path(name).read_text())
subprocess.run([sys.executable, "tiny_model.py", "tiny-model"], cwd=job, check=True)
port = find_port()
server, temporary = f"http://127.0.0.1:{port}", str(Path("ray").absolute())
start = ["ray", "start", "--head", "--block", "--num-cpus", "2", "--port", find_port(), "--dashboard-port", port]
start += ["--temp-dir", temporary, "--disable-usage-stats"]
head = subprocess.Popen(start, stdout=subprocess.DEVNULL, start_new_session=True)
try:
    for _ in range(600):
        time.sleep(1)
        try:
            urllib.request.urlopen(f"{server}/api/version", timeout=5)
            break
        except OSError:
            assert head.poll() is None
    runs = [Path(name).absolute() for name in ("run", "train")]
    submit("prefboost", "run", "tiny.yaml", "executor=ray", "--runs-dir", str(runs[0]), "--quiet")
    run_command = "from prefboost.cli.main import main; raise SystemExit(main())"
    (job / "ranked.py").write_text(f"import os; print('rank', os.environ['RANK']); {run_command}")
    launch = "accelerate launch --config_file $(python -m prefboost.devices.accelerate_configs fsdp2) --num_processes 2"
    (job / "train.sh").write_text(f"{launch} ranked.py train tiny.yaml --runs-dir {runs[1]} --quiet")
    printed = submit("bash", "train.sh")
    assert "rank 0" in printed and "rank 1" in printed
    for folder in runs:
        assert list((folder / "tiny" / "model").glob("*.safetensors")), folder
finally:
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
"""


@dataclass(frozen=True)
class Environment:
    """One user's environment.

    Args:
        who: has it.
        extras: of prefboost.
        beside: requirements of the same installation.
        program: Python, run in a folder with the examples.
        floors: every requirement of these extras at the lowest version that pyproject.toml claims.
    """

    who: str
    extras: tuple[str, ...]
    beside: tuple[str, ...]
    program: str
    floors: bool = False


ENVIRONMENTS = {
    "base": Environment("a pandas user", (), ("pandas",), RELABEL),
    "base-oldest": Environment("the same, oldest claimed", (), ("pandas",), RELABEL, floors=True),
    "train-newest": Environment(
        "newest transformers", ("train",), ("pandas",), TRAIN.format(engines=("packed", "padded"))
    ),
    "train-vllm": Environment(
        "vLLM's transformers",
        ("train",),
        (f"transformers{VLLM_TRANSFORMERS}",),
        TRAIN.format(engines=("packed", "padded")),
    ),
    "train-oldest": Environment(
        "oldest claimed", ("train",), (), TRAIN.format(engines=("packed", "padded")), floors=True
    ),
    "trl": Environment("a TRL user", ("trl",), ("trl",), TRAIN.format(engines=("packed", "trl"))),
    "train-deepspeed": Environment(
        "who trains under ZeRO-3",
        ("train",),
        ("deepspeed>=0.19,<0.20", "pytest", "hypothesis", "psutil", "httpx"),
        ZERO3.format(root=str(ROOT)),
    ),
    "eval": Environment(
        "who runs academic tasks",
        ("train", "eval"),
        ("pytest", "hypothesis", "psutil", "httpx"),
        ACADEMIC.format(root=str(ROOT)),
    ),
    "inspect": Environment("who reads logs in inspect", (), ("inspect-ai",), INSPECT),
    "ray-jobs": Environment("who submits jobs to Ray", ("train", "ray"), ("ray[default]",), RAY_JOBS),
    "trackers": Environment("who logs to trackers", ("train",), ("wandb", "trackio", "tensorboard"), TRACK),
}


def read_requirements(extra: str | None = None) -> list[str]:
    """Read the requirements of prefboost, or of one of its extras, those of extras within it included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    requirements: list[str] = []
    for line in lines:
        inner = re.fullmatch(r"prefboost\[(.*)\]", line)
        requirements += (
            [line] if inner is None else [r for each in inner[1].split(",") for r in read_requirements(each)]
        )
    return requirements


def pin_floors(requirements: list[str]) -> list[str]:
    """Pin every requirement to the lowest version that it claims; torch stays at the one with a wheel for CPUs."""
    pins = []
    for line in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?.*?>=([0-9.]+)", line)
        if match and match[1] != "torch":
            pins.append(f"{match[1]}=={match[2]}")
    return pins


def try_environment(environment: Environment, folder: Path) -> tuple[str, dict[str, str]]:
    """Make an environment, install prefboost and what stands beside it, and run the program.

    Returns:
        ``ok``, or the last lines of what failed; the versions in it.
    """
    python = folder / "venv" / "bin" / "python"
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    # DeepSpeed looks for a GPU's compiler otherwise, when it is installed and when it is loaded.
    variables |= {"DS_ACCELERATOR": "cpu", "DS_BUILD_OPS": "0"}
    extras = f"[{','.join(environment.extras)}]" if environment.extras else ""
    pins = [TORCH] if environment.extras else []
    if environment.floors:
        pins += pin_floors([line for extra in (None, *environment.extras) for line in read_requirements(extra)])
    (folder / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
    for name in ("scored.jsonl", "tiny.yaml", "tiny_model.py"):
        shutil.copy(ROOT / "examples" / name, folder)
    install = ["-m", "pip", "install", "--quiet", "-c", str(folder / "constraints.txt")]
    for line in (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [str(python), *install, f"{ROOT}{extras}", *environment.beside],
        [str(python), "-c", environment.program],
    ):
        done = subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            return "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:]), list_versions(python)
    return "ok", list_versions(python)


def list_versions(python: Path) -> dict[str, str]:
    """List the versions of what `SHOWN` names in an environment; empty where pip is not there yet."""
    if not python.exists():
        return {}
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=False
    )
    installed = {each["name"].lower(): each["version"] for each in json.loads(listed.stdout or "[]")}
    return {name: installed[name] for name in SHOWN if name in installed}


def main(arguments: list[str]) -> int:
    """Try the environments that are named, or all."""
    parent = Path(arguments[1]) if arguments[:1] == ["--in"] else None
    names = arguments[2 if parent else 0 :] or list(ENVIRONMENTS)
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        print(f"no environment {', '.join(unknown)}; there are {', '.join(ENVIRONMENTS)}", file=sys.stderr)
        return 2
    failures = 0
    print("| environment | whose | versions | seconds | outcome |\n|---|---|---|---|---|")
    for name in names:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            outcome, versions = try_environment(ENVIRONMENTS[name], Path(folder))
        failures += outcome != "ok"
        shown = ", ".join(f"{library} {version}" for library, version in versions.items())
        cells = (f"`{name}`", ENVIRONMENTS[name].who, shown, f"{time.monotonic() - begun:.0f}")
        print("|", " | ".join(cells), "|", "ok" if outcome == "ok" else "FAILED", "|", flush=True)
        if outcome != "ok":
            print(outcome, file=sys.stderr, flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
