"""Prints the number of each event that Events gives, for a test that leads it by stdin."""

import json
import sys

sys.path.insert(0, "python")
import quickstart

it = json.loads(sys.stdin.readline())
events = quickstart.Events(quickstart.Portal(it["url"], it["token"], it["authority"]))
print("ready", flush=True)
for event in events:
    print(event["params"]["n"], flush=True)
