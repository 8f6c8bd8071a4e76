"""What NVML says here about the processes of GPU 0, as JSON on standard output.

Prints what the library answers and judges nothing: compare.py does.
"""
import json
import os
import sys
import time

import pynvml


def processes(query, handle):
    """Rows of one of NVML's process lists, or the error it gave."""
    try:
        return [{"pid": row.pid, "bytes": row.usedGpuMemory} for row in query(handle)]
    except pynvml.NVMLError as error:
        return str(error)


def utilisation(handle):
    """Samples of the last seconds. NVML says NotFound where it has none."""
    try:
        return [{"pid": row.pid, "sm": row.smUtil, "memory": row.memUtil}
                for row in pynvml.nvmlDeviceGetProcessUtilization(handle, 0)]
    except pynvml.NVMLError_NotFound:
        return []
    except pynvml.NVMLError as error:
        return str(error)


def accounting(handle):
    try:
        if pynvml.nvmlDeviceGetAccountingMode(handle) == 0:
            return "off"
        return list(pynvml.nvmlDeviceGetAccountingPids(handle))
    except pynvml.NVMLError as error:
        return str(error)


def main():
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    # Samples come every sixth of a second or so; a reader that has just begun finds none.
    time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 3)
    json.dump({
        "self": os.getpid(),
        "uid": os.getuid(),
        "compute": processes(pynvml.nvmlDeviceGetComputeRunningProcesses, handle),
        "graphics": processes(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle),
        "mps": processes(pynvml.nvmlDeviceGetMPSComputeRunningProcesses, handle),
        "utilisation": utilisation(handle),
        "accounting": accounting(handle),
    }, sys.stdout, indent=1)
    print()


main()
