#!/usr/bin/env python3
"""Prints the config.json of the test container: what `runc spec` makes, with the driver's devices,
and the file /command of its root file system as its command."""
import json
import subprocess
import tempfile
from pathlib import Path

DRIVER_MAJOR = 195
DEVICES = {"/dev/nvidiactl": 255, "/dev/nvidia0": 0}


def spec():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        return json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))


config = spec()
config["process"].update(args=["/bin/sh", "/command"], terminal=False)
config["root"] = {"path": "rootfs", "readonly": False}
config["linux"]["devices"] = [{"path": path, "type": "c", "major": DRIVER_MAJOR, "minor": minor,
                               "fileMode": 0o666} for path, minor in DEVICES.items()]
config["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": DRIVER_MAJOR,
                                                "access": "rw"})
# For the clients: no kernel module writes /proc/driver/nvidia/version here.
config["mounts"].append({"destination": "/dev/version", "type": "bind", "source": "/gpu/version",
                         "options": ["bind", "ro"]})
print(json.dumps(config, indent=1))
