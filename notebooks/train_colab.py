# The cells of train_colab.ipynb, which make.py writes from this file: edit here.
# A cell begins with `# %% id`, text with `# %% [markdown] id`.

# %% [markdown] intro
# # Train Mimir on Colab
#
# Mimir trains a generator of short peptides. A run lives in a store, a bucket of yours; this
# notebook is only a machine that works on it. When the session ends, at whatever moment, open
# it again and press **Runtime > Run all**: training goes on from the last checkpoint (one every
# two minutes) and gives the weights that an undisturbed run would have given. Pressing Run all
# again is always safe.
#
# | phase | preset | GPU | time, as the training guide estimates it |
# |---|---|---|---|
# | 1. quick test | small | T4 (free) | half an hour |
# | 2. validation | medium | T4 (free) | about 4 hours |
# | 3. the model | large | A100 (Pro) | 6 to 10 hours |
#
# The same notebook serves all three; the preflight below forecasts the time on your GPU.
#
# **To do:** 1. *Runtime > Change runtime type*: a GPU. 2. Fill in the form. 3. With a bucket:
# put its keys into Colab's secrets (the key symbol on the left) as `AWS_ACCESS_KEY_ID` and
# `AWS_SECRET_ACCESS_KEY`, and allow this notebook to read them. 4. *Runtime > Run all*.
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
# @markdown Mimir is not on PyPI. Its code: the path of a wheel, a web address of one, or
# @markdown `git+https://…`. Empty: the wheel that the run has in the store, or else you are asked
# @markdown to upload one (`python notebooks/make.py --wheel .` in a checkout makes it).
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

found = ""
if shutil.which("nvidia-smi"):
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
os.environ["MIMIR_GPU"] = found
print(f"torch {importlib.metadata.version('torch')}, GPU: {found or 'none'}")
if not found:
    click = (
        "This session has no GPU. Click Runtime > Change runtime type, choose T4 GPU (A100 for the "
        "large preset), Save, and then Runtime > Run all; or tick allow_cpu in the form to train "
        "on the CPU, which is slow."
    )
    if not allow_cpu:
        raise RuntimeError(click)
    print(f"{click} It is ticked.")

# %% keys
# @title 3. Keys to the store { display-mode: "form" }


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
    print(f"No store is named: the run lies in {store} and is lost with this session.")

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


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise RuntimeError(f"pip {words[0]} failed: {last}")


def install_needs():
    """What is missing, without touching the torch that this machine came with."""
    missing = [need for module, need in NEEDS.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return
    keep = session_folder / "keep.txt"
    kept = {
        f"{one.name}=={one.version}"
        for one in importlib.metadata.distributions()
        if re.match(r"(?i)(torch|numpy|nvidia|triton)", one.name or "")
    }
    keep.write_text("\n".join(sorted(kept)) + "\n")
    before = importlib.metadata.version("torch")
    pip("install", "-q", "-c", str(keep), *missing)
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
    pip("wheel", "-q", "--no-deps", "--wheel-dir", str(session_folder / "wheel"), source)
    return max((session_folder / "wheel").glob("*.whl"), key=lambda path: path.stat().st_mtime)


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
wheel = (wheel_from(code) if code else wheel_of_run()) or wheel_uploaded()
unpacked = session_folder / f"code-{hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]}"
if not unpacked.is_dir():
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked.with_suffix(".part"))
    unpacked.with_suffix(".part").rename(unpacked)
for name in [name for name in sys.modules if name.partition(".")[0] in ("mimir", "launch")]:
    del sys.modules[name]
sys.path[:] = [str(unpacked), *(p for p in sys.path if not p.startswith(str(session_folder)))]
os.environ["PYTHONPATH"] = str(unpacked)

import mimir

print(f"Mimir {mimir.__version__} from {wheel.name}, beside this machine's own torch")

# %% data
# @title 5. The run and its data { display-mode: "form" }
from mimir.notebook import cells

session = cells.Session(store, run_name, preset, options, session_folder)
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

    drive.mount("/content/drive")
    data = data_path
elif data_from == "store":
    data = str(session.fetch(data_path))
if status is None:
    print(f"A new run with {data or 'the sample that ships with Mimir'}")

# %% preflight
# @title 6. Preflight: will it train here? (under two minutes) { display-mode: "form" }
report = None
if status is None or status.state != "done":
    report = cells.check(session, data, session_hours)

# %% train
# @title 7. Train { display-mode: "form" }
cells.begin(session, data, wheel)
status = cells.train(session, take_over=take_over)

# %% checklist
# @title 8. The guide's checklist { display-mode: "form" }
print(cells.checklist(session, report))

# %% download
# @title 9. The model { display-mode: "form" }
model = session_folder / run_name
pulled = subprocess.run(
    [sys.executable, "-m", "launch", "pull", run_name, "--store", store, "--out", str(model)],
    capture_output=True, text=True, check=False,
)  # fmt: skip
if pulled.returncode:
    raise RuntimeError((pulled.stderr.strip().splitlines() or ["the model cannot be fetched"])[-1])
print(pulled.stdout)
packed = shutil.make_archive(str(model), "zip", model)
try:
    from google.colab import files

    if download:
        files.download(packed)
except ImportError:
    print(f"All of it in one file: {packed}")

# %% end
# @title 10. End the session, if ticked in the form { display-mode: "form" }
if end_session and status.state == "done" and not store.startswith("file:"):
    from google.colab import runtime

    runtime.unassign()
