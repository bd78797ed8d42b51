# The cells of train_colab.ipynb, which make.py writes from this file: edit here.
# A cell begins with `# %% id`, text with `# %% [markdown] id`.

# %% [markdown] intro
# # Train Mimir on Colab
#
# Mimir trains a generator of short peptides. A run lives in a store: a bucket of yours, or a
# folder of this machine whose commits are copied to your Google Drive. This notebook is only a
# machine that works on it. When the session ends, at whatever moment, open it again and press
# **Runtime > Run all**: training goes on from the last checkpoint (one every two minutes) and gives
# the weights that an undisturbed run would have given. Pressing Run all again is always safe.
#
# | phase | preset | GPU | on the sample that ships with Mimir | on a million peptides |
# |---|---|---|---|---|
# | 1. quick test | small | T4 (free) | {small on T4, sample} | {small on T4, million} |
# | 2. validation | medium | T4 (free) | {medium on T4, sample} | {medium on T4, million} |
# | 3. the model | large | A100 (Pro) | {large on A100, sample} | {large on A100, million} |
#
# These are forecasts, the same that `mimir estimate` gives, with some minutes for the start; they
# may be off by a factor of two. Below, the same estimate is made for your data and GPU, and the
# preflight measures it.
#
# **To do:** 1. *Runtime > Change runtime type*: a GPU. 2. Fill in the form. 3. With a bucket:
# put its keys into Colab's secrets (the key symbol on the left) as `AWS_ACCESS_KEY_ID` and
# `AWS_SECRET_ACCESS_KEY`, and allow this notebook to read them. Without one: allow access to your
# Drive when you are asked. 4. *Runtime > Run all*.
#
# **What Drive is, and is not:** each commit is copied to `MyDrive/mimir/<run>` as one file, and a
# new session takes the newest whole one. Train a run in **one session at a time**: two sessions are
# not fenced against each other, as those with a bucket are. A file reaches Google some time after
# it was written here, so a session that ends may lose the last minutes; they are trained again.
# Whoever may write to that folder can put code there that your next session runs: share it with
# nobody. What was removed there lies in Drive's trash.
#
# **What free Colab is:** a T4 when one is available, at most 12 hours, refused or ended at any
# moment, without promises; the session also ends when the page has been idle for a while. With
# paid compute units they are spent for as long as the session exists. Use one session and one
# account; the terms forbid going around the limits with several.

# %% settings
# @title 1. Settings { display-mode: "form" }
# @markdown What to train. A preset can also be the path of a YAML file of your own.
preset = "small"  # @param ["small", "medium", "large", "smoke"] {allow-input: true}
run_name = "colab-small"  # @param {type:"string"}
# @markdown Where the run lives: `s3://bucket/prefix?region=…` (add `&endpoint=https://…` for R2,
# @markdown MinIO and others). Empty: this machine's own disk, which is lost with the session.
store = ""  # @param {type:"string"}
# @markdown Without a bucket: the folder of your Drive that commits are copied to, one session at a
# @markdown time. Empty: they are copied nowhere.
drive_folder = "mimir"  # @param {type:"string"}
# @markdown Mimir is not on PyPI. Its code: the path of a wheel, a web address of one, or
# @markdown `git+https://…`. Empty: the wheel that the run has in the store or on Drive, or else you
# @markdown are asked to upload one (`python notebooks/make.py --wheel .` in a checkout makes it).
code = ""  # @param {type:"string"}
# @markdown The data of a new run: the sample that ships with Mimir, an upload, a file in your
# @markdown Drive, or an object of the store. A run that exists has its data in the store.
data_from = "sample"  # @param ["sample", "upload", "drive", "store"]
data_path = ""  # @param {type:"string"}
# @markdown Further settings, such as `--epochs 2 --lr 3e-4`.
options = ""  # @param {type:"string"}
# @markdown Hours that a session lasts, for the forecast (free: at most 12; Pro+: up to 24).
session_hours = 12.0  # @param {type:"number"}
# @markdown Train although there is no GPU; go on although another machine works on the run.
allow_cpu = False  # @param {type:"boolean"}
take_over = False  # @param {type:"boolean"}
# @markdown When all is done: download the model; end the session, so that it costs no more units.
download = True  # @param {type:"boolean"}
end_session = False  # @param {type:"boolean"}

