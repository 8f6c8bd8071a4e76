"""Training steps of a transformer, thread by thread.

  bench_torch.py small|large CPU LIBRARY SOCKET NAME...

small: one layer, whose steps the CPU has to keep up with. large: four wide layers, whose steps the GPU
takes longer for. Makes a thread for each NAME, bare or as supervise_this_thread() of LIBRARY takes it; once
all are warm they stay on CPU. Says `ready`, and for each line "THREAD COUNT" on stdin lets that thread make
so many steps and prints their milliseconds.
"""
import ctypes
import os
import queue
import sys
import threading
import time

import torch

SHAPES = {"small": (1, 512, 8, 16, 128), "large": (4, 1024, 16, 32, 256)}

layers, width, heads, batch, length = SHAPES[sys.argv[1]]
torch.manual_seed(1)
model = torch.nn.TransformerEncoder(
    torch.nn.TransformerEncoderLayer(width, heads, batch_first=True, device="cuda"), layers)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
data = torch.randn(batch, length, width, device="cuda")


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = (model(data) - data).square().mean()
    loss.backward()
    optimizer.step()
    torch.cuda.synchronize()


class Worker(threading.Thread):
    def __init__(self, name):
        super().__init__(name=name, daemon=True)
        self.asked, self.took = queue.Queue(), queue.Queue()
        self.start()

    def run(self):
        # Else a thread of autograd's own would make half of each step.
        torch.autograd.set_multithreading_enabled(False)
        self.steps(30)
        if not self.name.startswith("bare"):
            if library.supervise_this_thread(self.name.encode(), sys.argv[4].encode()):
                os._exit(1)
        os.sched_setaffinity(0, {int(sys.argv[2])})
        self.took.put(0)
        while True:
            self.took.put(self.steps(self.asked.get()))

    def steps(self, count):
        start = time.perf_counter()
        for _ in range(count):
            step()
        return (time.perf_counter() - start) * 1e3


library = ctypes.CDLL(sys.argv[3])
workers = []
for variant in sys.argv[5:]:
    workers.append(Worker(variant))
    workers[-1].took.get()
print("ready", flush=True)
for line in sys.stdin:
    who, wanted = map(int, line.split())
    workers[who].asked.put(wanted)
    print(workers[who].took.get(), flush=True)
