"""Check the number of processes of a training run, start the processes, and join them."""

import atexit
import gc
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence

import torch
import torch.distributed as dist

from hdlif.errors import RecipeError
from hdlif.inputs.python_processes import this_command
from hdlif.training import Accelerator

SECONDS = 5.0
"""Interval in seconds between checks of the started processes."""


def processes(devices: int | None, nodes: int | None) -> tuple[int, int]:
    """Return the number of processes per node and the number of nodes that are requested or that torchrun has started.

    Raises:
        RecipeError: torchrun started other numbers, there are too few GPUs, or the variables of a node are not set.
    """
    if dist.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        started = here, int(os.environ["WORLD_SIZE"]) // here
        if (devices or here, nodes or started[1]) != started:
            asked = f"--devices {devices or here} --nodes {nodes or started[1]}"
            seen = f"torchrun has started {here} processes on each of {started[1]} nodes"
            raise RecipeError(f"{asked}: {seen}; leave both options out, because torchrun sets them")
        _check_restarts()
        devices, nodes = started
    devices, nodes = devices or 1, nodes or 1
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        seen = f"{devices} devices are requested, but this machine has {torch.cuda.device_count()} GPUs"
        raise RecipeError(f"{seen}; lower --devices (torchrun: --nproc-per-node) to at most that")
    if nodes > 1 and not dist.is_torchelastic_launched() and not started_by_slurm():
        _check_place(nodes)
    return devices, nodes


def check_alone(what: str, devices: int | None = None, nodes: int | None = None) -> None:
    """Raise `RecipeError` if several processes are requested or started by torchrun, but the task needs exactly one."""
    if processes(devices, nodes) != (1, 1):
        raise RecipeError(
            f"{what} trains one network after the other, each in one process; run it without torchrun, --devices and "
            "--nodes, or share the batches of each network among devices with `hdlif train`"
        )


def joined(devices: int, nodes: int, precision: str) -> Accelerator:
    """Join the process group, with NCCL on GPUs or gloo on CPUs, and return the accelerator of this process.

    The process group is destroyed at exit, because a gloo thread that frees a tensor later can end the process with
    SIGABRT. Raises `RecipeError` if SLURM has started a different number of processes than requested.
    """
    world_size = devices * nodes
    if world_size == 1:
        return Accelerator(precision=precision)
    if dist.is_torchelastic_launched():
        rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    elif started_by_slurm():
        rank, local_rank = join_slurm(devices, nodes)
    else:
        local_rank = start_others(devices, world_size)
        rank = int(os.environ["NODE_RANK"]) * devices + local_rank
    if "OMP_NUM_THREADS" not in os.environ and devices > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // devices))
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if on_gpus else "gloo", rank=rank, world_size=world_size)
    atexit.register(_part)
    device = f"cuda:{local_rank}" if on_gpus else "cpu"
    return Accelerator(device, precision, rank=rank, world_size=world_size, local_rank=local_rank)


def _part() -> None:
    if dist.is_available() and dist.is_initialized():
        # Reference cycles (a run and its wrapped network) keep the group and its threads alive until collected.
        gc.collect()
        dist.destroy_process_group()
        gc.collect()


def _check_restarts() -> None:
    """Raise `RecipeError` if, after a restart, new processes would wait half an hour for old processes.

    For all attempts, torchrun uses the same store, which contains the addresses of the first attempt's processes.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get("TORCHELASTIC_MAX_RESTARTS") != "0":
        raise RecipeError(
            "torchrun --max-restarts would find the processes that died in the store that it keeps; "
            "set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in front of torchrun, which then makes a new one each time"
        )


def _check_place(nodes: int) -> None:
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
    if missing:
        raise RecipeError(
            f"--nodes {nodes}: {', '.join(missing)} is not set; set MASTER_ADDR and MASTER_PORT (of node 0) and "
            f"NODE_RANK (0..{nodes - 1}) on every node, or start the nodes with torchrun"
        )
    place = os.environ["NODE_RANK"]
    if not (place.isdecimal() and int(place) < nodes):
        raise RecipeError(f"NODE_RANK = {place} is not the number of one of {nodes} nodes; set it to 0..{nodes - 1}")


def first_by_torchrun() -> bool:
    """Return whether this is the first process, according to torchrun's environment variables."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def started_by_slurm() -> bool:
    """Return whether srun started this process. The shell of an interactive job does not count."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def join_slurm(devices: int, nodes: int) -> tuple[int, int]:
    """Return the rank and the local rank of a SLURM task, and set MASTER_ADDR and MASTER_PORT if missing."""
    tasks = int(os.environ["SLURM_NTASKS"])
    if tasks != devices * nodes:
        fix = f"give srun --nodes={nodes} --ntasks-per-node={devices}"
        raise RecipeError(f"--devices {devices} --nodes {nodes}: srun has started {tasks} tasks; {fix}")
    os.environ.setdefault("MASTER_ADDR", first_node(os.environ.get("SLURM_NODELIST", "127.0.0.1")))
    # All tasks of a job use the same port, and different jobs use different ports.
    os.environ.setdefault("MASTER_PORT", str(15000 + int(os.environ.get("SLURM_JOB_ID", "0")[-4:])))
    return int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_LOCALID"])


def first_node(nodes: str) -> str:
    """Return the name of the first node in a SLURM node list.

    >>> first_node("gpu[07-09,12],cpu3"), first_node("node5,node6")
    ('gpu07', 'node5')
    """
    return re.split(r"[ ,]", re.sub(r"\[([^],-]*)[^]]*\]", r"\1", nodes))[0]


def start_others(devices: int, world_size: int) -> int:
    """If LOCAL_RANK is not set, start this node's other processes. Return the local rank of the current process.

    The processes read LOCAL_RANK, NODE_RANK, MASTER_ADDR and MASTER_PORT. If a process fails, all processes are killed.
    """
    place = os.environ
    place.setdefault("NODE_RANK", "0")
    place.setdefault("MASTER_ADDR", "127.0.0.1")
    if "LOCAL_RANK" in place:
        return int(place["LOCAL_RANK"])
    place.setdefault("MASTER_PORT", str(_free_port()))
    place["LOCAL_RANK"], place["WORLD_SIZE"] = "0", str(world_size)
    started = [
        subprocess.Popen(this_command(), env={**place, "LOCAL_RANK": str(number)}) for number in range(1, devices)
    ]
    threading.Thread(target=_watch, args=[started], daemon=True, name="watch-processes").start()
    return 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _watch(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """If a process fails, kill the other processes, which could wait forever, and then the current one."""
    while any(one.poll() is None for one in started):
        time.sleep(SECONDS)
        if any(one.poll() for one in started):
            for one in started:
                one.kill()
            os.kill(os.getpid(), signal.SIGKILL)