# %% gpu
# @title 2. The GPU { display-mode: "form" }
import importlib.metadata
import os
import shutil
import subprocess

found, lacks = "", "This session has no GPU."
if shutil.which("nvidia-smi"):
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        found = answer.stdout.strip()
    else:
        said = " ".join(f"{answer.stdout} {answer.stderr}".split())[:300].rstrip(".")
        lacks = f"This session has no GPU that works: nvidia-smi failed ({said})."
os.environ["MIMIR_GPU"] = found
print(f"torch {importlib.metadata.version('torch')}, GPU: {found or 'none'}")
if not found:
    click = (
        f"{lacks} Click Runtime > Change runtime type, choose T4 GPU (A100 for the "
        "large preset), Save, and then Runtime > Run all; or tick allow_cpu in the form to train "
        "on the CPU, which is slow."
    )
    if not allow_cpu:
        raise RuntimeError(click)
    print(f"{click} It is ticked.")

# %% keys
# @title 3. Where the run lives { display-mode: "form" }
from pathlib import Path

keep, store = None, store.strip()


def secret(name, needed):
    """A key from the environment or Colab's secrets, into the environment; never shown."""
    if os.environ.get(name):
        return
    try:
        from google.colab import userdata

        os.environ[name] = userdata.get(name)
        return
    except ImportError:
        why = "it is not in the environment, and this is not Colab"
    except Exception as error:
        why = {
            "SecretNotFoundError": "add it there (the key symbol on the left)",
            "NotebookAccessError": "allow this notebook to read it (the key symbol on the left)",
            "TimeoutException": "open the notebook in the browser: they cannot be read elsewhere",
        }.get(type(error).__name__, type(error).__name__)
    if needed:
        raise RuntimeError(f"The store needs the secret {name} from Colab's secrets: {why}.")


if store.startswith("s3://") and not os.environ.get("MIMIR_CREDENTIALS_FILE"):
    secret("AWS_ACCESS_KEY_ID", needed=True)
    secret("AWS_SECRET_ACCESS_KEY", needed=True)
    secret("AWS_SESSION_TOKEN", needed=False)
    print("The keys are there.")
elif not store:
    store = "file:///content/mimir-runs" if os.path.isdir("/content") else (
        "file://" + os.path.abspath("mimir-runs")
    )  # fmt: skip
    print(f"No bucket is named: the run lies in {store}, which is lost with this session.")
    if drive_folder:
        keep = Path("/content/drive/MyDrive") / drive_folder
        if keep.is_relative_to("/content/drive"):
            print("Asking for your Drive: allow access in the window that opens …", flush=True)
            from google.colab import drive

            drive.mount("/content/drive")
        print(f"Each commit is copied to {keep / run_name}: in one session at a time, for two that")
        print("train the same run are not fenced against each other there.")
    else:
        print("NOTHING is kept: fill in drive_folder or store, if it should outlive the session.")

# %% code
# @title 4. Mimir's code { display-mode: "form" }
import hashlib
import importlib
import importlib.util
import json
import re
import sys
import urllib.parse
import zipfile
from pathlib import Path

session_folder = Path("mimir-session").absolute()
session_folder.mkdir(exist_ok=True)
NEEDS = {
    "fire": "fire>=0.7",
    "numpy": "numpy>=1.26",
    "yaml": "pyyaml>=6",
    "safetensors": "safetensors>=0.5",
    "boto3": "boto3>=1.36",
    "tqdm": "tqdm>=4.66",
    "packaging": "packaging",
    "matplotlib": "matplotlib>=3.8",
    "tensorboard": "tensorboard>=2.16",
    "pynvml": "nvidia-ml-py>=11.450",
}
MORE = {"Bio": "biopython>=1.81", "jinja2": "jinja2>=3.1", "httpx": "httpx>=0.27"}  # for results


