"""Whether this process has the cores and the memory for further threads."""

import resource

from mt3_model.cores import usable_cores

_LEAST_MEMORY_BYTES = 1 << 30
"""Limit of the address space from which there are threads. Their stacks and the allocator's arenas
take up to 0.4 GiB of it, which a recording near a smaller limit might need."""


def may_use_threads() -> bool:
    """Whether threads make reading faster, and their memory cannot be missed elsewhere."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    has_memory = limit == resource.RLIM_INFINITY or limit >= _LEAST_MEMORY_BYTES
    return has_memory and usable_cores() > 1
