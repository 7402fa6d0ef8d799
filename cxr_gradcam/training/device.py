"""What a run computes on: the device, its precision, and the other processes of the run."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from cxr_gradcam.training.config import ConfigError
from cxr_gradcam.training.memory import keep_freed_memory

# Of the others while the first process hashes every image, or evaluates. One that is lost is
# noticed at once all the same.
_PATIENCE = timedelta(days=14)


def check_device(device: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ConfigError: when it is another word than auto, cpu and cuda, or there is no GPU.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"There is no device {device!r}: choose auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("There is no GPU for --device cuda here: choose auto or cpu.")


def make_accelerator(precision: str, device: str, *, compiled: bool = False) -> Accelerator:
    """Open the device, and meet the other processes where torchrun started several.

    Args:
        precision: "auto", "bf16" or "fp32".
        device: "auto", "cpu" or "cuda".
        compiled: whether PyTorch compiles what it trains.
    """
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if on_cpu:
        keep_freed_memory()
    if "LOCAL_RANK" in os.environ:
        # accelerate would warn about a number of threads that torchrun has set already.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.backends.cudnn.benchmark = True  # the shapes of a run never change
    native = multiplies_bf16(on_cpu)
    mixed = "bf16" if precision == "bf16" or (precision == "auto" and native) else "no"
    # Statistics of the batch norms are averaged after the step instead, over all processes.
    parallel = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    return Accelerator(
        mixed_precision=mixed,
        cpu=on_cpu,
        kwargs_handlers=[parallel, InitProcessGroupKwargs(timeout=_PATIENCE)],
        dynamo_backend="inductor" if compiled else "no",
    )


def multiplies_bf16(on_cpu: bool) -> bool:
    """Whether the CPU, or the GPU, multiplies bfloat16 by itself, and so faster than float32."""
    if not on_cpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = getattr(torch.cpu, "get_capabilities", None)  # younger than PyTorch 2.11
    capabilities = known() if known else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def is_slow_bf16(accelerator: Accelerator) -> bool:
    """Whether this device emulates the bf16 that it is to compute in."""
    on_cpu = accelerator.device.type == "cpu"
    return accelerator.mixed_precision == "bf16" and not multiplies_bf16(on_cpu)


def lost_another_process(error: RuntimeError) -> bool:
    """Return whether an error says that another process of this run cannot be reached."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # gloo raises plain RuntimeErrors that name its source files.
    return several and (isinstance(error, torch.distributed.DistError) or "gloo" in str(error))
