"""Training steps of a transformer, as many as a line of stdin asks for, and prints their milliseconds.

  bench_torch.py small|large CPU

small: one layer, whose steps the CPU has to keep up with. large: four wide layers, whose steps the GPU
takes longer for. Once warm it stays on CPU and says `ready`.
"""
import os
import sys
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


for _ in range(50):
    step()
for task in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(task), {int(sys.argv[2])})
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
        step()
    print((time.perf_counter() - start) * 1e3, flush=True)
