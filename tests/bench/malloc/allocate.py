# SPDX-License-Identifier: MIT
# Objects of every size that a script makes and drops: strings, lists, dictionaries, byte arrays.
import random

random.seed(1)
live = {}
for i in range(120000):
    key = random.randrange(20000)
    live[key] = (
        [str(n) for n in range(i % 23)] if i % 3 == 0
        else {"name": "x" * (i % 700), "id": i} if i % 3 == 1
        else bytearray(i % 5000)
    )
    if i % 5 == 0:
        live.pop(random.randrange(20000), None)
text = ",".join(repr(value)[:200] for value in live.values())
print(len(text.split(",")))
