"""Resources used by this process and its finished children."""

import resource


def resources_used() -> str:
    """CPU seconds of all of them, and the maximum of their peak memory."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(part.ru_utime + part.ru_stime for part in used)
    return (
        f"used:    {seconds:.0f} CPU seconds, {max(part.ru_maxrss for part in used) / 2**20:.1f} GB of memory at most"
    )
