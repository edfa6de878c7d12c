#!/usr/bin/env python3
"""Writes the numbered migrations into a C header, as bytes (string literals have a length limit).

usage: embed_migrations.py OUTPUT FILE...   files are named NNN_words.sql and numbered 1, 2, 3, ...
"""
import os
import sys


def main():
    output, files = sys.argv[1], sorted(sys.argv[2:], key=os.path.basename)
    lines = ["/* Made by embed_migrations.py; do not edit. */"]
    for number, path in enumerate(files, 1):
        name = os.path.basename(path)
        if name[:4] != f"{number:03d}_":
            sys.exit(f"{name}: migrations are numbered without gaps; expected {number:03d}_*.sql")
        with open(path, "rb") as f:
            data = f.read() + b"\0"
        lines.append(f"static const char migration_{number}[] = {{ /* {name} */")
        for at in range(0, len(data), 16):
            lines.append("    " + " ".join(f"{byte}," for byte in data[at:at + 16]))
        lines.append("};")
    names = ", ".join(f"migration_{n}" for n in range(1, len(files) + 1))
    lines.append(f"static const char *const migrations[] = {{{names}}};")
    with open(output, "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")


main()
