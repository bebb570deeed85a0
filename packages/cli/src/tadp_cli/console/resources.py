"""What this process and those that it waited for have taken."""

import resource


def resources_used() -> str:
    """CPU seconds of all of them, and the largest peak of memory of one."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(part.ru_utime + part.ru_stime for part in used)
    return (
        f"used:    {seconds:.0f} CPU seconds, {max(part.ru_maxrss for part in used) / 2**20:.1f} GB of memory at most"
    )
