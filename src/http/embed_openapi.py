#!/usr/bin/env python3
"""Writes the API's document into a C header, as bytes, in its shortest form.

usage: embed_openapi.py OUTPUT FILE
"""
import json
import sys


def main():
    output, path = sys.argv[1:]
    with open(path, encoding="utf-8") as f:
        text = json.dumps(json.load(f), separators=(",", ":"))
    data = text.encode("ascii") + b"\0"
    lines = ["/* Made by embed_openapi.py; do not edit. */", "static const char document[] = {"]
    for at in range(0, len(data), 20):
        lines.append("    " + "".join(f"{byte}," for byte in data[at:at + 20]))
    lines.append("};")
    with open(output, "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")


main()
