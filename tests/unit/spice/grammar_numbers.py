"""Every message number of spice/enums.h, as a C table: run by the build with the header that the
compiler finds, so that a new protocol header brings its new messages to test_grammar.c.

    grammar_numbers.py COMPILER... > grammar_numbers.h
"""

import re
import subprocess
import sys

done = subprocess.run([*sys.argv[1:], "-E", "-x", "c", "-"], input="#include <spice/enums.h>\n",
                      stdout=subprocess.PIPE, text=True, check=True)
# Where the numbers end, and where those of all channels do.
MARKS = ("END_", "BASE_LAST")
rows = []
for body in re.findall(r"enum\b[^{]*\{([^}]*)\}", done.stdout):
    number = -1
    for entry in re.sub(r"^#.*$", "", body, flags=re.M).split(","):
        found = re.fullmatch(r"\s*(\w+)\s*(?:=\s*(\w+))?\s*", entry)
        if not found:
            continue
        number = int(found[2], 0) if found[2] and found[2][0].isdigit() else number + 1
        message = re.fullmatch(r"SPICE_MSG(C?)_(\w+)", found[1])
        if message and not message[2].startswith(MARKS):
            rows.append(f'    {{"{message[2]}", {number}, {"true" if message[1] else "false"}}},')
if not rows:
    sys.exit("grammar_numbers.py: no message in spice/enums.h")
print("#include <stdbool.h>\n\nstatic const struct grammar_number {\n    const char *name;\n"
      "    unsigned number;\n    bool from_client;\n} grammar_numbers[] = {")
print("\n".join(rows))
print("};")
