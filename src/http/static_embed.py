#!/usr/bin/python3
"""static_embed.py OUT.c FILE...: the files of the page as C, for static.c to serve."""

import hashlib
import sys
from pathlib import Path

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}


def rows(data: bytes):
    for start in range(0, len(data), 24):
        yield "    " + ",".join(str(byte) for byte in data[start:start + 24]) + ","


def main():
    out, *files = map(Path, sys.argv[1:])
    lines = ['#include "http/static.h"', ""]
    table = []
    for number, file in enumerate(sorted(files, key=lambda f: f.name)):
        data = file.read_bytes()
        etag = hashlib.sha256(data).hexdigest()[:32]
        lines += [f"static const unsigned char data_{number}[] = {{", *rows(data), "};"]
        table.append(f'    {{"{file.name}", "{TYPES[file.suffix]}", "\\"{etag}\\"", data_{number}, '
                     f"sizeof data_{number}}},")
    lines += ["", "const struct kb_static_file kb_static_files[] = {", *table, "};",
              f"const size_t kb_static_file_count = {len(table)};", ""]
    out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
