#!/usr/bin/env python3
"""What links between hosts in namespaces really take: the table of docs/scaling.md.

    python3 tests/cluster/measure_switch.py            root; ten seconds
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from namespace_hosts import NamespaceHosts

LINKS = ({}, {"delay_us": 1}, {"delay_us": 50}, {"delay_us": 200}, {"delay_us": 1000}, {"delay_us": 5000}, {"mbit": 1000})
SERVE = """
import socket, threading
def echo():
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind(("0.0.0.0", 9000))
    while True:
        data, sender = line.recvfrom(65536)
        line.sendto(data, sender)
threading.Thread(target=echo, daemon=True).start()
door = socket.create_server(("0.0.0.0", 9001))
print("ready", flush=True)
stream, _ = door.accept()
for i in range(STREAMS):
    left = BYTES
    while left and (data := stream.recv(min(left, 1 << 20))):
        left -= len(data)
    stream.sendall(b"x")
""".replace("BYTES", str(64 << 20)).replace("STREAMS", "5")
ASK = """
import socket, sys, time
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.connect((sys.argv[1], 9000))
for i in range(300):
    begin = time.perf_counter()
    line.send(bytes(100))
    line.recv(1000)
    print("us", 1e6 * (time.perf_counter() - begin))
    time.sleep(5e-4)
stream = socket.create_connection((sys.argv[1], 9001))
piece = bytes(1 << 20)
for i in range(5):
    begin = time.perf_counter()
    for j in range(64):
        stream.sendall(piece)
    stream.recv(1)
    print("gbit", 8e-9 * (64 << 20) / (time.perf_counter() - begin))
"""


def measure(link: dict) -> tuple[list[float], list[float]]:
    """Round trips of 100 bytes in us, ascending, and the Gbit/s of five streams of 64 MiB."""
    with NamespaceHosts(2, **link) as hosts:
        server = subprocess.Popen(hosts.command("n2", sys.executable, "-c", SERVE), stdout=subprocess.PIPE, text=True)
        server.stdout.readline()
        words = [text.split() for text in hosts.on("n1", sys.executable, "-c", ASK, hosts.address("n2")).splitlines()]
        server.kill()
        server.communicate()
    return (sorted(float(value) for kind, value in words[1:] if kind == "us"),  # the first one also asks for the address
            [float(value) for kind, value in words if kind == "gbit"])


def main() -> None:
    print("| link | round trip us, median | 99 % below | Gbit/s |\n|---|---|---|---|")
    for link in LINKS:
        times, rates = measure(link)
        name = f"switch, {link['delay_us']} us" if "delay_us" in link else f"switch, {link['mbit']} Mbit/s" if link else \
            "bridge of the kernel (0 us)"
        print(f"| {name} | {statistics.median(times):.0f} | {times[int(0.99 * len(times))]:.0f} | {statistics.median(rates):.2g} |",
              flush=True)


if __name__ == "__main__":
    main()
