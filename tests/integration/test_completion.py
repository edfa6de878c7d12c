"""Shell completion: what bash and zsh offer is what the program has."""

import re
import subprocess
from pathlib import Path

import pytest
from daemon import binary

FOLDER = Path(__file__).resolve().parents[2] / "packaging/completion"

BASH = """source "$1"; program=$2; shift 2
COMP_WORDS=("$program" "$@"); COMP_CWORD=$#; _kerbside; printf '%s\\n' "${COMPREPLY[@]}\""""
# zsh's own compadd works in its line editor alone.
ZSH = """compadd() { [[ $1 == -a ]] && print -l -- ${(P)2} || print -l -- "$@" }
_files() { print -l -- *(N) }
file=$1; words=($2 "${@:3}"); CURRENT=$#words; shift $#; source $file"""


def offers(shell: str, *words: str) -> set[str]:
    """What is offered for the last of the words."""
    script, file = (BASH, "kerbside.bash") if shell == "bash" else (ZSH, "_kerbside")
    done = subprocess.run([shell, "-c", script, shell, FOLDER / file, binary(), *words],
                          capture_output=True, text=True, cwd=FOLDER)
    assert done.returncode == 0 and done.stderr == "", done
    found = set(done.stdout.split())
    # zsh filters what it is offered by itself
    return {word for word in found if word.startswith(words[-1])}


def commands() -> list[str]:
    text = subprocess.run([binary(), "--help"], capture_output=True, text=True).stdout
    return re.findall(r"^  ([a-z]+(?: [a-z]+)?)  ", text, re.MULTILINE)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_words(shell):
    there = commands()
    assert "session terminate" in there and "serve" in there
    groups = {command.split()[0] for command in there}
    assert offers(shell, "") == groups | {"help"}
    assert offers(shell, "se") == {"serve", "session"}
    for group in groups:
        verbs = {command.split()[1] for command in there if command.startswith(f"{group} ")}
        assert offers(shell, group, "") == verbs
    assert offers(shell, "help", "cons") == {"console"}
    assert offers(shell, "--json", "console", "--config", "x", "di") == {"diagnose"}
    remote = ("--url", "https://desktops.example.org:8443", "--cacert", "ca.pem")
    assert offers(shell, *remote, "console", "di") == {"diagnose"}
    assert offers(shell, "session", *remote, "term") == {"terminate"}
    assert offers(shell, *remote, "session", "terminate", "--us") == {"--user"}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_options(shell):
    for command in commands():
        if command in ("serve", "check"):
            continue  # not of the table; their help is their own
        words = command.split()
        text = subprocess.run([binary(), *words, "--help"], capture_output=True, text=True).stdout
        options = set(re.findall(r"^  .*?(--[a-z-]+)", text, re.MULTILINE))
        assert "--help" in options
        assert offers(shell, *words, "--") == options
    assert offers(shell, "user", "add", "--role", "a") == {"admin", "auditor", "agent"}
    assert offers(shell, "user", "role", "alice", "o") == {"operator"}
    assert offers(shell, "user", "add", "alice", "o") == set()
    assert "_kerbside" in offers(shell, "status", "--config", "_")