def pip(*words):
    """Run pip, and show what it does in one line that changes."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    last = "no reason was given"
    for line in child.stdout:
        last = line.strip() or last
        print(f"  {last[:110]:<110}", end="\r", flush=True)
    print()
    if child.wait():
        raise RuntimeError(f"pip {words[0]} failed: {last}")


def install_needs():
    """What is missing, without touching the torch that this machine came with."""
    wanted = {**NEEDS, **MORE}.items()
    missing = [need for module, need in wanted if importlib.util.find_spec(module) is None]
    if not missing:
        return
    print(f"Installing {', '.join(missing)} …", flush=True)
    constraints = session_folder / "keep.txt"
    kept = {
        f"{one.name}=={one.version}"
        for one in importlib.metadata.distributions()
        if re.match(r"(?i)(torch|numpy|nvidia|triton)", one.name or "")
    }
    constraints.write_text("\n".join(sorted(kept)) + "\n")
    before = importlib.metadata.version("torch")
    pip("install", "-c", str(constraints), *missing)
    importlib.invalidate_caches()
    if importlib.metadata.version("torch") != before:
        raise RuntimeError("pip has replaced torch: restart the session and tell us what it lacked")


def stored(key):
    """An object of the store, or None. Mimir's own store is not there yet."""
    parts = urllib.parse.urlsplit(store)
    if parts.scheme == "file":
        path = Path(urllib.parse.unquote(parts.path)) / key
        return path.read_bytes() if path.is_file() else None
    import boto3
    from botocore.exceptions import ClientError

    told = dict(urllib.parse.parse_qsl(parts.query))
    client = boto3.client("s3", endpoint_url=told.get("endpoint"), region_name=told.get("region"))
    name = "/".join(filter(None, [urllib.parse.unquote(parts.path).strip("/"), key]))
    try:
        return client.get_object(Bucket=parts.netloc, Key=name)["Body"].read()
    except ClientError as error:
        said = error.response.get("Error", {}).get("Code", "")
        if said in ("NoSuchKey", "404"):
            return None
        raise RuntimeError(
            f"The store does not give {key}: {said}; look at store and keys."
        ) from None


def wheel_of_run():
    record = json.loads(stored(f"{run_name}/run.json") or b"{}")
    entry = record.get("code")
    if not entry:
        return None
    content = stored(entry["key"])
    if content is None or hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise RuntimeError(f"{entry['key']} in the store is not what the run was submitted with.")
    path = session_folder / entry["key"].rsplit("/", 1)[-1].partition("-")[2]
    path.write_bytes(content)
    return path


def wheel_from(source):
    if Path(source).is_file():
        return Path(source)
    print(f"Fetching and packing {source} …", flush=True)
    pip("wheel", "--no-deps", "--wheel-dir", str(session_folder / "wheel"), source)
    return max((session_folder / "wheel").glob("*.whl"), key=lambda path: path.stat().st_mtime)


def wheel_on_drive():
    """The newest that a session of this run has put beside its commits."""
    found = sorted((keep / run_name).glob("mimir_peptides-*.whl")) if keep else []
    found = [path for path in found if path.is_file() and not path.is_symlink()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def wheel_uploaded():
    try:
        from google.colab import files
    except ImportError:
        raise RuntimeError("Where is Mimir's code? Fill in code in the form.") from None
    print("Upload Mimir's wheel (mimir_peptides-….whl):")
    name = next(iter(files.upload()), "")
    if not name.endswith(".whl"):
        raise RuntimeError("That is no wheel: run this cell again, or fill in code in the form.")
    return Path(name).absolute()


install_needs()
wheel = wheel_from(code) if code else wheel_of_run()
from_drive = wheel is None and wheel_on_drive()
wheel = wheel or from_drive or wheel_uploaded()
unpacked = session_folder / f"code-{hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]}"
if not unpacked.is_dir():
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked.with_suffix(".part"))
    unpacked.with_suffix(".part").rename(unpacked)
for name in [name for name in sys.modules if name.partition(".")[0] in ("mimir", "launch")]:
    del sys.modules[name]
sys.path[:] = [str(unpacked), *(p for p in sys.path if not p.startswith(str(session_folder)))]
others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
others = [path for path in others if path and not path.startswith(str(session_folder))]
os.environ["PYTHONPATH"] = os.pathsep.join([str(unpacked), *others])

import mimir

print(f"Mimir {mimir.__version__} from {wheel.name}, beside this machine's own torch")

