"""Runs a notebook in a real Jupyter kernel: `python execute.py NOTEBOOK FOLDER`.

The kernel's process id goes to FOLDER/kernel.pid, the executed notebook to FOLDER/executed.ipynb.
Exit code 3: the kernel died; 4: a cell raised, whose sentence is the last line. How long a cell may
take is up to who runs this.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError


def main(path: Path, folder: Path) -> int:
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    try:
        with client.setup_kernel():
            (folder / "kernel.pid").write_text(str(client.km.provisioner.pid))
            for number, cell in enumerate(book.cells):
                client.execute_cell(cell, number)
    except CellExecutionError as error:
        print(f"{error.ename}: {error.evalue}")
        return 4
    except DeadKernelError:
        return 3
    finally:
        nbformat.write(book, folder / "executed.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
