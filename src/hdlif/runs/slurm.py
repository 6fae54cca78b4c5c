"""The place of a process that SLURM's srun has started."""

import os
import re

from hdlif.errors import RecipeError


def has_started_this() -> bool:
    """Whether srun has started this process, and it is no shell of an interactive job."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def join(devices: int, nodes: int) -> tuple[int, int]:
    """Return the rank and the local rank; set MASTER_ADDR and MASTER_PORT unless they are set.

    Raises:
        RecipeError: there are not `devices` tasks on each of `nodes` nodes.
    """
    tasks = int(os.environ["SLURM_NTASKS"])
    if tasks != devices * nodes:
        raise RecipeError(
            f"--devices {devices} --nodes {nodes}: srun has started {tasks} tasks; give srun --nodes={nodes} "
            f"--ntasks-per-node={devices}"
        )
    os.environ.setdefault("MASTER_ADDR", first_node(os.environ.get("SLURM_NODELIST", "127.0.0.1")))
    # The same port in every task, and another one in every job.
    os.environ.setdefault("MASTER_PORT", str(15000 + int(os.environ.get("SLURM_JOB_ID", "0")[-4:])))
    return int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_LOCALID"])


def first_node(nodes: str) -> str:
    """Return the first of a list of nodes as SLURM writes it.

    >>> first_node("gpu[07-09,12],cpu3"), first_node("node5,node6")
    ('gpu07', 'node5')
    """
    return re.split(r"[ ,]", re.sub(r"\[([^],-]*)[^]]*\]", r"\1", nodes))[0]