# %% data
# @title 5. The run and its data { display-mode: "form" }
from mimir.notebook import cells, recall

session = cells.Session(store, run_name, preset, options, session_folder, keep)
recall.recall(session)
if from_drive:
    recall.check_code(session, wheel)
status = session.status()
data = ""
if status is not None:
    print(f"Run {run_name} is {status.state} at step {status.committed_step:,}")
elif data_from == "upload":
    from google.colab import files

    print("Upload the data set (a CSV or a packed .safetensors):")
    names = [name for name in files.upload() if name.endswith((".csv", ".safetensors"))]
    if not names:
        raise RuntimeError("Nothing was uploaded that is a data set: run this cell again.")
    data = min(names, key=len)  # beside a CSV there may be its .groups.safetensors
elif data_from == "drive":
    from google.colab import drive

    print("Asking for your Drive: allow access in the window that opens …", flush=True)
    drive.mount("/content/drive")
    data = data_path
elif data_from == "store":
    data = str(session.fetch(data_path))
if status is None:
    print(f"A new run with {data or 'the sample that ships with Mimir'}")

# %% preflight
# @title 6. Preflight: will it train here? (under two minutes) { display-mode: "form" }
from launch.commands import estimate

report = None
if status is None or status.state != "done":
    print("Reading the data, for the estimate …", flush=True)
    data = cells.data_of(session, data)
    print(estimate.told(preset, session.settings(), data, store, found))
    report = cells.check(session, data, session_hours)

# %% train
# @title 7. Train { display-mode: "form" }
cells.begin(session, data, wheel)
status = cells.train(session, take_over=take_over)

# %% checklist
# @title 8. The guide's checklist { display-mode: "form" }
from mimir.notebook import checklist

print(checklist.checklist(session, report))

# %% download
# @title 9. The model { display-mode: "form" }
from mimir.notebook import results

model = results.pull(session)
print("Packing it …", flush=True)
packed = shutil.make_archive(str(model), "zip", model)
try:
    from google.colab import files

    if download:
        files.download(packed)
except ImportError:
    print(f"All of it in one file: {packed}")

# %% sample
# @title 10. Draw peptides { display-mode: "form" }
# @markdown Each with its score: what the target adds to its likelihood, in nats (without a target:
# @markdown what is gained over background). All other options: `mimir sample --help`.
how_many = 10  # @param {type:"integer"}
sample_target = ""  # @param {type:"string"}
sample_options = ""  # @param {type:"string"}
drawn = results.sample(session, how_many, sample_target, sample_options)

# %% score
# @title 11. Score peptides { display-mode: "form" }
# @markdown Letters with commas between, or the path of a file (FASTA, or CSV with a column
# @markdown `sequence`). Empty: those of the cell above. NELBO: an upper bound on minus the log
# @markdown likelihood, in nats; lower is likelier. All other options: `mimir score --help`.
peptides = ""  # @param {type:"string"}
score_target = ""  # @param {type:"string"}
score_options = ""  # @param {type:"string"}
results.score(session, peptides or drawn, score_target, score_options)

# %% evaluate
# @title 12. Measure the model on held-out peptides { display-mode: "form" }
# @markdown Takes a minute or more. All other options: `mimir evaluate --help`.
measure = False  # @param {type:"boolean"}
evaluate_options = ""  # @param {type:"string"}
if measure:
    results.evaluate(session, evaluate_options)
else:
    print("Tick measure to do it.")

# %% compare
# @title 13. Compare with other runs { display-mode: "form" }
# @markdown Names of other runs of the same store (or the same folder of Drive), with commas
# @markdown between: settings that differ, held-out figures, hours.
compare_with = ""  # @param {type:"string"}
results.compare(session, compare_with)

# %% end
# @title 14. End the session, if ticked in the form { display-mode: "form" }
kept = recall.is_on_drive(session) if keep is not None else not store.startswith("file:")
if end_session and not (kept and status.state == "done"):
    print("The session is not ended: what this machine has would be lost with it.")
elif end_session:
    from google.colab import runtime

    if keep is not None:
        from google.colab import drive

        print("Waiting until Drive has taken all that was written …", flush=True)
        drive.flush_and_unmount()
    runtime.unassign()
